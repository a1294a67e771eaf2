import { type Cell, decodeRecord, logKey, rangesBeyond, type Source, WrittenKeys } from '@ipe/core/replica';
import type { Engine } from './engine.ts';
import type { KeyPattern } from './pattern.ts';

/**
 * Keys that records outside of a vector wrote, with what they hold now: what a follower that has seen everything within
 * the vector is still to be told, at least. A key that was purged since has the deletion that was.
 * @param vector by source: all records up to one are known to the follower
 * @returns undefined where the log does not go back to some of these records, or they are too many
 */
export async function changedSince(
  engine: Engine,
  pattern: KeyPattern,
  vector: ReadonlyMap<Source, number>,
): Promise<ReadonlyMap<string, Cell> | undefined> {
  const { replica, kv } = engine;
  const { namespace } = pattern;
  const ranges = rangesBeyond(vector, namespace, replica.headsOf(namespace));
  if (ranges === undefined) return undefined;
  const written = new WrittenKeys((key) => pattern.matches(key), replica);
  for (const { source, after, upTo } of ranges) {
    let seq = after;
    const range = { gt: logKey(namespace, source, after), lte: logKey(namespace, source, upTo) };
    for await (const [, row] of kv.entries('log', range)) {
      const record = decodeRecord(row, replica.sources);
      // Trimmed, or never logged here because it came in as a state.
      if (record.seq !== ++seq) return undefined;
      written.take(record);
    }
    if (seq !== upTo) return undefined;
  }
  const changed = new Map<string, Cell>();
  for (const key of written.keys()) changed.set(key, written.told(key, await engine.get(key)));
  return changed;
}
