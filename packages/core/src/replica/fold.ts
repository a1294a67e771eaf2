import type { Source } from './dot.ts';
import type { Head } from './state.ts';

/**
 * A vector grows by one entry for every start of every instance. Epochs grow with time, and those that are over and
 * held by everyone are folded: one entry at the last of them stands for all (design 0013, folding). Such an entry's
 * number is this and the number of records that it stands for, so that whoever holds as many holds all of them.
 */
export const foldedBase = 2 ** 52;

export const isFolded = (seq: number) => seq >= foldedBase;

/** How epochs tell time. The same for all instances of a cluster. */
export interface EpochTimes {
  /** Epochs begin with a time, in steps of this length, and end with 24 random bits. */
  readonly stepMs: number;
  /**
   * How long after a start earlier epochs are folded: another that runs on a copy of the state directory, and may write
   * under them still, would have been heard of by then. Longer than a step and the difference of any two clocks, so that
   * an instance that begins anew draws a later epoch than any that is folded.
   */
  readonly foldAfterMs: number;
}

/** Those of nodes: steps of some four minutes, and an hour. */
export const epochTimes: EpochTimes = { stepMs: 2 ** 18, foldAfterMs: 3_600_000 };

/** The least epoch that is drawn at a time. */
export const epochAt = (nowMs: number, { stepMs }: EpochTimes) => Math.max(0, Math.floor(nowMs / stepMs)) * 2 ** 24;

/** Whether those before an epoch may be folded; wrong by what its instance's clock was when it began. */
export const isOld = ({ epoch }: Source, nowMs: number, { stepMs, foldAfterMs }: EpochTimes) =>
  Math.floor(epoch / 2 ** 24) * stepMs + foldAfterMs <= nowMs;

/** How many records an entry stands for. */
export const recordsIn = (seq: number) => (isFolded(seq) ? seq - foldedBase : seq);

/** The entry under which an origin's records of a source's epoch are folded, where they are. */
function foldOver(heads: ReadonlyMap<Source, number>, { origin, epoch }: Source): Source | undefined {
  for (const [source, seq] of heads)
    if (isFolded(seq) && source.origin === origin && source.epoch >= epoch) return source;
  return undefined;
}

/** The record of a source up to which all are held; infinite where its epoch is folded. */
export function headOf(heads: ReadonlyMap<Source, number>, source: Source): number {
  return heads.get(source) ?? (foldOver(heads, source) === undefined ? 0 : Number.POSITIVE_INFINITY);
}

/** The same of a source that is known by its id alone. */
export function headById(heads: ReadonlyMap<Source, number>, id: string): number {
  let head = 0;
  for (const [source, seq] of heads) {
    if (source.id === id) return seq;
    // Ids of one origin are in the order of their epochs.
    if (isFolded(seq) && id.startsWith(`${source.origin}:`) && source.id > id) head = Number.POSITIVE_INFINITY;
  }
  return head;
}

/** Whether a vector holds what another's entry says, be it one source's records or folded ones. */
export function reaches(heads: ReadonlyMap<Source, number>, source: Source, seq: number): boolean {
  if (headOf(heads, source) >= seq) return true;
  return isFolded(seq) && (foldOver(heads, source) !== undefined || recordsUpTo(heads, source) >= recordsIn(seq));
}

/** Records of an origin in epochs up to that of `last`. */
export function recordsUpTo(heads: ReadonlyMap<Source, number>, last: Source): number {
  let records = 0;
  for (const [{ origin, epoch }, seq] of heads)
    if (origin === last.origin && epoch <= last.epoch) records += recordsIn(seq);
  return records;
}

/**
 * Moves a vector to an entry of another, which may be folded: then it takes the place of those that it stands for.
 * @returns the entries that went; undefined where the vector was as far already
 */
export function moveHead(heads: Map<Source, number>, source: Source, seq: number): Source[] | undefined {
  if (headOf(heads, source) >= seq || (isFolded(seq) && foldOver(heads, source) !== undefined)) return undefined;
  const gone: Source[] = [];
  if (isFolded(seq))
    for (const other of heads.keys())
      if (other.origin === source.origin && other.epoch <= source.epoch && other !== source) gone.push(other);
  for (const other of gone) heads.delete(other);
  heads.set(source, seq);
  return gone;
}

/**
 * What an origin's closed epochs fold to: as many of them, from the first on, as everyone holds.
 * @param isClosed whether nothing more will be written under a source @param isHeldByAll whether everyone holds it all
 * @returns undefined where there is nothing to fold
 */
export function foldable(
  heads: ReadonlyMap<Source, number>,
  origin: string,
  isClosed: (source: Source) => boolean,
  isHeldByAll: (source: Source, seq: number) => boolean,
): Head | undefined {
  const own = [...heads].filter(([source]) => source.origin === origin).sort(([a], [b]) => a.epoch - b.epoch);
  let last: Source | undefined;
  let records = 0;
  for (const [source, seq] of own) {
    if (!isFolded(seq) && !(isClosed(source) && isHeldByAll(source, seq))) break;
    last = source;
    records += recordsIn(seq);
  }
  if (last === undefined || isFolded(heads.get(last)!)) return undefined;
  return { source: last, seq: foldedBase + records };
}
