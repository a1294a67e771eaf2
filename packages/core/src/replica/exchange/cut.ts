import type { Source } from '../dot.ts';

/** Last records by namespace and `Source.id`. */
export type Accepted = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** What counts of a member that was evicted once. Every member holds the same: it stands in a signed record. */
export interface Cut {
  readonly accepted: Accepted;
  /**
   * Evicted now: of sources that are not named nothing is accepted. False once the member has returned: the named
   * sources are those of before, and later ones are accepted like anybody's.
   */
  readonly isClosed: boolean;
}

/** The last record of a source that is accepted in a namespace; infinite where nothing bounds it. */
export function acceptedUpTo(cut: Cut | undefined, namespace: string, source: Source): number {
  if (cut === undefined) return Number.POSITIVE_INFINITY;
  return cut.accepted[namespace]?.[source.id] ?? (cut.isClosed ? 0 : Number.POSITIVE_INFINITY);
}

/**
 * A cut that reaches what is held somewhere, since what one member has applied can only be corrected by the others
 * taking it too. It only ever rises.
 * @returns undefined where the cut reaches that already
 */
export function raised(accepted: Accepted, held: Accepted): Accepted | undefined {
  let isHigher = false;
  const result: Record<string, Record<string, number>> = {};
  for (const [namespace, seqs] of Object.entries(accepted)) result[namespace] = { ...seqs };
  for (const [namespace, seqs] of Object.entries(held)) {
    const known = (result[namespace] ??= {});
    for (const [id, seq] of Object.entries(seqs)) {
      if (seq <= (known[id] ?? 0)) continue;
      known[id] = seq;
      isHigher = true;
    }
  }
  return isHigher ? result : undefined;
}
