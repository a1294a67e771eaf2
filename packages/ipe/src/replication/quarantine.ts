import { IpeError } from '@ipe/core';
import {
  decodeHeld,
  decodeRecord,
  type HeldRun,
  headOf,
  heldRowKey,
  type LogRecord,
  type Source,
} from '@ipe/core/replica';
import type { Applied, Engine } from '../data/engine.ts';

/** Held-back records, encoded, and where more follow. */
export interface HeldSlice {
  readonly records: readonly Uint8Array[];
  readonly upTo: string | undefined;
}

export interface QuarantineOptions {
  readonly engine: Pick<
    Engine,
    'replica' | 'kv' | 'release' | 'reject' | 'put' | 'get' | 'readMs' | 'onApplied' | 'onNotice'
  >;
  readonly now: () => number;
  readonly log: { warn(details: object, message: string): void };
}

/** What an operator decided of a held-back record; replicated, so that it holds everywhere. */
interface Verdict {
  readonly id: string;
  /** On rejection: the record that overwrites it, to be applied with it. */
  readonly overwrittenBy?: { readonly source: string; readonly seq: number };
  readonly by: string;
}

const verdictPrefix = '_sys.released.';
const sliceBytes = 1024 * 1024;
const sliceRecords = 1_000;

/**
 * Looks after records that are held back because their time lies far ahead (reference: docs/design/0013): hands them in
 * once the clock has reached them, and carries out what operators decide, here and elsewhere.
 */
export class QuarantineKeeper {
  readonly #options: QuarantineOptions;
  readonly #verdicts = new Map<string, Verdict>();
  readonly #stops: (() => void)[];
  #work: Promise<void> | undefined;

