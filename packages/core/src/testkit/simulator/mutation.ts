import {
  decodeRecord,
  encodeRecord,
  expiryKey,
  type FeedStart,
  type LogRecord,
  liveDots,
  liveKey,
  type Operation,
  type Rng,
  type WriteRequest,
} from '../../replica/index.ts';
import type { Instance } from './instance.ts';
import type { Mutant } from './mutants.ts';
import { Random } from './random.ts';
import type { Gap } from './store-driver.ts';

type Row = readonly [key: Uint8Array, value: Uint8Array];

/** Where a bug can be put into a simulated instance. What each does without one stands in `faithful`. */
export interface Mutation {
  /** Batches are reported durable before they are written. */
  readonly isEager: boolean;
  /** The exchange is told nothing. */
  readonly isDeaf: boolean;
  readonly readsWhileLoading: boolean;
  /** Whether records are changed on their way: then only their effects can tell. */
  readonly tampers: boolean;
  /** A damaged fact is mended by whatever a peer has. */
  readonly isGullible: boolean;
  isStable(known: () => boolean): boolean;
  /** Rows of `metadata` as a start reads them. */
  metadata(rows: readonly Row[]): readonly Row[];
  /** What epochs are drawn from. */
  epochs(origin: string, rng: Rng): Rng;
  /** The wall clock as a start is told it. */
  startedMs(wallMs: number): number;
  /** Whether the instance goes on as if nothing were missing. */
  passesGap(instance: Instance, gap: Gap): boolean;
  /** Records of others as they are handed to the replica. */
  received(instance: Instance, records: readonly LogRecord[]): readonly LogRecord[];
  /** States are about to be joined into a namespace. */
  joining(instance: Instance, namespace: string): void;
  /** A record of the log as a peer is given it. */
  relayed(instance: Instance, row: Uint8Array): Uint8Array;
  /** A client's request as it is handed in. */
  parts(request: WriteRequest): readonly WriteRequest[];
  housekeep(instance: Instance): void;
  /** An evicted member comes back with its store as it was. */
  readonly keepsStore: boolean;
  /** Where a subscriber goes on that was away. @param head the newest commit */
  resumed(start: FeedStart, head: number): FeedStart;
}

const faithful: Mutation = {
  isEager: false,
  isDeaf: false,
  readsWhileLoading: false,
  tampers: false,
  isGullible: false,
  isStable: (known) => known(),
  metadata: (rows) => rows,
  epochs: (_, rng) => rng,
  startedMs: (wallMs) => wallMs,
  passesGap: () => false,
  received: (_, records) => records,
  joining: () => {},
  relayed: (_, row) => row,
  parts: (request) => [request],
  housekeep: () => {},
  keepsStore: false,
  resumed: (start) => start,
};

/** The bug of a name; none: what nodes do. */
export function mutationOf(mutant: Mutant | undefined): Mutation {
  return mutant === undefined ? faithful : { ...faithful, ...bugs[mutant]() };
}

const bugs: Readonly<Record<Mutant, () => Partial<Mutation>>> = {
  'acknowledged-before-durable': () => ({ isEager: true }),
  'vector-before-apply': () => ({
    received: (instance, records) => {
      for (const { namespace, source, seq } of records) instance.advanced(namespace, [{ source, seq }]);
      return records;
    },
  }),
  'gap-passed-over': () => ({
    passesGap: (instance, { namespace, source, before }) => {
      const heads = [{ source, seq: before - 1 }];
      instance.step({ type: 'advance', id: 0, namespace, heads, floor: 0 });
      instance.advanced(namespace, heads);
      return true;
    },
  }),
  // `v` begins the rows of the vector.
  'vector-lost-at-restart': () => ({ metadata: (rows) => rows.filter(([key]) => key[0] !== 0x76) }),
  'replace-instead-of-join': () => {
    const replaced = new Set<string>();
    return {
      joining: (instance, namespace) => {
        const name = `${instance.origin}/${namespace}`;
        if (replaced.has(name)) return;
        replaced.add(name);
        const rows = instance.disk.rows('live', liveKey(`${namespace}.`));
        instance.disk.write(rows.map(([key]) => ({ type: 'delete', family: 'live', key })));
        instance.disk.sync();
        instance.crash();
        instance.start();
      },
    };
  },
  'loser-relayed-empty': () => ({
    tampers: true,
    relayed: (instance, row) => {
      const record = decodeRecord(row, instance.replica.sources);
      const operations = record.operations.filter((operation, idx) => isSeen(instance, record, operation, idx));
      return encodeRecord({ ...record, operations });
    },
  }),
  'tombstones-by-wall-clock': () => ({ isStable: () => true }),
  'expired-dropped-locally': () => ({
    housekeep: ({ disk, replica, wallMs }) => {
      const due = expiryKey(replica.readMs(wallMs), '');
      for (const [key] of disk.rows('expiry')) {
        if (key.subarray(0, 6).some((byte, i) => byte > due[i]!)) continue;
        disk.write([{ type: 'delete', family: 'live', key: key.subarray(6) }]);
      }
      disk.sync();
    },
  }),
  'loading-reads-empty': () => ({ readsWhileLoading: true }),
  'no-anti-entropy': () => ({ isDeaf: true }),
  'future-clamped': () => ({
    tampers: true,
    received: ({ wallMs }, records) => records.map((record) => ({ ...record, ms: Math.min(record.ms, wallMs) })),
  }),
  'last-arrival-wins': () => ({
    tampers: true,
    received: (instance, records) =>
      records.map((record) => ({
        ...record,
        operations: record.operations.filter(({ key }) => {
          const cell = instance.read(key);
          const state = cell === undefined || cell === 'damaged' ? undefined : cell.state;
          return state?.kind !== 'version' || record.ms > state.ms;
        }),
      })),
  }),
  'dot-reused': () => ({ epochs: (origin) => new Random(Number.parseInt(origin, 16)).next }),
  'start-not-told': () => ({ startedMs: () => 0 }),
  'damage-mended-by-older': () => ({ isGullible: true }),
  'transaction-chunked': () => ({
    parts: (request) =>
      request.atomic ? request.writes.map((write) => ({ ...request, atomic: false, writes: [write] })) : [request],
  }),
  'evicted-returns-as-it-was': () => ({ keepsStore: true }),
  'resumed-from-now': () => ({ resumed: (_, head) => ({ after: head }) }),
};

/** Whether what an operation wrote is what readers see of its key now. */
function isSeen(instance: Instance, { source, seq }: LogRecord, operation: Operation, idx: number): boolean {
  const cell = instance.read(operation.key);
  if (cell === undefined || cell === 'damaged' || cell.state === undefined) return true;
  if (!liveDots(cell.state).some((dot) => dot.source === source && dot.seq === seq && dot.idx === idx)) return false;
  return cell.state.kind !== 'siblings' || cell.view?.json === (operation.op === 'put' ? operation.json : undefined);
}
