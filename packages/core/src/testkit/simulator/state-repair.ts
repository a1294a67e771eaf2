import { toHex } from '../../bytes/index.ts';
import { sipHash128 } from '../../bytes/siphash.ts';
import {
  answerDigest,
  Cell,
  type ComparisonEffect,
  type ComparisonEvent,
  comparisonDefaults,
  cutsAt,
  type DigestAnswer,
  DigestComparison,
  type DigestQuestion,
  Digests,
  decodeCell,
  decodeRecord,
  type Heads,
  type Holdings,
  type LocalDigests,
  type LogSlice,
  liveKey,
  logKey,
  namespaceOf,
  type OpenQuestion,
  Repairs,
  type Replica,
  type ReplicaEvent,
  type RootAnswer,
  type SnapshotPage,
  type StateEntry,
  seqOfLogKey,
  strategyText,
  type WriteOutcome,
} from '../../replica/index.ts';
import type { Disk } from './disk.ts';
import type { Applied } from './store-driver.ts';

/** What members ask each other to compare and to repair. */
export type RepairQuestion =
  | { readonly type: 'digest'; readonly question: DigestQuestion }
  | { readonly type: 'leaves'; readonly namespace: string; readonly leaves: readonly number[] }
  | { readonly type: 'states'; readonly namespace: string; readonly keys: readonly string[] };

export interface LogQuestion {
  readonly type: 'log';
  readonly namespace: string;
  readonly source: string;
  readonly after: number;
  readonly upTo: number;
}

/** Sources by their ids, since each instance has objects of its own for them. */
type SentHeads = readonly (readonly [source: string, seq: number])[];
type SentRoots = readonly (readonly [name: string, root: Omit<RootAnswer, 'heads'>, heads: SentHeads])[];
type SentDigest =
  | Exclude<DigestAnswer, { readonly kind: 'roots' }>
  | { readonly kind: 'roots'; readonly cuts: DigestAnswer['cuts']; readonly roots: SentRoots };
interface SentStates {
  readonly heads: SentHeads;
  readonly floor: number;
  readonly rows: SnapshotPage['rows'];
}

export interface StateRepairOptions {
  readonly disk: Disk;
  readonly replica: Replica;
  readonly holdings: Holdings;
  readonly graceMs: number;
  readonly wallMs: () => number;
  /** Hands the replica an event that is answered by one reply. */
  readonly store: (event: (id: number) => ReplicaEvent, reply: (outcome: WriteOutcome) => void) => void;
  /** Asks a peer; undefined is no answer. */
  readonly ask: (peer: string, question: RepairQuestion | LogQuestion, done: (answer: unknown) => void) => void;
  readonly later: (delayMs: number, run: () => void) => void;
  /** A mutant: a damaged fact is mended by whatever a peer has. */
  readonly isGullible: boolean;
  /** Facts came back that this instance had lost. */
  readonly onRepaired: (keys: readonly string[]) => void;
}

/** All members hash alike. */
export const digestHash = sipHash128(Uint8Array.from({ length: 16 }, (_, i) => i * 11));
/** How long a walk over the rows of a namespace takes, while commits go on. */
const walkMs = 150;

/** A damaged record of the log. */
export interface RecordName {
  readonly namespace: string;
  readonly source: string;
  readonly seq: number;
}

/**
 * Anti-entropy at the level of states and the mending of damage for one life of a simulated instance: the digests, the
 * comparison and the decisions that nodes run; what a node does with links and walks is done here with scheduled calls.
 */
export class StateRepair {
  readonly digests: Digests;
  readonly #options: StateRepairOptions;
  readonly #comparison: DigestComparison;
  readonly #repairs: Repairs;
  readonly #linked = new Set<string>();
  /** By damaged key: its namespace. */
  readonly #damaged = new Map<string, string>();
  readonly #records = new Map<string, RecordName>();
  /** By namespace: keys that the last walk could not count. */
  readonly #uncounted = new Map<string, ReadonlySet<string>>();
  /** Questions of a round of mending that are still open. */
  #mendingCount = 0;

  constructor(options: StateRepairOptions) {
    this.#options = options;
    const { replica } = options;
    const names = replica.report().map(({ name }) => name);
    this.digests = new Digests(digestHash, names);
    this.#repairs = new Repairs(replica, this.digests.items);
    this.#comparison = new DigestComparison(this.#local(), { ...comparisonDefaults, movingMs: 20_000 });
    for (const name of names) this.recount(name);
  }