  constructor(options: QuarantineOptions) {
    this.#options = options;
    const { engine, log } = options;
    this.#stops = [
      engine.onNotice((notice) => {
        if (notice.type === 'due') this.#run(() => this.#due(notice.runs));
        if (notice.type !== 'held') return;
        const { namespace, source } = notice.record;
        const details = { namespace, origin: source.origin, ahead_ms: notice.aheadMs };
        log.warn(details, 'a record is held back: the clock of its writer is far ahead');
        this.#carryOutVerdicts();
      }),
      engine.onApplied((applied) => this.#learn(applied)),
    ];
    // Verdicts outlive restarts of this instance as facts, and are found by the record they are about.
    this.#run(async () => {
      for (const run of engine.replica.heldBack()) {
        for (const seq of numbersOf(run)) {
          const cell = await engine.get(verdictPrefix + idOf({ ...run, seq }));
          if (cell.seenAt(engine.readMs()) !== undefined) this.#see(cell.value);
        }
      }
    });
  }

  /** The first `limit` records that are held back. */
  async list(limit: number): Promise<readonly LogRecord[]> {
    const records: LogRecord[] = [];
    for (const run of this.#options.engine.replica.heldBack())
      for (const seq of numbersOf(run)) {
        if (records.length === limit) return records;
        const record = await this.#read(run.namespace, run.source, seq);
        if (record !== undefined) records.push(record);
      }
    return records;
  }

  /** Applies a record everywhere now. @throws IpeError `not_found` */
  async release(id: string, by: string): Promise<void> {
    const record = await this.#find(id);
    await this.#decide(record, { id, by });
  }

  /** Takes the effect from a record everywhere: what its keys hold now stays. @throws IpeError `not_found` */
  async reject(id: string, by: string): Promise<void> {
    const record = await this.#find(id);
    const { engine } = this.#options;
    const token = await engine.reject(record);
    const overwriting = token === undefined ? undefined : engine.replica.parseToken(token);
    const overwrittenBy = overwriting && { source: overwriting.source.id, seq: overwriting.seq };
    await this.#decide(record, { id, by, ...(overwrittenBy && { overwrittenBy }) });
  }

  /** Held-back records of a namespace behind a place, for a member that is given states. */
  async heldAfter(namespace: string, after: string | undefined): Promise<HeldSlice> {
    const records: Uint8Array[] = [];
    let bytes = 0;
    for (const run of this.#options.engine.replica.heldBack(namespace)) {
      for (const seq of numbersOf(run)) {
        const place = `${run.source.id}:${String(seq).padStart(15, '0')}`;
        if (after !== undefined && place <= after) continue;
        const row = await this.#options.engine.kv.get('metadata', heldRowKey(namespace, run.source, seq));
        if (row === undefined) continue;
        const record = decodeHeld(row, this.#options.engine.replica.sources);
        records.push(record);
        bytes += record.length;
        if (bytes >= sliceBytes) return { records, upTo: place };
      }
    }
    return { records, upTo: undefined };
  }

  async close(): Promise<void> {
    for (const stop of this.#stops) stop();
    await this.#work;
  }

  async #decide(record: LogRecord, verdict: Verdict): Promise<void> {
    const { engine, now } = this.#options;
    // Once the clock has reached it the record is applied anyway, everywhere.
    const ttlMs = Math.max(record.ms - now(), 0) + 86_400_000;
    await engine.put(verdictPrefix + verdict.id, verdict, { ttlMs });
    await this.#work;
  }

  #learn({ cells }: Applied): void {
    for (const [key, { after }] of cells) if (key.startsWith(verdictPrefix)) this.#see(after.value);
    if (this.#verdicts.size > 0) this.#carryOutVerdicts();
  }

  #see(value: unknown): void {
    const verdict = value as Verdict | undefined;
    if (typeof verdict?.id === 'string') this.#verdicts.set(verdict.id, verdict);
  }

  #carryOutVerdicts(): void {
    if (this.#verdicts.size > 0) this.#run(() => this.#apply());
  }

  async #apply(): Promise<void> {
    const { engine } = this.#options;
    const { replica } = engine;
    for (const verdict of [...this.#verdicts.values()]) {
      const place = parseId(verdict.id, replica.sources);
      if (place === undefined) {
        this.#verdicts.delete(verdict.id);
        continue;
      }
      const head = headOf(replica.headsOf(place.namespace), place.source);
      const record = await this.#read(place.namespace, place.source, place.seq);
      if (record === undefined) {
        if (head >= place.seq) this.#verdicts.delete(verdict.id);
        continue;
      }
      const companion = verdict.overwrittenBy && {
        source: replica.sources.parse(verdict.overwrittenBy.source),
        seq: verdict.overwrittenBy.seq,
      };
      const records = [record];
      if (companion?.source !== undefined) {
        // Readers must not see what was rejected: it waits for what overwrites it.
        if (headOf(replica.headsOf(place.namespace), companion.source) < companion.seq) continue;
        const overwriting = await this.#read(place.namespace, companion.source, companion.seq);
        if (overwriting !== undefined) records.push(overwriting);
      }
      await engine.release(records, true);
      this.#verdicts.delete(verdict.id);
      // What comes after it may have been waiting for it.
      await engine.release(await this.#slice(replica.heldBack(place.namespace)), false);
    }
  }

  async #due(runs: readonly HeldRun[]): Promise<void> {
    const records = await this.#slice(runs);
    if (records.length > 0) await this.#options.engine.release(records, false);
  }

  async #slice(runs: readonly HeldRun[]): Promise<LogRecord[]> {
    const records: LogRecord[] = [];
    for (const run of runs)
      for (const seq of numbersOf(run)) {
        if (records.length === sliceRecords) return records;
        const record = await this.#read(run.namespace, run.source, seq);
        if (record !== undefined) records.push(record);
      }
    return records;
  }

  async #find(id: string): Promise<LogRecord> {
    const place = parseId(id, this.#options.engine.replica.sources);
    const record = place && (await this.#read(place.namespace, place.source, place.seq));
    if (record === undefined) throw new IpeError('not_found', `no record \`${id}\` is held back here`);
    return record;
  }

  async #read(namespace: string, source: Source, seq: number): Promise<LogRecord | undefined> {
    const { kv, replica } = this.#options.engine;
    const row = await kv.get('metadata', heldRowKey(namespace, source, seq));
    return row && decodeRecord(decodeHeld(row, replica.sources), replica.sources);
  }

  /** One piece of work after the other: what is handed in twice is only joined once, but read for nothing. */
  #run(work: () => Promise<void>): void {
    const { log } = this.#options;
    const after = this.#work ?? Promise.resolve();
    const run = after.then(work).catch((error) => log.warn({ err: error }, 'held-back records cannot be looked after'));
    const mine = run.finally(() => {
      if (this.#work === mine) this.#work = undefined;
    });
    this.#work = mine;
  }
}

/** How operators name a held-back record: `<namespace>:<origin>:<epoch>:<seq>`. */
export function idOf({ namespace, source, seq }: Pick<LogRecord, 'namespace' | 'source' | 'seq'>): string {
  return `${namespace}:${source.id}:${seq}`;
}

function parseId(id: string, sources: Engine['replica']['sources']) {
  const match = /^(_?[a-z][a-z0-9_-]{0,63}):([0-9a-f]{16}:[0-9a-f]{12}):(\d{1,15})$/.exec(id);
  if (match === null) return undefined;
  return { namespace: match[1]!, source: sources.parse(match[2]!)!, seq: Number(match[3]) };
}

function* numbersOf({ from, to }: HeldRun): Generator<number> {
  for (let seq = from; seq <= to; seq++) yield seq;
}
