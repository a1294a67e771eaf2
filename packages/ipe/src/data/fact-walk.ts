import { setTimeout as pause } from 'node:timers/promises';
import { IpeError } from '@ipe/core';
import { type Cell, decodeCell, decodeRecord, liveKey, logKey, namespaceOf, type Sources } from '@ipe/core/replica';
import type { Engine } from './engine.ts';

/** What a walk does with the rows of a namespace. */
export interface WalkVisitor {
  /** A committed cell; the rows of keys that are being written are left out, and their committed cells told first. */
  cell?(key: string, cell: Cell): void;
  /** A row that cannot be read or does not decode. @param key undefined where not even that can be told */
  damaged(key: string | undefined, error: unknown): void;
}

export interface WalkOptions {
  readonly rowsPerSecond: number;
  readonly signal: AbortSignal;
  /** Called in the tick as of which the rows are: what is committed afterwards is not among them. */
  readonly onBegin?: () => void;
  readonly onRow?: () => void;
}

/**
 * Walks all rows of a namespace as of one moment, in whatever order the store keeps them, checking that each decodes.
 * Takes it slowly: a slice at a time, no more rows a second than allowed.
 * @throws IpeError `corrupt` where the store itself can read no further, `unavailable` when it is closed; the signal's
 *   reason when it aborts
 */
export async function walkFacts(
  engine: Engine,
  namespace: string,
  visitor: WalkVisitor,
  options: WalkOptions,
): Promise<void> {
  const { replica, kv } = engine;
  const pace = new Pace(options);
  // In one tick: rows of writes under way may be in the store already, and the committed cells are those from before.
  const snapshot = kv.snapshot();
  const uncommitted = replica.uncommitted();
  options.onBegin?.();
  try {
    for (const [key, cell] of uncommitted)
      if (cell !== undefined && namespaceOf(key) === namespace) visitor.cell?.(key, cell);
    const strategy = replica.strategyOf(namespace);
    const decode = (row: Uint8Array, damaged: (error: unknown) => void) => {
      try {
        return decodeCell(row, replica.sources, strategy);
      } catch (error) {
        damaged(error);
        return undefined;
      }
    };
    const onDamaged = (error: unknown) => visitor.damaged(undefined, error);
    const range = { gte: liveKey(`${namespace}.`), lt: liveKey(`${namespace}/`), order: 'store' as const, onDamaged };
    for await (const [row, value] of snapshot.entries('live', range)) {
      const key = Buffer.from(row.buffer, row.byteOffset, row.byteLength).toString('utf8');
      if (!uncommitted.has(key)) {
        const cell = decode(value, (error) => visitor.damaged(key, error));
        if (cell !== undefined) visitor.cell?.(key, cell);
      }
      options.onRow?.();
      await pace.row();
    }
  } finally {
    await snapshot.close();
  }
}

/** A record of the log, by name. */
export interface RecordName {
  readonly namespace: string;
  readonly sourceId: string;
  readonly seq: number;
}

/** Walks the log of all namespaces and tells of records that do not decode, or are not what their keys say. */
export async function walkLog(
  engine: Engine,
  damaged: (name: RecordName | undefined, error: unknown) => void,
  options: WalkOptions,
): Promise<void> {
  const { replica, kv } = engine;
  const pace = new Pace(options);
  const snapshot = kv.snapshot();
  try {
    const onDamaged = (error: unknown) => damaged(undefined, error);
    for await (const [row, value] of snapshot.entries('log', { order: 'store', onDamaged })) {
      try {
        checkRecord(row, value, replica.sources);
      } catch (error) {
        damaged(recordName(row), error);
      }
      options.onRow?.();
      await pace.row();
    }
  } finally {
    await snapshot.close();
  }
}

/** @throws IpeError `corrupt` where a row of the log does not decode, or is not the record that its key names */
export function checkRecord(row: Uint8Array, value: Uint8Array, sources: Sources): void {
  const { namespace, source, seq } = decodeRecord(value, sources);
  if (Buffer.compare(logKey(namespace, source, seq), row) !== 0)
    throw new IpeError('corrupt', `it is record ${seq} of \`${source.id}\` in \`${namespace}\``);
}

/** Reads `namespace, 0, origin (8), epoch (6), seq (6)`. */
function recordName(row: Uint8Array): RecordName {
  const bytes = Buffer.from(row.buffer, row.byteOffset, row.byteLength);
  const end = bytes.length - 21;
  return {
    namespace: bytes.toString('utf8', 0, end),
    sourceId: `${bytes.toString('hex', end + 1, end + 9)}:${bytes.toString('hex', end + 9, end + 15)}`,
    seq: bytes.readUIntBE(end + 15, 6),
  };
}

/** Rows between two looks at the clock. */
const sliceRows = 256;

/** Keeps a walk to its rows a second, and out of the way of everything else. */
class Pace {
  readonly #options: WalkOptions;
  readonly #startMs = performance.now();
  #rows = 0;

  constructor(options: WalkOptions) {
    this.#options = options;
  }

  row(): Promise<void> | undefined {
    return ++this.#rows % sliceRows === 0 ? this.#rest() : undefined;
  }

  async #rest(): Promise<void> {
    const { rowsPerSecond, signal } = this.#options;
    signal.throwIfAborted();
    const aheadMs = (this.#rows * 1_000) / rowsPerSecond - (performance.now() - this.#startMs);
    if (aheadMs >= 1) await pause(aheadMs, undefined, { signal, ref: false });
  }
}
