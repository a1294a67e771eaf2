import { hasJoined, notJoined } from '../ahead.ts';
import type { Dot, Source } from '../dot.ts';
import { headById, headOf, isFolded, reaches } from '../fold.ts';
import { type Accepted, acceptedUpTo, type Cut } from './cut.ts';
import { type Interest, isOfInterest, type NamespaceVector, type VectorReport } from './report.ts';
import { covers, coversDot, distance, type Heads } from './vectors.ts';

/** What a member has said last. */
export interface Word {
  /** Whether it has said anything since the start, whoever asked. */
  hasReported: boolean;
  /** When its last report was true at the earliest. */
  reportMs: number;
  readonly namespaces: Map<string, NamespaceVector>;
  /** Members that it takes nothing more of. */
  evicted: ReadonlySet<string>;
  interest: Interest;
  isSettled: boolean;
  /** By namespace: the last time when all that it had reported was held here. */
  readonly confirmedMs: Map<string, number>;
}

/**
 * What is held here and what members have said to hold, and all that follows from it: which writes are known everywhere,
 * how stale this instance may be, what an eviction may give up. Members may under-report, never over-report.
 */
export class Known {
  /** By namespace. */
  readonly own = new Map<string, NamespaceVector>();
  /** By member, this instance left out. */
  readonly words = new Map<string, Word>();
  members: readonly string[] = [];
  /** By origin, what counts of those that were evicted once. */
  cuts: ReadonlyMap<string, Cut> = new Map();
  /** Members that are evicted, as far as is known here: what a report tells others. */
  evicted: readonly string[] = [];

  joined(origins: readonly string[], cuts: ReadonlyMap<string, Cut> = this.cuts): void {
    this.members = [...origins].sort();
    this.cuts = cuts;
    this.evicted = [...cuts].flatMap(([origin, { isClosed }]) => (isClosed ? [origin] : []));
    for (const origin of this.words.keys()) if (!this.members.includes(origin)) this.words.delete(origin);
  }

  /** What a member says from now on; it has said nothing so far. */
  meet(origin: string): Word {
    const word = silence();
    this.words.set(origin, word);
    return word;
  }

  moved(namespace: string, vector: NamespaceVector): void {
    this.own.set(namespace, vector);
    for (const word of this.words.values()) this.#confirm(word, namespace);
  }

  /** @param askedMs when the question was put that the report answers; absent: it came unasked */
  reported(report: VectorReport, askedMs: number | undefined): void {
    const word = this.words.get(report.origin);
    if (word === undefined) return;
    word.hasReported = true;
    word.reportMs = askedMs ?? word.reportMs;
    word.evicted = new Set(report.evicted);
    word.interest = report.interest;
    word.isSettled = report.isSettled;
    // A peer that was emptied and joins again no longer names what it had. Its earlier word would be pulled for ever, and
    // would let go what it is still to hear of.
    for (const namespace of word.namespaces.keys())
      if (!report.namespaces.has(namespace)) word.namespaces.delete(namespace);
    for (const [namespace, vector] of report.namespaces) {
      word.namespaces.set(namespace, vector);
      this.#confirm(word, namespace);
    }
    // A peer that does not name a namespace has nothing of it, which is as good as being covered.
    for (const namespace of this.own.keys())
      if (!report.namespaces.has(namespace)) word.confirmedMs.set(namespace, word.reportMs);
  }

