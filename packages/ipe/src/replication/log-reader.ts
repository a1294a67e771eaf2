import { type DataFamily, logKey, type Source } from '@ipe/core/replica';
import type { Kv } from '@ipe/core/store';

/** A part of a source's log: encoded records in order, contiguous from the one asked for. */
export interface LogSlice {
  readonly records: readonly Uint8Array[];
  /** Sequence number of the last one; `after` where there are none. */
  readonly upTo: number;
  /** The log does not hold the record after `after` any more, or not yet. */
  readonly isTrimmed: boolean;
}

/**
 * Reads records `after < seq <= upTo` of a source, up to about `bytesMax` (one record at least).
 * A hole ends the slice: what is read is always contiguous.
 */
export async function readLog(
  kv: Pick<Kv<DataFamily>, 'entries'>,
  namespace: string,
  source: Source,
  after: number,
  upTo: number,
  bytesMax: number,
): Promise<LogSlice> {
  const records: Uint8Array[] = [];
  let seq = after;
  let bytes = 0;
  const range = { gte: logKey(namespace, source, after + 1), lte: logKey(namespace, source, upTo) };
  for await (const [key, value] of kv.entries('log', range)) {
    const found = Buffer.from(key.buffer, key.byteOffset, key.byteLength).readUIntBE(key.length - 6, 6);
    if (found !== seq + 1) break;
    records.push(value);
    seq = found;
    bytes += value.length;
    if (bytes >= bytesMax) break;
  }
  return { records, upTo: seq, isTrimmed: records.length === 0 && upTo > after };
}
