import {
  Cell,
  commitKey,
  type DataFamily,
  decodeCommit,
  decodeRecord,
  dotsTag,
  dotText,
  isCausal,
  type LogRecord,
  logKey,
  namespaceOf,
  stateOf,
} from '@ipe/core/replica';
import type { KvSnapshot } from '@ipe/core/store';
import type { Engine } from './engine.ts';
import { type Winner, winnerOf } from './entry.ts';

/** A conditional write that this instance accepted and that then lost a merge. Times are Unix seconds. */
export interface SupersededReport {
  readonly key: string;
  readonly version: number;
  readonly etag: string;
  /** When it was written. */
  readonly timestamp: number;
  /** When what won was written. */
  readonly superseded_at: number;
  /** What it had written, as long as the log holds it. */
  readonly lost?: Pick<Winner, 'value' | 'value_base64' | 'deleted'>;
  /** What won, as it was written. */
  readonly winner: Winner;
  /** Ids of both writes, as receipts and `history` name them. */
  readonly dots: { readonly lost: string; readonly winner: string };
}

export interface SupersededPage {
  readonly writes: readonly SupersededReport[];
  /** `before` of the next page; absent after the last. */
  readonly next?: number;
}

/** Commits that one page looks at. */
const scannedMax = 50_000;

/**
 * Conditional writes that lost a merge, latest loss first, as far back as the log goes (`log_max_bytes`).
 * @param options.before a commit number: only losses before it @param options.limit of writes on a page, 1 or more
 * @param options.isVisible which namespaces are asked for
 */
export async function supersededWrites(
  engine: Engine,
  options: {
    readonly before?: number;
    readonly limit: number;
    readonly isVisible: (namespace: string) => boolean;
  },
): Promise<SupersededPage> {
  const { limit, isVisible } = options;
  const { sources } = engine.replica;
  const writes: SupersededReport[] = [];
  const snapshot = engine.kv.snapshot();
  try {
    const end = options.before === undefined ? {} : { lt: commitKey(options.before) };
    let scanned = 0;
    for await (const [row, value] of snapshot.entries('commits', { ...end, reverse: true })) {
      const number = Buffer.from(row.buffer, row.byteOffset, row.byteLength).readUIntBE(0, 6);
      if (writes.length >= limit || ++scanned > scannedMax) return { writes, next: number + 1 };
      const { namespace, source, seq, superseded } = decodeCommit(value, sources);
      if (superseded.size === 0 || !isVisible(namespace)) continue;
      const record = await readRecord(engine, snapshot, namespace, { source, seq });
      if (record === undefined) continue;
      for (const [place, loser] of superseded) {
        const lost = await readRecord(engine, snapshot, namespace, loser);
        const winner = cellOf(engine, record, place);
        const { key } = record.operations[place]!;
        writes.push({
          key,
          version: loser.version,
          etag: dotsTag([loser]),
          timestamp: loser.ms / 1000,
          superseded_at: record.ms / 1000,
          ...(lost !== undefined && { lost: contentOf(key, cellOf(engine, lost, loser.idx)) }),
          winner: winnerOf(key, winner),
          dots: { lost: dotText(loser), winner: winner.dots.join(',') },
        });
      }
    }
    return { writes };
  } finally {
    await snapshot.close();
  }
}

async function readRecord(
  engine: Engine,
  snapshot: KvSnapshot<DataFamily>,
  namespace: string,
  { source, seq }: Pick<LogRecord, 'source' | 'seq'>,
): Promise<LogRecord | undefined> {
  const row = await snapshot.get('log', logKey(namespace, source, seq));
  return row === undefined ? undefined : decodeRecord(row, engine.replica.sources);
}

/** What one operation wrote, on its own. */
function cellOf(engine: Engine, record: LogRecord, place: number): Cell {
  const operation = record.operations[place]!;
  const strategy = engine.replica.strategyOf(namespaceOf(operation.key));
  return new Cell(stateOf(record, place, isCausal(operation)), 0, strategy);
}

type Content = NonNullable<SupersededReport['lost']>;

function contentOf(key: string, cell: Cell): Content {
  const { value, value_base64, deleted } = winnerOf(key, cell);
  if (deleted) return { deleted };
  return value_base64 !== undefined ? { value_base64 } : { value };
}
