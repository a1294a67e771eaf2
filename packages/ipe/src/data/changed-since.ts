import { Cell, decodeRecord, isCausal, logKey, type Source, stateOf } from '@ipe/core/replica';
import type { Engine } from './engine.ts';
import type { KeyPattern } from './pattern.ts';

/** Records that are gone through for a follower from another instance; with more, it is given everything instead. */
const recordsMax = 20_000;

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
  const strategy = replica.strategyOf(namespace);
  // The last write of each key, for those of which nothing else is left.
  const written = new Map<string, Cell>();
  let records = 0;
  for (const [source, head] of replica.headsOf(namespace)) {
    let seq = vector.get(source) ?? 0;
    if (head <= seq) continue;
    if ((records += head - seq) > recordsMax) return undefined;
    const range = { gt: logKey(namespace, source, seq), lte: logKey(namespace, source, head) };
    for await (const [, row] of kv.entries('log', range)) {
      const record = decodeRecord(row, replica.sources);
      // Trimmed, held back, or never logged here because it came in as a state.
      if (record.seq !== ++seq) return undefined;
      record.operations.forEach((operation, i) => {
        if (pattern.matches(operation.key))
          written.set(operation.key, new Cell(stateOf(record, i, isCausal(operation)), 0, strategy));
      });
    }
    if (seq !== head) return undefined;
  }
  const changed = new Map<string, Cell>();
  for (const [key, last] of written) {
    const cell = await engine.get(key);
    changed.set(key, cell.view === undefined ? last : cell);
  }
  return changed;
}
