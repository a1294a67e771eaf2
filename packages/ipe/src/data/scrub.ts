import { setTimeout as pause } from 'node:timers/promises';
import type { ScrubReport } from '@ipe/client/protocol';
import { IpeError } from '@ipe/core';
import type { Cell, Digests, DigestWalk } from '@ipe/core/replica';
import type { Handlers } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import type { Damage } from './damage.ts';
import { failureOf } from './driver.ts';
import type { Engine } from './engine.ts';
import { type RecordName, walkFacts, walkLog } from './fact-walk.ts';

export interface ScrubberOptions {
  readonly engine: Engine;
  /** From the end of a pass to the begin of the next; 0: only when asked for. */
  readonly intervalMs: number;
  /** Rows looked at a second, at most. */
  readonly rowsPerSecond: number;
  readonly log: Record<'error' | 'warn' | 'info', (details: object, message: string) => void>;
}

/** Damaged keys that a report names. */
const keysNamedMax = 100;
const longestTimerMs = 2 ** 31 - 1;

/**
 * Reads everything that is stored, slowly, so that damage is found while there is someone to mend it from: each row of
 * the facts must decode, value and all, and each record of the log. The same walk counts the digests that peers compare.
 */
export class Scrubber {
  /** Damaged records of the log, by `namespace/source/seq`. */
  readonly records = new Map<string, RecordName>();
  /** Facts and records that were mended. */
  mended = 0;
  readonly #options: ScrubberOptions;
  readonly #closing = new AbortController();
  /** Facts of the walks since the last pass began whose rows are sound, and whose text is not JSON. */
  readonly #unreadable = new Set<string>();
  readonly #recordListeners = new Set<() => void>();
  readonly #lossListeners = new Set<() => void>();
  /** By namespace: the keys whose rows the last walk could not count, damaged as they were. */
  readonly #uncounted = new Map<string, ReadonlySet<string>>();
  #digests: Digests | undefined;
  #tail: Promise<void> = Promise.resolve();
  #pass: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #state: ScrubReport['state'] = 'idle';
  #rows = 0;
  #records = 0;
  #failure: string | undefined;

  constructor(options: ScrubberOptions) {
    this.#options = options;
    this.#schedule();
  }

  /** Counts all facts into these digests, and from now on at each pass again. */
  count(digests: Digests): void {
    this.#digests = digests;
    for (const { name } of this.#options.engine.namespaces()) this.recount(name);
  }

  /** Counts a namespace's digests anew. */
  recount(namespace: string): void {
    this.#queue(() => this.#walk(namespace)).catch((error) => this.#failed(error, `counting \`${namespace}\``));
  }

  /** Looks at everything, once; joins a pass under way. Never rejects: `report` tells. */
  start(): Promise<void> {
    this.#pass ??= this.#queue(() => this.#everything()).then(
      () => this.#ended('done'),
      (error) => {
        this.#failed(error, 'the scrub');
        this.#ended('failed');
      },
    );
    return this.#pass;
  }

  report(): ScrubReport {
    const { damage } = this.#options.engine;
    return {
      state: this.#state,
      rows: this.#rows,
      records: this.#records,
      damaged: damage.count + this.#unreadable.size,
      damaged_keys: [...damage.list().flatMap(({ key }) => key ?? []), ...this.#unreadable].slice(0, keysNamedMax),
      damaged_records: this.records.size,
      mended: this.mended,
      ...(this.#failure !== undefined && { error: this.#failure }),
    };
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#closing.abort(new IpeError('unavailable', 'the node is shutting down'));
    await this.#tail;
  }

  /** Whether the digests were counted without this key, because its row was damaged then. */
  isUncounted(namespace: string, key: string): boolean {
    return this.#uncounted.get(namespace)?.has(key) === true;
  }

  /** Calls `listener` when a damaged record of the log is met. @returns how to stop */
  onRecord(listener: () => void): () => void {
    this.#recordListeners.add(listener);
    return () => this.#recordListeners.delete(listener);
  }

  /** Calls `listener` when the digest of a namespace was not that of its rows. @returns how to stop */
  onLoss(listener: () => void): () => void {
    this.#lossListeners.add(listener);
    return () => this.#lossListeners.delete(listener);
  }

  /** Notes that a record of the log is damaged. */
  recordMet(name: RecordName, why: string): void {
    const id = recordId(name);
    if (this.records.has(id)) return;
    this.records.set(id, name);
    this.#options.log.error({ ...name, why }, 'a record of the log is damaged');
    for (const listener of this.#recordListeners) listener();
  }

  /** Notes that a record is sound again, or no longer needed. */
  recordMended(name: RecordName, from: string, isWritten: boolean): void {
    this.records.delete(recordId(name));
    if (!isWritten) return;
    this.mended++;
    this.#options.log.warn({ ...name, from }, 'a damaged record of the log is mended');
  }

  /** Notes that facts are sound again. */
  factsMended(keys: readonly string[], from: string): void {
    this.mended += keys.length;
    this.#options.log.warn({ keys: keys.slice(0, 10), count: keys.length, from }, 'damaged facts are mended');
  }

  /** Walks follow one another. */
  #queue(walk: () => Promise<void>): Promise<void> {
    const run = this.#tail.then(() => {
      this.#closing.signal.throwIfAborted();
      return walk();
    });
    this.#tail = run.catch(() => {});
    return run;
  }