  /**
   * Whether every member is known to hold a write: only then may its tombstone go. Members may under-report, never
   * over-report, and one that was never heard holds everything back.
   */
  isStable(namespace: string, dot: Dot): boolean {
    const own = this.own.get(namespace);
    return this.members.every((origin) => {
      const peer = this.words.get(origin);
      const vector = peer?.namespaces.get(namespace);
      // What the member had written before it saw the tombstone must be here as well: coming later, it would find
      // nothing that beats it. What it writes afterwards comes after the tombstone. What it still takes of an evicted
      // member, which need not have seen the tombstone, does not: until it knows, that member is waited for through it.
      if (vector !== undefined)
        return (
          this.evicted.every((evicted) => peer!.evicted.has(evicted)) &&
          vector.isWhole &&
          // It may hold back this very tombstone, and write anew meanwhile what that will delete.
          vector.isHoldingBack !== true &&
          (coversDot(vector.heads, dot) || this.#hasTaken(namespace, vector, dot)) &&
          covers(own?.heads ?? emptyHeads, vector.heads)
        );
      // A member that takes no part in the namespace will never bring anything of it back.
      return peer?.isSettled === true && !isOfInterest(peer.interest, namespace);
    });
  }

  /** Whether this instance holds a namespace whole, as far as it was told or has found out. */
  isWholeHere(namespace: string): boolean {
    return this.own.get(namespace)?.isWhole === true;
  }

  /**
   * Whether some settled peer has been heard, and everything that settled peers name satisfies the test. Where none is
   * settled, since several went back to old copies one after the other, all members have to be heard.
   */
  hasHeardAll(isWhole: (namespace: string) => boolean): boolean {
    const peers = [...this.words.values()];
    const settled = peers.filter(({ isSettled }) => isSettled);
    const telling = settled.length === 0 && this.#haveAllReported() ? peers : settled;
    return (
      telling.length > 0 &&
      telling.every(({ namespaces }) => [...namespaces.keys()].every((name) => !this.own.has(name) || isWhole(name)))
    );
  }

  /** Whether every member has said that it takes nothing more of an evicted one. */
  isEvictedForAll(evicted: string): boolean {
    return this.members.every((origin) => this.words.get(origin)?.evicted.has(evicted) === true);
  }

  /** How many members are known to hold a record, this instance left out. */
  holders(namespace: string, source: Source, seq: number): number {
    let count = 0;
    for (const origin of this.members) {
      if (headOf(this.words.get(origin)?.namespaces.get(namespace)?.heads ?? emptyHeads, source) >= seq) count++;
    }
    return count;
  }

  /** Whether every member is known to hold a record. */
  isHeldByAll(namespace: string, source: Source, seq: number): boolean {
    return this.holders(namespace, source, seq) === this.members.length;
  }

  /**
   * What of an origin's records is held here or at any other member, as far as those have reported: the least that its
   * eviction must accept. What only the origin itself has said to hold is not part of it.
   */
  heldOf(origin: string): Accepted {
    const held: Record<string, Record<string, number>> = {};
    const see = (namespace: string, heads: Heads) => {
      for (const [source, seq] of heads) {
        if (source.origin !== origin || seq === 0) continue;
        const seqs = (held[namespace] ??= {});
        seqs[source.id] = Math.max(seq, seqs[source.id] ?? 0);
      }
    };
    for (const [namespace, { heads }] of this.own) see(namespace, heads);
    for (const [peer, { namespaces }] of this.words)
      if (peer !== origin) for (const [namespace, { heads }] of namespaces) see(namespace, heads);
    return held;
  }

  /**
   * Whether a member may be the only one that holds some of what counts of another, evicted before it: then its own
   * eviction, after which it returns with nothing but what it wrote itself, would lose that. One that has not reported
   * since the start may hold whatever nobody else has said to hold.
   */
  mayHoldAlone(origin: string): boolean {
    const member = this.words.get(origin);
    for (const { accepted } of this.cuts.values()) {
      for (const [namespace, seqs] of Object.entries(accepted)) {
        const others = [...this.words].flatMap(([peer, { namespaces }]) =>
          peer === origin ? [] : [namespaces.get(namespace)?.heads ?? emptyHeads],
        );
        const own = this.own.get(namespace)?.heads ?? emptyHeads;
        const told = member?.namespaces.get(namespace)?.heads ?? emptyHeads;
        for (const [id, last] of Object.entries(seqs)) {
          const theirs = member?.hasReported === true ? Math.min(last, headById(told, id)) : last;
          if ([own, ...others].every((heads) => headById(heads, id) < theirs)) return true;
        }
      }
    }
    return false;
  }

  /**
   * Whether a record of a member that was evicted will never come: it does not count, or whoever had it is no member any
   * more. States may show it all the same.
   */
  isStray(namespace: string, source: Source, seq: number): boolean {
    const counted = this.acceptedUpTo(namespace, source);
    if (counted === Number.POSITIVE_INFINITY) return false;
    const own = headOf(this.own.get(namespace)?.heads ?? emptyHeads, source);
    return seq > counted || (seq > own && this.holders(namespace, source, seq) === 0);
  }

  /**
   * Whether a peer's states show strays that have not been joined in here. They are joined in then: all that stay are to
   * show the same, and nobody can take out of a state again what has come into it.
   */
  lacksStrays(namespace: string, own: NamespaceVector, { ahead }: NamespaceVector, by?: string): boolean {
    return notJoined(own, ahead).some(
      ({ source, seq }) => (by === undefined || source.origin === by) && this.isStray(namespace, source, seq),
    );
  }

  /** Whether a stray that states show here is shown by another's states as well. */
  #hasTaken(namespace: string, theirs: NamespaceVector, { source, seq }: Dot): boolean {
    const ahead = this.own.get(namespace)?.ahead;
    if (ahead === undefined || (ahead.heads.get(source) ?? 0) < seq) return false;
    return this.isStray(namespace, source, seq) && hasJoined(theirs.ahead, ahead);
  }

