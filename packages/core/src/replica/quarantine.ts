import type { Source } from './dot.ts';

/** What nodes hold back: records further ahead of the wall clock than this (DESIGN §4, skew and far-future entries). */
export const quarantineAheadMs = 3_600_000;

/** Names a record that is held back. */
export interface HeldRecord {
  readonly namespace: string;
  readonly source: Source;
  readonly seq: number;
  /** Hybrid milliseconds at which it is applied by itself. */
  readonly ms: number;
}

/** Held records of one source in one namespace, next to each other. A clock that is ahead makes long runs. */
export interface HeldRun {
  readonly namespace: string;
  readonly source: Source;
  readonly from: number;
  readonly to: number;
  /** The earliest time at which one of them is due. */
  readonly ms: number;
}

/**
 * Which records are held back because their time lies far in the future: they count as held in the vector, so nobody
 * sends them again, and are applied once the clock has reached them or an operator releases them. Only where they are is
 * kept in memory; the records themselves are rows of `metadata`.
 */
export class Quarantine {
  /** By namespace and source: runs in order of sequence numbers. */
  readonly #runs = new Map<string, Map<Source, HeldRun[]>>();
  #count = 0;

  constructor(held: readonly HeldRecord[] = []) {
    for (const record of held) this.hold(record);
  }

  /** Records held back in all. */
  get count(): number {
    return this.#count;
  }

  /** Holds exactly these: what a store turned out to hold after a failure. */
  adopt(held: readonly HeldRecord[]): void {
    this.#runs.clear();
    this.#count = 0;
    for (const record of held) this.hold(record);
  }

  hold({ namespace, source, seq, ms }: HeldRecord): void {
    if (this.has(namespace, source, seq)) return;
    let sources = this.#runs.get(namespace);
    if (sources === undefined) this.#runs.set(namespace, (sources = new Map()));
    const runs = sources.get(source) ?? [];
    const before = runs.filter(({ to }) => to < seq - 1);
    const after = runs.filter(({ from }) => from > seq + 1);
    const touching = runs.slice(before.length, runs.length - after.length);
    const merged: HeldRun = {
      namespace,
      source,
      from: Math.min(seq, ...touching.map(({ from }) => from)),
      to: Math.max(seq, ...touching.map(({ to }) => to)),
      ms: Math.min(ms, ...touching.map((run) => run.ms)),
    };
    sources.set(source, [...before, merged, ...after]);
    this.#count++;
  }

  release(namespace: string, source: Source, seq: number): void {
    const sources = this.#runs.get(namespace);
    const runs = sources?.get(source) ?? [];
    const at = runs.findIndex(({ from, to }) => from <= seq && seq <= to);
    const run = runs[at];
    if (sources === undefined || run === undefined) return;
    const rest = [
      { ...run, to: seq - 1 },
      { ...run, from: seq + 1 },
    ].filter(({ from, to }) => from <= to);
    const left = runs.toSpliced(at, 1, ...rest);
    if (left.length > 0) sources.set(source, left);
    else sources.delete(source);
    if (sources.size === 0) this.#runs.delete(namespace);
    this.#count--;
  }

  /** A record turned out not to be due before `ms`: its run need not be looked at until then. */
  postpone({ namespace, source, seq, ms }: HeldRecord): void {
    const runs = this.#runs.get(namespace)?.get(source);
    const at = runs?.findIndex(({ from, to }) => from <= seq && seq <= to) ?? -1;
    if (runs !== undefined && at >= 0) runs[at] = { ...runs[at]!, ms };
  }

  has(namespace: string, source: Source, seq: number): boolean {
    return (
      this.#runs
        .get(namespace)
        ?.get(source)
        ?.some(({ from, to }) => from <= seq && seq <= to) ?? false
    );
  }

  /** The first record of a source that is held back; infinite for none. */
  firstOf(namespace: string, source: Source): number {
    return this.#runs.get(namespace)?.get(source)?.[0]?.from ?? Number.POSITIVE_INFINITY;
  }

  /** Whether anything is held back in a namespace: then nothing of it may be forgotten, for it may still concern that. */
  holdsIn(namespace: string): boolean {
    return this.#runs.has(namespace);
  }

  /** Everything that is held, of one namespace or of all, in order of namespace, source and sequence numbers. */
  runs(namespace?: string): HeldRun[] {
    const names = namespace === undefined ? [...this.#runs.keys()].sort() : [namespace];
    return names.flatMap((name) =>
      [...(this.#runs.get(name) ?? [])].sort(([a], [b]) => (a.id < b.id ? -1 : 1)).flatMap(([, runs]) => runs),
    );
  }

  /** Runs of which the clock may have reached something. */
  due(nowMs: number): HeldRun[] {
    return this.#count === 0 ? [] : this.runs().filter(({ ms }) => ms <= nowMs);
  }
}
