import { isIpeError } from '@ipe/core';
import {
  type DataFamily,
  type LogRange,
  type LogSlice,
  logKey,
  SliceGatherer,
  type Sources,
  seqOfLogKey,
} from '@ipe/core/replica';
import type { Kv } from '@ipe/core/store';
import { checkRecord, type RecordName } from '../data/index.ts';

/** A log to read from, and who is told of damage in it. */
export interface ReadableLog {
  readonly kv: Pick<Kv<DataFamily>, 'entries'>;
  readonly sources: Sources;
  readonly onDamaged: (name: RecordName, why: string) => void;
}

/**
 * Reads records of a source from the log, contiguous, up to about `bytesMax` (one record at least). A damaged one ends the
 * slice and is told, so that it is fetched again rather than handed out.
 * @throws IpeError `corrupt` where the first record is damaged
 */
export async function readLog(
  { kv, sources, onDamaged }: ReadableLog,
  range: LogRange,
  bytesMax: number,
): Promise<LogSlice> {
  const { namespace, source, after, upTo } = range;
  const gatherer = new SliceGatherer(range, bytesMax);
  const rows = { gte: logKey(namespace, source, after + 1), lte: logKey(namespace, source, upTo) };
  try {
    for await (const [key, value] of kv.entries('log', rows)) {
      checkRecord(key, value, sources);
      if (!gatherer.take(seqOfLogKey(key), value)) break;
    }
  } catch (error) {
    if (!isIpeError(error) || error.reason !== 'corrupt') throw error;
    const seq = gatherer.slice().upTo + 1;
    onDamaged({ namespace, sourceId: source.id, seq }, error.message);
    if (seq === after + 1) throw error;
  }
  return gatherer.slice();
}
