import type { Source, Sources } from '../dot.ts';
import type { Accepted } from '../exchange/index.ts';
import type { OffersMade } from '../offer.ts';
import type { LogRecord } from '../record.ts';
import { decodeRecord } from '../record-codec.ts';
import type { Aside } from './set-aside.ts';

/**
 * What a member takes along that is evicted again before it has offered all that it took along before.
 * @param earlier what it took along before
 * @param made how far its store tells that those records were offered, and under which sources
 * @param later what `setAside` reads from that store
 */
export function carriedOn(earlier: Aside, made: OffersMade, later: Aside, sources: Sources): Aside {
  const isOffered = ({ namespace, source, seq }: LogRecord) => seq <= headIn(made.offered, namespace, source);
  const isOffer = ({ namespace, source }: LogRecord) => headIn(made.offeredAs, namespace, source) > 0;
  const [done, left] = divided(earlier.records, sources, isOffered);
  const [offers, others] = divided(later.records, sources, isOffer);
  return {
    closed: joined(earlier.closed, later.closed),
    // Offers come before what is left to be offered, which was written after them.
    records: [...offers, ...left, ...others],
    counted: [...earlier.counted, ...done, ...later.counted],
    missing: [...earlier.missing, ...later.missing],
    unknown: [...earlier.unknown, ...later.unknown],
  };
}

function joined(...tables: readonly Accepted[]): Accepted {
  const all: Record<string, Record<string, number>> = {};
  for (const table of tables)
    for (const [namespace, seqs] of Object.entries(table)) all[namespace] = { ...all[namespace], ...seqs };
  return all;
}

const headIn = (heads: OffersMade['offered'], namespace: string, source: Source) =>
  heads.get(namespace)?.get(source) ?? 0;

function divided(
  rows: readonly Uint8Array[],
  sources: Sources,
  isFirst: (record: LogRecord) => boolean,
): [Uint8Array[], Uint8Array[]] {
  const parts: [Uint8Array[], Uint8Array[]] = [[], []];
  for (const row of rows) parts[isFirst(decodeRecord(row, sources)) ? 0 : 1].push(row);
  return parts;
}
