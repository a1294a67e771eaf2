import type { Dot, Source } from '../dot.ts';
import { headOf, isFolded, reaches, recordsIn, recordsUpTo } from '../fold.ts';

/** By source: the record up to which all are held; folded entries stand for several sources (`fold.ts`). */
export type Heads = ReadonlyMap<Source, number>;

/** Records of one source that one side holds and the other does not: `after < seq <= upTo`, or folded ones. */
export interface Missing {
  readonly source: Source;
  readonly after: number;
  readonly upTo: number;
}

/** What `theirs` has beyond `mine`, source by source, in order of source id: equal vectors give equal lists. */
export function missingFrom(mine: Heads, theirs: Heads): Missing[] {
  const missing: Missing[] = [];
  for (const [source, upTo] of theirs)
    if (!reaches(mine, source, upTo)) missing.push({ source, after: mine.get(source) ?? 0, upTo });
  return missing.sort((a, b) => (a.source.id < b.source.id ? -1 : 1));
}

/** How many records `theirs` has beyond `mine`. */
export function distance(mine: Heads, theirs: Heads): number {
  let records = 0;
  for (const { source, after, upTo } of missingFrom(mine, theirs))
    records += isFolded(upTo) ? recordsIn(upTo) - recordsUpTo(mine, source) : upTo - after;
  return records;
}

/** Whether `mine` covers everything in `theirs`. */
export function covers(mine: Heads, theirs: Heads): boolean {
  for (const [source, seq] of theirs) if (!reaches(mine, source, seq)) return false;
  return true;
}

/** Whether a vector covers one write. */
export function coversDot(heads: Heads, dot: Dot): boolean {
  return headOf(heads, dot.source) >= dot.seq;
}