  /** Whether every member has reported here since the start. */
  #haveAllReported(): boolean {
    return this.members.every((origin) => this.words.get(origin)?.hasReported === true);
  }

  /**
   * Whether this instance, which was evicted and came back, holds again what counts of what it wrote before: every member
   * has reported since the start, and what they hold of its records is here. A settled one of them may not have had all
   * of it yet. Before, what is offered again of an addition would count once more what is still to come.
   */
  hasRegained(origin: string): boolean {
    if (!this.#haveAllReported()) return false;
    for (const { namespaces } of this.words.values()) {
      for (const [namespace, theirs] of namespaces) {
        const own = this.own.get(namespace);
        if (own === undefined) continue;
        for (const [source, seq] of theirs.heads) {
          const upTo = isFolded(seq) ? seq : Math.min(seq, this.acceptedUpTo(namespace, source));
          if (source.origin === origin && !reaches(own.heads, source, upTo)) return false;
        }
        if (this.lacksStrays(namespace, own, theirs, origin)) return false;
      }
    }
    return true;
  }

  /** Latest time of what any member has said to have purged from a namespace. */
  purgedMs(namespace: string): number {
    return Math.max(
      this.own.get(namespace)?.purgedMs ?? 0,
      ...[...this.words.values()].map(({ namespaces }) => namespaces.get(namespace)?.purgedMs ?? 0),
    );
  }

  /** The last record of a source that is accepted in a namespace, whoever offers it. */
  acceptedUpTo(namespace: string, source: Source): number {
    return acceptedUpTo(this.cuts.get(source.origin), namespace, source);
  }

  /**
   * Whether a member takes no part in a namespace, or holds a source's records up to this one, and none beyond; nor any of
   * an earlier source of the same origin that are missing here: the disk may have lost what it had promised to keep, and
   * what is folded up to this source would stand for them.
   */
  holdsExactly(origin: string, namespace: string, source: Source, seq: number): boolean {
    const word = this.words.get(origin);
    if (word?.isSettled !== true) return false;
    const vector = word.namespaces.get(namespace);
    if (vector === undefined) return !isOfInterest(word.interest, namespace);
    if (vector.heads.get(source) !== seq) return false;
    const earlier = [...vector.heads].filter(([each]) => each.origin === source.origin && each.epoch < source.epoch);
    return covers(this.own.get(namespace)?.heads ?? emptyHeads, new Map(earlier));
  }

  /** By source, the record up to which all members hold everything: below it the log may be trimmed. */
  stableHeads(namespace: string): Map<Source, number> {
    const stable = new Map(this.own.get(namespace)?.heads ?? []);
    for (const origin of this.members) {
      const peer = this.words.get(origin);
      if (peer?.isSettled === true && !isOfInterest(peer.interest, namespace)) continue;
      const theirs = peer?.namespaces.get(namespace)?.heads;
      for (const [source, seq] of stable) stable.set(source, Math.min(seq, headOf(theirs ?? emptyHeads, source)));
    }
    return stable;
  }

  /**
   * Time since this instance last confirmed that it held all that each of its peers held. 0 without other members;
   * infinite while one of them was never heard.
   */
  stalenessMs(namespace: string, nowMs: number): number {
    let staleness = 0;
    for (const origin of this.members) {
      const peer = this.words.get(origin);
      if (peer?.isSettled === true && !isOfInterest(peer.interest, namespace)) continue;
      const confirmed = peer?.confirmedMs.get(namespace);
      staleness = Math.max(staleness, confirmed === undefined ? Number.POSITIVE_INFINITY : nowMs - confirmed);
    }
    return Math.max(0, staleness);
  }

  /** What each peer has that is not here yet, by peer and namespace: records behind. For `status` and metrics. */
  lag(): { readonly peer: string; readonly namespace: string; readonly behind: number; readonly ahead: number }[] {
    const rows = [];
    for (const [peer, { namespaces }] of this.words) {
      for (const [namespace, theirs] of namespaces) {
        const mine = this.own.get(namespace)?.heads ?? emptyHeads;
        rows.push({
          peer,
          namespace,
          behind: distance(mine, theirs.heads),
          ahead: distance(theirs.heads, mine),
        });
      }
    }
    return rows;
  }

  /** Notes that all that a member has said to hold is held here as well; the moment it said so counts for `stalenessMs`. */
  #confirm(word: Word, namespace: string): void {
    const own = this.own.get(namespace);
    const theirs = word.namespaces.get(namespace);
    if (own && theirs && covers(own.heads, theirs.heads)) word.confirmedMs.set(namespace, word.reportMs);
  }
}

const emptyHeads: Heads = new Map();

const silence = (): Word => ({
  hasReported: false,
  reportMs: Number.NEGATIVE_INFINITY,
  namespaces: new Map(),
  evicted: new Set(),
  interest: [],
  isSettled: false,
  confirmedMs: new Map(),
});
