import { Cell, headOf, type KeyState, readMetadata, Sources, type View } from '../../replica/index.ts';
import type { BlindWrites } from './blind-writes.ts';
import type { Disk } from './disk.ts';
import type { Instance } from './instance.ts';
import type { Oracle, Reach, Share } from './oracle.ts';
import { clockOffsetMaxMs, strategies } from './plan.ts';
import { namedAhead, straysOf } from './strays.ts';

/** A write that a client was told stands. */
export interface Acknowledged {
  readonly namespace: string;
  readonly sourceId: string;
  readonly seq: number;
  /** Of an `add`: how much; of a `set-add`: the member. */
  readonly amount?: number;
  readonly member?: string;
}

/** What may never be seen, at any time. Each problem is one sentence without names, so that equal ones are one. */
export class Checks {
  readonly #oracle: Oracle;
  readonly #blind: BlindWrites;
  readonly #isLost: (key: string) => boolean;
  readonly #problem: (problem: string) => void;

  /** @param isLost whether a fact vanished from a disk without a trace and is not found again yet */
  constructor(
    oracle: Oracle,
    blind: BlindWrites,
    problem: (problem: string) => void,
    isLost: (key: string) => boolean,
  ) {
    this.#oracle = oracle;
    this.#blind = blind;
    this.#problem = problem;
    this.#isLost = isLost;
  }

