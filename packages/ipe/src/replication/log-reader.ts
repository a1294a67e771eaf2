import { type DataFamily, type LogRange, type LogSlice, logKey, SliceGatherer, seqOfLogKey } from '@ipe/core/replica';
import type { Kv } from '@ipe/core/store';

/** Reads records of a source from the log, contiguous, up to about `bytesMax` (one record at least). */
export async function readLog(
  kv: Pick<Kv<DataFamily>, 'entries'>,
  range: LogRange,
  bytesMax: number,
): Promise<LogSlice> {
  const { namespace, source, after, upTo } = range;
  const slice = new SliceGatherer(range, bytesMax);
  const rows = { gte: logKey(namespace, source, after + 1), lte: logKey(namespace, source, upTo) };
  for await (const [key, value] of kv.entries('log', rows)) if (!slice.take(seqOfLogKey(key), value)) break;
  return slice.slice();
}