  /** Whether all that is known to be damaged is mended. */
  get isSound(): boolean {
    return this.#damaged.size === 0 && this.#records.size === 0;
  }

  applied({ cells, joined, commits }: Applied): void {
    this.digests.changed(cells);
    this.#repairs.changed(cells.keys(), commits);
    // After a failure of the store nobody knows which states came in: what is on disk counts.
    if (cells.size === 0) for (const namespace of joined) this.recount(namespace);
    if (this.#damaged.size > 0) for (const key of cells.keys()) this.#damaged.delete(key);
  }

  linked(peer: string, isUp: boolean): void {
    if (isUp) this.#linked.add(peer);
    else this.#linked.delete(peer);
    this.#step({ type: isUp ? 'linked' : 'unlinked', peer });
  }

  /** About each second. */
  tick(): void {
    this.digests.dropBelow(this.#cuts());
    this.#step({ type: 'tick' });
  }

  /** A damaged row was met. */
  met(key: string): void {
    if (this.#damaged.has(key)) return;
    const namespace = namespaceOf(key);
    this.#damaged.set(key, namespace);
    if (!this.#options.isGullible) this.#repairs.met(namespace, key);
    this.mend();
  }

  /** A damaged record of the log was met. */
  recordMet(name: RecordName): void {
    const id = `${name.namespace}/${name.source}/${name.seq}`;
    if (this.#records.has(id)) return;
    this.#records.set(id, name);
    this.mend();
  }

  /** Looks at every row of the facts, and at every record of the log. */
  scrub(): void {
    const { disk, replica } = this.#options;
    for (const { name } of replica.report()) this.recount(name);
    for (const [key, row] of disk.rows('log')) if (!isRecord(row, replica)) this.recordMet(recordName(key));
  }

  /** Counts a namespace's digests anew, as of now, while commits go on. */
  recount(namespace: string): void {
    const { disk, replica, later } = this.#options;
    const walk = this.digests.begin(namespace);
    const uncommitted = replica.uncommitted();
    const rows = disk.rows('live', liveKey(`${namespace}.`));
    later(walkMs, () => {
      const damaged = new Set<string>();
      for (const [key, cell] of uncommitted)
        if (cell !== undefined && key.startsWith(`${namespace}.`)) walk.add(key, cell);
      for (const [bytes, row] of rows) {
        const key = String.fromCharCode(...bytes);
        if (uncommitted.has(key)) continue;
        const cell = this.#decoded(key, row);
        if (cell === undefined) damaged.add(key);
        else walk.add(key, cell);
      }
      this.#uncounted.set(namespace, damaged);
      // Rows were lost: what they held is looked for at once.
      if (walk.end()) this.#step({ type: 'hurry' });
      for (const key of damaged) this.#metByWalk(namespace, key);
    });
  }

  /** What is still in memory is written again; the rest is for a peer to mend. */
  #metByWalk(namespace: string, key: string): void {
    const { replica, store } = this.#options;
    const state = replica.peek(key)?.state;
    if (state === undefined) {
      this.met(key);
      return;
    }
    const entries = [{ key, state }];
    store(
      (id) => ({ type: 'states', id, namespace, entries, rewrite: true }),
      ({ ok }) => {
        if (!ok) this.met(key);
      },
    );
  }

  answer(asked: RepairQuestion): unknown {
    if (asked.type === 'digest') return this.#answerDigest(asked.question);
    const { namespace } = asked;
    const { disk, holdings, replica } = this.#options;
    const floor = replica.floorOf(namespace);
    const heads = sent(this.#repairs.toldOf(namespace, holdings.headsOf(namespace)));
    const isAsked =
      asked.type === 'states'
        ? (key: string) => asked.keys.includes(key)
        : (key: string) => asked.leaves.includes(this.digests.items.leafOf(key));
    const rows = disk
      .rows('live', liveKey(`${namespace}.`))
      .map(([bytes, row]) => ({ key: String.fromCharCode(...bytes), row }))
      .filter(({ key }) => isAsked(key));
    disk.sync();
    return { heads, floor, rows } satisfies SentStates;
  }

  /** Asks each linked peer for what is damaged here. */
  mend(): void {
    if (this.#mendingCount > 0 || this.isSound) return;
    for (const peer of this.#linked) {
      for (const namespace of new Set(this.#damaged.values())) this.#mendFacts(peer, namespace);
      for (const [id, name] of this.#records) this.#mendRecord(peer, id, name);
    }
  }

  #mendFacts(peer: string, namespace: string): void {
    const { ask, store, isGullible } = this.#options;
    const keys = [...this.#damaged].flatMap(([key, of]) => (of === namespace ? [key] : []));
    this.#mendingCount++;
    ask(peer, { type: 'states', namespace, keys }, (answer) => {
      this.#mendingCount--;
      if (answer === undefined) return;
      const asked = keys.filter((key) => this.#damaged.has(key));
      const page = this.#received(answer as SentStates);
      const entries = this.#repairs.mending(namespace, asked, page);
      if (entries.length === 0) return;
      const mending = isGullible ? page.heads.map(({ source }) => ({ source, seq: Infinity })) : page.heads;
      this.#mendingCount++;
      store(
        (id) => ({ type: 'states', id, namespace, entries, rewrite: true, floor: page.floor, mending }),
        ({ ok }) => {
          this.#mendingCount--;
          if (!ok) return;
          this.#repairs.mended(entries);
          // A row that was counted while it was sound, and damaged later, would be counted twice.
          if (entries.some(({ key }) => this.#uncounted.get(namespace)?.has(key) !== true)) this.recount(namespace);
        },
      );
    });
  }

  #mendRecord(peer: string, id: string, { namespace, source, seq }: RecordName): void {
    const { ask, disk, replica } = this.#options;
    this.#mendingCount++;
    ask(peer, { type: 'log', namespace, source, after: seq - 1, upTo: seq }, (answer) => {
      this.#mendingCount--;
      const value = (answer as LogSlice | undefined)?.records[0];
      if (value === undefined || disk.isFull || !isRecord(value, replica)) return;
      const key = logKey(namespace, replica.sources.parse(source)!, seq);
      this.#records.delete(id);
      // Trimmed meanwhile.
      if (disk.get('log', key) === undefined) return;
      disk.write([{ type: 'put', family: 'log', key, value }]);
      disk.sync();
    });
  }

  #step(event: ComparisonEvent): void {
    for (const effect of this.#comparison.step(event, this.#options.wallMs())) this.#carryOut(effect);
  }

  #carryOut(effect: ComparisonEffect): void {
    const { ask } = this.#options;
    switch (effect.type) {
      case 'recount':
        this.recount(effect.namespace);
        return;
      case 'ask': {
        const { id, peer, question } = effect;
        ask(peer, { type: 'digest', question }, (answer) => {
          if (answer === undefined) this.#step({ type: 'failed', id });
          else this.#step({ type: 'answered', id, answer: this.#receivedDigest(answer as SentDigest) });
        });
        return;
      }
      case 'fetch': {
        const question = this.#repairs.open();
        ask(effect.peer, { type: 'leaves', namespace: effect.namespace, leaves: effect.leaves }, (answer) => {
          this.#repairs.close(question);
          if (answer === undefined) this.#step({ type: 'failed', id: effect.id });
          else this.#joinLost(effect, this.#received(answer as SentStates), question);
        });
      }
    }
  }

  /** Joins in what a peer has and was lost here. */
  #joinLost(
    { id: fetch, namespace, cuts }: Extract<ComparisonEffect, { type: 'fetch' }>,
    page: Pick<SnapshotPage, 'heads' | 'rows'>,
    question: OpenQuestion,
  ): void {
    const { store, onRepaired } = this.#options;
    const theirs = this.#repairs.statesOf(namespace, page);
    const heads = this.#repairs.toldOf(namespace);
    const ours = new Map<string, Cell>();
    for (const key of theirs.keys()) {
      const cell = this.#cell(key);
      if (cell !== undefined) ours.set(key, cell);
    }
    const entries = this.#repairs.lost(namespace, theirs, ours, { heads, cuts, question });
    const vanished = this.#vanished(ours);
    if (vanished.length > 0) {
      store(
        (id) => ({ type: 'states', id, namespace, entries: vanished, rewrite: true }),
        // Their rows were counted as gone.
        () => this.recount(namespace),
      );
    }
    if (entries.length === 0) {
      this.#step({ type: 'fetched', id: fetch, repaired: vanished.length });
      return;
    }
    store(
      (id) => ({ type: 'states', id, namespace, entries }),
      ({ ok }) => {
        if (ok) onRepaired(entries.map(({ key }) => key));
        this.#step(ok ? { type: 'fetched', id: fetch, repaired: entries.length } : { type: 'failed', id: fetch });
      },
    );
  }

  /** Facts that are in memory alone: their rows are gone. */
  #vanished(cells: ReadonlyMap<string, Cell>): StateEntry[] {
    const { replica, disk } = this.#options;
    const uncommitted = replica.uncommitted();
    return [...cells].flatMap(([key, { state }]) =>
      state === undefined || uncommitted.has(key) || disk.get('live', liveKey(key)) !== undefined
        ? []
        : [{ key, state }],
    );
  }

  /** What readers see of a key; undefined where its row is damaged. */
  #cell(key: string): Cell | undefined {
    const { replica, disk } = this.#options;
    const cell = replica.peek(key) ?? replica.uncommitted().get(key);
    if (cell !== undefined) return cell;
    const row = disk.get('live', liveKey(key));
    if (row === undefined) return new Cell(undefined, 0, replica.strategyOf(namespaceOf(key)));
    const decoded = this.#decoded(key, row);
    if (decoded === undefined) this.met(key);
    return decoded;
  }

  #decoded(key: string, row: Uint8Array): Cell | undefined {
    const { replica } = this.#options;
    try {
      return decodeCell(row, replica.sources, replica.strategyOf(namespaceOf(key)));
    } catch {
      return undefined;
    }
  }

  #answerDigest(question: DigestQuestion): SentDigest | undefined {
    const answer = answerDigest(this.#local(), question);
    if (answer?.kind !== 'roots') return answer;
    const roots = [...answer.namespaces].map(([name, { heads, ...root }]) => [name, root, sent(heads)] as const);
    return { kind: 'roots', cuts: answer.cuts, roots };
  }

  #receivedDigest(answer: SentDigest): DigestAnswer {
    if (answer.kind !== 'roots') return answer;
    const namespaces = new Map(
      answer.roots.map(([name, root, heads]) => [name, { ...root, heads: this.#headsOf(heads) }]),
    );
    return { kind: 'roots', cuts: answer.cuts, namespaces };
  }

  #received({ heads, floor, rows }: SentStates): Pick<SnapshotPage, 'heads' | 'floor' | 'rows'> {
    return { rows, floor, heads: [...this.#headsOf(heads)].map(([source, seq]) => ({ source, seq })) };
  }

  #headsOf(heads: SentHeads): Heads {
    return new Map(heads.map(([id, seq]) => [this.#options.replica.sources.parse(id)!, seq]));
  }

  #local(): LocalDigests {
    const { replica, holdings } = this.#options;
    return {
      digests: this.digests,
      names: () => replica.report().map(({ name }) => name),
      cuts: () => this.#cuts(),
      headsOf: (namespace) => this.#repairs.toldOf(namespace),
      strategyOf: (namespace) => strategyText(replica.strategyOf(namespace)),
      isWhole: (namespace) => holdings.isWhole(namespace),
    };
  }

  #cuts() {
    const { replica, wallMs, graceMs } = this.#options;
    return cutsAt(replica.readMs(wallMs()), graceMs);
  }
}

const sent = (heads: Heads): SentHeads => [...heads].map(([{ id }, seq]) => [id, seq]);

/** Whether bytes decode as a record. */
export function isRecord(row: Uint8Array, { sources }: Pick<Replica, 'sources'>): boolean {
  try {
    decodeRecord(row, sources);
    return true;
  } catch {
    return false;
  }
}

/** Reads a key of `log`: `namespace, 0, origin (8), epoch (6), seq (6)`. */
export function recordName(key: Uint8Array): RecordName {
  const end = key.length - 21;
  const source = key.subarray(end + 1, end + 15);
  return {
    namespace: String.fromCharCode(...key.subarray(0, end)),
    source: `${toHex(source.subarray(0, 8))}:${toHex(source.subarray(8))}`,
    seq: seqOfLogKey(key),
  };
}