  /** A read of some keys at once: what the vector covers is in them, what is over is not. @param trueMs true time */
  read(instance: Instance, keys: readonly string[], trueMs: number, others: readonly Instance[]): void {
    for (const key of keys) this.#one(instance, key, trueMs, others);
    if (
      keys.length < 2 ||
      keys.some(this.#isLost) ||
      instance.isPartial('pairs') ||
      namedAhead(instance, 'pairs').size > 0 ||
      instance.replica.fence !== undefined
    )
      return;
    const [left, right] = keys.map((key) => shownAt(instance, key));
    // A damaged one is refused.
    if (left !== undefined && right !== undefined && left !== right) this.#problem('a transaction was seen in part');
  }

  /** Everything that an instance holds, by its own vector. */
  effects(instance: Instance, trueMs: number): void {
    for (const key of this.#oracle.keys()) this.#one(instance, key, trueMs, []);
  }

  #one(instance: Instance, key: string, trueMs: number, others: readonly Instance[]): void {
    if (this.#isLost(key)) return;
    const namespace = namespaceOf(key);
    const cell = instance.read(key);
    if (cell === undefined || cell === 'damaged') return;
    const readMs = instance.replica.readMs(instance.wallMs);
    const view = cell.seenAt(readMs);
    if (view !== undefined && view.expiresMs !== 0 && view.expiresMs + 2 * clockOffsetMaxMs < trueMs)
      this.#problem('a value was seen long after it had expired');
    if (!instance.holdings.isWhole(namespace)) {
      const seen = others.map((other) => shownAt(other, key));
      if (view === undefined && seen.length > 0 && seen.every((text) => text !== undefined && text !== 'absent'))
        this.#problem('a namespace that was still being loaded was read as empty');
      return;
    }
    // States that come page by page run ahead of the vector, and so may a batch of which nobody knows yet whether it is
    // on the disk.
    if (instance.isPartial(namespace) || instance.replica.fence !== undefined) return;
    const known = ({ sourceId, seq, state }: Share) =>
      instance.isHeldBack(namespace, sourceId, seq) ? undefined : state;
    const have = shown(view);
    const reaches = this.#oracle.reaches(key, reachOf(instance), namedAhead(instance, namespace));
    const expected = reaches.map((reach) => this.#oracle.expected(key, reach, known));
    const want = wanted(expected, key, readMs, have);
    const isBlind = () =>
      reaches.some((reach) => {
        const other = this.#blind.alternative(key, reach, known);
        return other !== undefined && viewOf(other, key, readMs) === have;
      });
    if (want !== have && !isBlind())
      this.#problem(`what a vector covers is not in \`${namespace}\`: ${have}, not ${want}`);
  }
}

/** What must hold once nothing goes wrong any more and all have settled. */
export class FinalChecks {
  readonly #oracle: Oracle;
  readonly #problem: (problem: string) => void;
  readonly #instances: readonly Instance[];
  /** How far the instances reach together. */
  readonly #reach: Reach;
  readonly #nowMs: number;

  constructor(oracle: Oracle, instances: readonly Instance[], problem: (problem: string) => void) {
    this.#oracle = oracle;
    this.#problem = problem;
    this.#instances = instances;
    this.#reach = together(instances.map(reachOf));
    this.#nowMs = Math.max(...instances.map((instance) => instance.replica.readMs(instance.wallMs)));
  }

  run(acknowledged: readonly Acknowledged[]): void {
    if (this.#oracle.missing(this.#reach) > 0) this.#problem('what was durable somewhere is nowhere any more');
    for (const { namespace, sourceId, seq } of acknowledged) {
      if (this.#oracle.isExcused(namespace, sourceId, seq)) continue;
      if (this.#oracle.isWithdrawn(namespace, sourceId, seq)) continue;
      for (const instance of this.#instances) {
        if (
          instance.holdings.isOfInterest(namespace) &&
          !this.#oracle.isWithin(reachOf(instance), namespace, sourceId, seq)
        )
          this.#problem('an acknowledged write never reached an instance');
      }
    }
    for (const key of this.#oracle.keys()) this.#key(key);
    this.#independent(acknowledged);
    for (const instance of this.#instances) this.#log(instance);
  }

  #key(key: string): void {
    const namespace = namespaceOf(key);
    for (const instance of this.#instances) {
      if (!instance.holdings.isOfInterest(namespace)) {
        if (instance.replica.headsOf(namespace).size > 0) this.#problem('an instance holds what it has no interest in');
        continue;
      }
      const cell = instance.read(key);
      const have = cell === 'damaged' ? 'damaged' : shown(cell?.seenAt(this.#nowMs));
      const reaches = this.#oracle.reaches(key, this.#reach, straysOf(instance, namespace));
      const expected = reaches.map((reach) => this.#oracle.expected(key, reach));
      const want = wanted(expected, key, this.#nowMs, have);
      if (want !== have)
        this.#problem(`an instance does not hold what was written to \`${namespace}\`: ${have}, not ${want}`);
    }
  }

  /** What does not rest on `join`: the latest register, the sum of what was added, the set of what was added. */
  #independent(acknowledged: readonly Acknowledged[]): void {
    const standing = acknowledged.filter(
      ({ namespace, sourceId, seq }) =>
        !this.#oracle.isExcused(namespace, sourceId, seq) && !this.#oracle.isWithdrawn(namespace, sourceId, seq),
    );
    const sum = standing.reduce((total, { namespace, amount = 0 }) => total + (namespace === 'sums' ? amount : 0), 0);
    const members = standing.flatMap(({ namespace, member }) =>
      namespace === 'adds' && member !== undefined ? [member] : [],
    );
    for (const instance of this.#instances) {
      const held = (name: string) => instance.holdings.isOfInterest(name);
      if (held('sums') && valueAt(instance, 'sums.all', 0) < sum)
        this.#problem('a counter is less than what was added to it');
      const all = new Set(valueAt<number[]>(instance, 'adds.all', []));
      if (held('adds') && members.some((member) => !all.has(Number(member))))
        this.#problem('a set lacks a member that was added to it');
      for (const key of this.#oracle.keys()) {
        if (strategies[namespaceOf(key)]!.kind === 'lww' && held(namespaceOf(key))) this.#register(instance, key);
      }
    }
  }

  #register(instance: Instance, key: string): void {
    const cell = instance.read(key);
    if (cell === undefined || cell === 'damaged') return;
    const have = shown(cell.seenAt(this.#nowMs));
    const reaches = this.#oracle.reaches(key, this.#reach, straysOf(instance, namespaceOf(key)));
    if (!reaches.some((reach) => this.#latest(key, reach) === have))
      this.#problem('a register does not hold the latest write');
  }

  #latest(key: string, reach: Reach): string {
    let last: (KeyState & { kind: 'version' }) | undefined;
    for (const state of this.#oracle.sharesOf(key, reach)) {
      if (state.kind !== 'version') continue;
      if (last === undefined || orderOf(state) > orderOf(last)) last = state;
    }
    const isOver = last === undefined || (last.expiresMs !== 0 && last.expiresMs <= this.#nowMs);
    return isOver ? 'absent' : (last!.json ?? 'absent');
  }

  /** At rest everything that is applied is written, though under `wal` not synced yet. */
  #log({ disk, replica }: Instance): void {
    const { trimmedCommit, appliedCommit } = replica;
    if (disk.rows('commits').length !== appliedCommit - trimmedCommit) this.#problem('a log has holes');
  }
}

/** How far an instance has applied; infinite where a source is folded. */
export function reachOf(instance: Instance): Reach {
  return (namespace, sourceId) => {
    const source = instance.replica.sources.parse(sourceId);
    return source === undefined ? 0 : headOf(instance.replica.headsOf(namespace), source);
  };
}

/** How far the store on a disk reaches, whether or not an instance runs on it. */
export function reachOfDisk(disk: Disk): Reach {
  const sources = new Sources();
  const { namespaces } = readMetadata(disk.rows('metadata'), sources);
  return (namespace, sourceId) => headOf(namespaces.get(namespace)?.heads ?? new Map(), sources.parse(sourceId)!);
}

export function together(reaches: readonly Reach[]): Reach {
  return (namespace, sourceId) => Math.max(...reaches.map((reach) => reach(namespace, sourceId)));
}

/** Text by which the order of writes can be compared. */
function orderOf({ ms, count, source, seq, idx }: KeyState & { kind: 'version' }): string {
  return [ms, count, source.id, seq, idx].map((part) => String(part).padStart(16, '0')).join('/');
}

/**
 * What an instance must show of a key. Where its states name more of an evicted member than counts, that may be shown
 * too, as far as each key's had it: what it shows is right if some such part explains it.
 * @param explained by what counts alone first, then by each such part besides
 */
function wanted(explained: readonly (KeyState | undefined)[], key: string, nowMs: number, have: string): string {
  const views = explained.map((state) => viewOf(state, key, nowMs));
  return views.find((view) => view === have) ?? views[0]!;
}

function viewOf(state: KeyState | undefined, key: string, nowMs: number): string {
  return shown(new Cell(state, 0, strategies[namespaceOf(key)]!).seenAt(nowMs));
}

/** Undefined where a key cannot be read. */
function shownAt(instance: Instance, key: string): string | undefined {
  const cell = instance.read(key);
  if (cell === undefined || cell === 'damaged') return undefined;
  return shown(cell.seenAt(instance.replica.readMs(instance.wallMs)));
}

/** The JSON value of a key; what stands for nothing where it is absent or cannot be read. */
export function valueAt<Value>(instance: Instance, key: string, nothing: Value): Value {
  const text = shownAt(instance, key);
  return text === undefined || text === 'absent' ? nothing : (JSON.parse(text) as Value);
}

/** What a reader is shown, as text. */
export function shown(view: View | undefined): string {
  if (view === undefined) return 'absent';
  return view.kind === 'siblings' ? view.siblings.map(({ json }) => json).join('|') : (view.json ?? 'bytes');
}

export const namespaceOf = (key: string) => key.slice(0, key.indexOf('.'));
