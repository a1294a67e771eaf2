import type { Dot, Source } from '../dot.ts';

/** By source: the record up to which all are held. */
export type Heads = ReadonlyMap<Source, number>;

/** Records of one source that one side holds and the other does not: `after < seq <= upTo`. */
export interface Missing {
  readonly source: Source;
  readonly after: number;
  readonly upTo: number;
}

/** What `theirs` has beyond `mine`, source by source, in order of source id: equal vectors give equal lists. */
export function missingFrom(mine: Heads, theirs: Heads): Missing[] {
  const missing: Missing[] = [];
  for (const [source, upTo] of theirs) {
    const after = mine.get(source) ?? 0;
    if (upTo > after) missing.push({ source, after, upTo });
  }
  return missing.sort((a, b) => (a.source.id < b.source.id ? -1 : 1));
}

/** Whether `mine` covers everything in `theirs`. */
export function covers(mine: Heads, theirs: Heads): boolean {
  for (const [source, seq] of theirs) if ((mine.get(source) ?? 0) < seq) return false;
  return true;
}

/** Whether a vector covers one write. */
export function coversDot(heads: Heads, dot: Dot): boolean {
  return (heads.get(dot.source) ?? 0) >= dot.seq;
}