  async #everything(): Promise<void> {
    this.#state = 'running';
    this.#rows = this.#records = 0;
    this.#unreadable.clear();
    this.#failure = undefined;
    for (const { name } of this.#options.engine.namespaces()) await this.#walk(name);
    await walkLog(
      this.#options.engine,
      (name, error) => {
        if (name !== undefined) this.recordMet(name, messageOf(error));
        else this.#options.log.error({ err: error }, 'a record of the log is damaged beyond its name');
      },
      { ...this.#pacing(), onRow: () => void this.#records++ },
    );
  }

  async #walk(namespace: string): Promise<void> {
    const { engine, log } = this.#options;
    const met: Damage[] = [];
    let walk: DigestWalk | undefined;
    try {
      await walkFacts(
        engine,
        namespace,
        {
          cell: (key, cell) => {
            walk?.add(key, cell);
            if (!isReadable(cell)) this.#unreadable.add(key);
          },
          damaged: (key, error) => {
            const damage = { namespace, key, failure: failureOf(error) };
            met.push(damage);
            this.#met(damage);
          },
        },
        {
          ...this.#pacing(),
          onBegin: () => {
            walk = this.#digests?.begin(namespace);
          },
          onRow: () => void this.#rows++,
        },
      );
      this.#uncounted.set(namespace, new Set(met.flatMap(({ key }) => key ?? [])));
      engine.damage.walked(namespace, met);
      if (walk?.end() === true) {
        log.error({ namespace }, 'the digest of a namespace was not that of its rows: it is counted anew');
        for (const listener of this.#lossListeners) listener();
      }
    } finally {
      walk?.abandon();
    }
  }

  /** What is still in memory is written again; the rest is for a peer to mend. */
  #met(damage: Damage): void {
    const { engine } = this.#options;
    const { namespace, key } = damage;
    const state = key === undefined ? undefined : engine.replica.peek(key)?.state;
    if (key === undefined || state === undefined) engine.damage.met(damage);
    else
      engine.joinStates(namespace, [{ key, state }], { rewrite: true }).then(
        () => this.factsMended([key], 'memory'),
        () => engine.damage.met(damage),
      );
  }

  #pacing(): { rowsPerSecond: number; signal: AbortSignal } {
    return { rowsPerSecond: this.#options.rowsPerSecond, signal: this.#closing.signal };
  }

  #ended(state: 'done' | 'failed'): void {
    const { log } = this.#options;
    this.#state = state;
    this.#pass = undefined;
    this.#schedule();
    const { rows, records, damaged } = this.report();
    log.info({ rows, records, damaged }, 'everything stored was looked at');
  }

  #failed(error: unknown, what: string): void {
    if (this.#closing.signal.aborted) return;
    this.#failure = messageOf(error);
    this.#options.log.error({ err: error }, `${what} stopped`);
  }

  #schedule(): void {
    const { intervalMs } = this.#options;
    clearTimeout(this.#timer);
    if (intervalMs === 0 || this.#closing.signal.aborted) return;
    this.#timer = setTimeout(() => void this.start(), Math.min(intervalMs, longestTimerMs)).unref();
  }
}

/** The method `scrub {start?, wait?}` of the control plane. */
export function scrubMethods(scrubber: Scrubber): Handlers {
  return {
    scrub: async (params, { signal }): Promise<ScrubReport> => {
      const fields = readParams(params, ['start', 'wait']);
      const waitSeconds = fields.optionalNumber('wait', { min: 0, max: 60 }) ?? 0;
      const isStarting = fields.boolean('start', true);
      const pass = isStarting || scrubber.report().state === 'running' ? scrubber.start() : undefined;
      if (waitSeconds > 0 && pass !== undefined)
        await Promise.race([pass, pause(1000 * waitSeconds, undefined, { signal, ref: false }).catch(() => {})]);
      return scrubber.report();
    },
  };
}

/** Whether the value parses: rows carry text, and nothing else looks into it before a reader does. */
function isReadable(cell: Cell): boolean {
  try {
    void cell.value;
    return true;
  } catch {
    return false;
  }
}

const recordId = ({ namespace, sourceId, seq }: RecordName) => `${namespace}/${sourceId}/${seq}`;

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
