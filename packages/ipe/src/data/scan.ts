import { type Cell, decodeCell, type Sources, type Strategy } from '@ipe/core/replica';
import type { Damage } from './damage.ts';
import { errorOf, failureOf } from './driver.ts';
import type { Engine } from './engine.ts';
import { type FactsSnapshot, snapshotOf } from './held-snapshots.ts';
import type { KeyPattern } from './pattern.ts';

/** A cell that a scan met. */
export interface Scanned {
  readonly key: string;
  readonly cell: Cell;
}

export interface ScanOptions {
  /** A key: only those behind it. */
  readonly after?: string | undefined;
  /** Told of each damaged row, which is then passed over. Absent: the scan ends with `corrupt`. */
  readonly onDamaged?: (damage: Damage) => void;
  /** A snapshot that is held; absent: one of the call's tick. */
  readonly snapshot?: FactsSnapshot | undefined;
}

/**
 * Committed cells whose keys match, in the order in which the store keeps them, as of one moment. Cells of absent keys may
 * be among them.
 * @throws IpeError `corrupt` naming the key of a row that does not decode, or the store that cannot be read further
 */
export async function* scan(
  engine: Engine,
  pattern: KeyPattern,
  { after, onDamaged, snapshot }: ScanOptions = {},
): AsyncGenerator<Scanned> {
  const { replica } = engine;
  const { namespace } = pattern;
  const { rows, uncommitted } = snapshot ?? snapshotOf(engine);
  const met = (key: string | undefined, error: unknown) => {
    const damage = { namespace, key, failure: failureOf(error) };
    engine.damage.met(damage);
    if (onDamaged === undefined) throw error;
    onDamaged(damage);
  };
  try {
    const strategy = replica.strategyOf(namespace);
    const from = Buffer.from(pattern.prefix);
    const upper = { ...(pattern.isKey ? { lte: from } : { lt: following(from) }), order: 'store' as const };
    const bounds = after === undefined ? { ...upper, gte: from } : { ...upper, gt: Buffer.from(after) };
    const range = { ...bounds, onDamaged: (error: unknown) => met(undefined, error) };
    for await (const [row, value] of rows.entries('live', range)) {
      const key = Buffer.from(row.buffer, row.byteOffset, row.byteLength).toString('utf8');
      if (!pattern.matches(key)) continue;
      let cell = uncommitted.get(key);
      if (cell === undefined) {
        try {
          cell = decodeRow(key, value, replica.sources, strategy);
        } catch (error) {
          met(key, error);
          continue;
        }
      }
      yield { key, cell };
    }
  } finally {
    if (snapshot === undefined) await rows.close();
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
    const { message } = failureOf(error);
    throw errorOf({
      reason: 'corrupt',
      message: `the stored row of \`${key}\` does not decode: ${message}`,
      details: { key },
    });
  }
}
