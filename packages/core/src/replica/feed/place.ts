import { Cell } from '../cell.ts';
import type { LogRange } from '../delivery/slice.ts';
import { compareStamps } from '../dot.ts';
import { type Heads, missingFrom } from '../exchange/vectors.ts';
import { namespaceOf } from '../key.ts';
import type { LogRecord } from '../record.ts';
import type { Replica } from '../replica.ts';
import type { Version } from '../state.ts';
import type { Token } from '../token.ts';
import type { FeedStart } from './feed.ts';
import { purgedBy } from './purged.ts';

/**
 * Where a follower goes on from a token of this instance; undefined when it cannot, and needs a vector or a resync.
 * @param head number of the newest commit @param tag of the token's commit, as it is known here
 */
export function placeOf(
  { commit, instance, tag: itsTag, isPartial, seq }: Token,
  namespace: string,
  replica: Pick<Replica, 'origin' | 'trimmedCommit' | 'joinedCommit' | 'joinedTag'>,
  head: number,
  tag: string | undefined,
): number | undefined {
  if (instance !== replica.origin || commit === 0 || commit > head || commit < replica.trimmedCommit) return undefined;
  if (seq === 0 && isPartial) return itsTag === replica.joinedTag(namespace, commit) ? commit : undefined;
  // A bookmark (seq 0) of that very commit was given after the states that came in with it were told.
  const joined = replica.joinedCommit(namespace);
  if (commit < joined || (commit === joined && joined > 0 && seq > 0)) return undefined;
  // The number may have been given to another commit since, if a crash took the end of the log.
  if (tag !== itsTag) return undefined;
  return isPartial ? commit - 1 : commit;
}

/** A token that a follower came with. `tag`: that of its commit as it is known here. */
export interface GivenToken {
  readonly token: Token;
  readonly tag: string | undefined;
}

/**
 * Where a follower goes on that came with some tokens, the one that it was told last before others: the first that this
 * instance can go on from counts.
 *
 * What it was told elsewhere, or by an earlier life of this instance, has to be here too, as far as the tokens tell: else
 * it may hold what is newer than what it would be told here, or what only a member had that was evicted since, and nobody
 * would ever tell it that this is gone.
 */
export function startOf(
  tokens: readonly GivenToken[],
  namespace: string,
  replica: Parameters<typeof placeOf>[2] & Pick<Replica, 'reaches'>,
  head: number,
): FeedStart {
  // The last thing it was told is part of what was not told to its end: what it holds is of no one place.
  const last = tokens[0]?.token;
  if (last?.commit === 0 && last.vector === undefined) return 'resync';
  // What others gave out says nothing of what it was told since by the one that told it last.
  const given = tokens.filter(({ token }) => token.instance === last?.instance);
  if (!given.every(({ token }) => replica.reaches(token))) return 'resync';
  for (const { token, tag } of given) {
    const after = placeOf(token, namespace, replica, head, tag);
    if (after !== undefined) return { after };
  }
  // It was told before states came in here, which need not be within any vector: what a disk had lost, say.
  const joined = replica.joinedCommit(namespace);
  if (given.some(({ token: { instance, commit } }) => instance === replica.origin && commit > 0 && commit <= joined))
    return 'resync';
  for (const { token } of given)
    if (token.vector !== undefined && token.namespace === namespace) return { beyond: token.vector };
  return 'resync';
}

/** Records that are gone through for a follower from another instance; with more, it is given everything instead. */
const recordsMax = 20_000;

/** Records of a namespace outside of a vector; undefined where they are too many, or folded, so that no log tells them. */
export function rangesBeyond(vector: Heads, namespace: string, heads: Heads): LogRange[] | undefined {
  const ranges: LogRange[] = [];
  let records = 0;
  for (const { source, after, upTo } of missingFrom(vector, heads)) {
    if ((records += upTo - after) > recordsMax) return undefined;
    ranges.push({ namespace, source, after, upTo });
  }
  return ranges;
}

/** Gathers which keys records wrote, for a follower that has not seen them. */
export class WrittenKeys {
  readonly #matches: (key: string) => boolean;
  readonly #replica: Pick<Replica, 'strategyOf' | 'isHeldBack'>;
  /** The last write of each key, as a deletion: for those of which nothing else is left. */
  readonly #written = new Map<string, Version>();

  constructor(matches: (key: string) => boolean, replica: Pick<Replica, 'strategyOf' | 'isHeldBack'>) {
    this.#matches = matches;
    this.#replica = replica;
  }

  /** Takes a record of the log in. What is held back has changed nothing yet. */
  take(record: LogRecord): void {
    if (this.#replica.isHeldBack(record.namespace, record.source, record.seq)) return;
    record.operations.forEach(({ key }, i) => {
      if (!this.#matches(key)) return;
      const before = this.#written.get(key);
      const version = purgedBy(record, i);
      if (before === undefined || compareStamps(before, version) < 0) this.#written.set(key, version);
    });
  }

  keys(): Iterable<string> {
    return this.#written.keys();
  }

  /**
   * What is told of a key. One that was purged since is told as deleted, whichever of the writes that ended so are among
   * those gathered. @param now what it holds now
   */
  told(key: string, now: Cell): Cell {
    const written = this.#written.get(key);
    if (now.view !== undefined || written === undefined) return now;
    return new Cell(written, 0, this.#replica.strategyOf(namespaceOf(key)));
  }
}
