import type { Dot, Source } from './dot.ts';
import { headOf } from './fold.ts';
import type { Head } from './state.ts';

/**
 * What states that came in show beyond the vector. Most of it comes as records, or with the rest of the states, soon
 * after; what an evicted member wrote beyond what counts of it never does.
 */
export interface Ahead {
  /** By source, the last record that the states name, themselves or in what they know to be overwritten. */
  readonly heads: ReadonlyMap<Source, number>;
  /**
   * By origin of a member, when it last took in such states as far as they have reached this one. Numbers of records would
   * not tell: of the same records one member may have the states of some keys, and another those of others.
   */
  readonly joinedMs: ReadonlyMap<string, number>;
}

/** Whether all the states that one member had taken in have been joined into those of another since. */
export function hasJoined(mine: Ahead | undefined, theirs: Ahead): boolean {
  for (const [origin, ms] of theirs.joinedMs) if ((mine?.joinedMs.get(origin) ?? 0) < ms) return false;
  return true;
}

/** What another's states show that neither the vector here covers nor, for all that is known, the states here. */
export function notJoined(
  mine: { readonly heads: ReadonlyMap<Source, number>; readonly ahead?: Ahead | undefined },
  theirs: Ahead | undefined,
): readonly Head[] {
  if (theirs === undefined || hasJoined(mine.ahead, theirs)) return [];
  return [...theirs.heads].flatMap(([source, seq]) => (headOf(mine.heads, source) < seq ? [{ source, seq }] : []));
}

/** What the states of one namespace show beyond its vector, as it is kept here. */
export class StatesAhead implements Ahead {
  readonly heads = new Map<Source, number>();
  readonly joinedMs = new Map<string, number>();

  get isEmpty(): boolean {
    return this.heads.size === 0;
  }

  names({ source, seq }: Dot): boolean {
    return (this.heads.get(source) ?? 0) >= seq;
  }

  /** States came in that name writes beyond the vector: told apart from all that came in before. */
  came(origin: string, nowMs: number, dots: Iterable<Dot>): void {
    for (const { source, seq } of dots) raise(this.heads, source, seq);
    this.joinedMs.set(origin, Math.max(nowMs, (this.joinedMs.get(origin) ?? 0) + 1));
  }

  /** All that is ahead at another member came in. @param vector what is covered here, and so not ahead */
  add({ heads, joinedMs }: Ahead, vector: ReadonlyMap<Source, number>): void {
    for (const [source, seq] of heads) if (headOf(vector, source) < seq) raise(this.heads, source, seq);
    if (this.isEmpty) return;
    for (const [origin, ms] of joinedMs) raise(this.joinedMs, origin, ms);
  }

  /** Whether a vector covers all of it. */
  isWithin(vector: ReadonlyMap<Source, number>): boolean {
    for (const [source, seq] of this.heads) if (headOf(vector, source) < seq) return false;
    return true;
  }

  /** Forgets what a vector covers. */
  caughtUp(vector: ReadonlyMap<Source, number>): void {
    for (const [source, seq] of this.heads) if (headOf(vector, source) >= seq) this.heads.delete(source);
    if (this.isEmpty) this.joinedMs.clear();
  }
}

function raise<Name>(numbers: Map<Name, number>, name: Name, to: number): void {
  numbers.set(name, Math.max(to, numbers.get(name) ?? 0));
}
