import { IpeError } from '@ipe/core';
import { type Cell, decodeCell, type Sources, type Strategy } from '@ipe/core/replica';
import type { Engine } from './engine.ts';
import type { KeyPattern } from './pattern.ts';

/** A cell that a scan met. */
export interface Scanned {
  readonly key: string;
  readonly cell: Cell;
}

/**
 * Committed cells whose keys match, in the order in which the store keeps them, as of the call. Cells of absent keys may be among them.
 * @param after a key: only those behind it
 * @throws IpeError `corrupt` naming the key of a row that does not decode
 */
export async function* scan(engine: Engine, pattern: KeyPattern, after?: string): AsyncGenerator<Scanned> {
  const { replica } = engine;
  // In one tick: rows of writes under way may be in the store already, and readers take the cells from before.
  const snapshot = engine.kv.snapshot();
  const uncommitted = replica.uncommitted();
  try {
    const strategy = replica.strategyOf(pattern.namespace);
    const from = Buffer.from(pattern.prefix);
    const upper = { ...(pattern.isKey ? { lte: from } : { lt: following(from) }), order: 'store' as const };
    const range = after === undefined ? { ...upper, gte: from } : { ...upper, gt: Buffer.from(after) };
    for await (const [row, value] of snapshot.entries('live', range)) {
      const key = Buffer.from(row.buffer, row.byteOffset, row.byteLength).toString('utf8');
      if (!pattern.matches(key)) continue;
      yield { key, cell: uncommitted.get(key) ?? decodeRow(key, value, replica.sources, strategy) };
    }
  } finally {
    await snapshot.close();
  }
}

/** The least key above everything that starts with `prefix`, which ends in a dot. */
function following(prefix: Buffer): Buffer {
  const end = Buffer.from(prefix);
  end[end.length - 1]! += 1;
  return end;
}

function decodeRow(key: string, value: Uint8Array, sources: Sources, strategy: Strategy): Cell {
  try {
    return decodeCell(value, sources, strategy);
  } catch (error) {
    throw new IpeError('corrupt', `the stored row of \`${key}\` does not decode`, { details: { key }, cause: error });
  }
}
