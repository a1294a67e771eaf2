import type { KvOperation } from '../store/kv.ts';
import { type Cell, encodeCell } from './cell.ts';
import type { ByteWriter } from './codec.ts';
import { encodeCommit } from './commit-row.ts';
import type { Source } from './dot.ts';
import type { Change, Commit, ReplicaEffect } from './events.ts';
import type { Hlc } from './hlc.ts';
import { dueMs } from './housekeeping.ts';
import { commitKey, type DataFamily, expiryKey, liveKey, logKey, versionsKey } from './layout.ts';
import {
  aheadRowKey,
  clockRowKey,
  commitRowKey,
  encodeAhead,
  encodeAnswer,
  encodeClockRow,
  encodeCommitRow,
  encodeHead,
  encodeHeld,
  encodeNamespaceRow,
  heldRowKey,
  namespaceRowKey,
  offeredAsRowKey,
  offeredRowKey,
  type RememberedAnswer,
  requestRowKey,
  vectorRowKey,
} from './metadata.ts';
import { type Namespace, type NamespaceStats, Tally } from './namespaces.ts';
import type { MadeOffer } from './offer.ts';
import type { LogRecord, Operation } from './record.ts';
import { encodeRecord } from './record-codec.ts';
import { commitTag, formatToken } from './token.ts';
import type { WriteOutcome } from './write.ts';

/** A record that is being filled, or was taken in from a peer, and what its operations do here. */
export class BatchRecord implements LogRecord {
  readonly namespace: string;
  readonly source: Source;
  readonly seq: number;
  readonly ms: number;
  readonly count: number;
  readonly operations: Operation[] = [];
  readonly changes: Change[] = [];
  sizeBytes = 0;
  /** Number under which this instance applies it, and the log that it counts in; known once its batch is sealed. */
  commit = 0;
  logId = 0;
  #token: string | undefined;

  constructor(namespace: string, source: Source, seq: number, hlc: Hlc) {
    this.namespace = namespace;
    this.source = source;
    this.seq = seq;
    this.ms = hlc.ms;
    this.count = hlc.count;
  }

  /** The token that all its writes answer with. Its batch must be sealed. */
  token(instance: string): string {
    if (this.#token === undefined) {
      const { namespace, source, seq, commit, logId } = this;
      const tag = commitTag(this, logId);
      this.#token = formatToken({ namespace, source, seq, instance, commit, tag, isPartial: false });
    }
    return this.#token;
  }
}

/** Upper bound of an operation's encoding, cheap to compute. */
export function operationBytes(operation: Operation): number {
  let bytes = 48 + operation.key.length * 3;
  if (operation.op === 'put')
    bytes += operation.json !== undefined ? operation.json.length * 3 : (operation.bytes?.length ?? 0);
  if ('context' in operation) bytes += (operation.context?.length ?? 0) * 32;
  if (operation.op === 'members')
    for (const { member, context } of operation.changes) bytes += member.length * 3 + 8 + context.length * 32;
  return bytes;
}

/** What commits together: one atomic write to the store. */
export class Batch {
  readonly number: number;
  /** When its first write was admitted. */
  openedMs: number | undefined;
  hasAlarm = false;
  /** Sealed records, in the order they are to be applied. */
  readonly records: BatchRecord[] = [];
  /** Records of this instance that still take operations, by namespace. */
  readonly open = new Map<string, BatchRecord>();
  /** What each touched key was before the batch and is after it. */
  readonly cells = new Map<string, { readonly namespace: Namespace; readonly before: Cell; after: Cell }>();
  /** Cells that were replaced, for history. */
  readonly replaced: {
    readonly namespace: Namespace;
    readonly key: string;
    readonly cell: Cell;
    readonly atMs: number;
  }[] = [];
  /** Requests to answer once the batch is durable. */
  readonly waiting: { readonly id: number; readonly outcome: WriteOutcome }[] = [];
  /** What else is told once the batch is durable. */
  readonly telling: ReplicaEffect[] = [];
  readonly answers = new Map<string, () => RememberedAnswer>();
  readonly forgottenAnswers: string[] = [];
  /** Heads that move without a record: what came in as states. */
  readonly advanced = new Map<Namespace, Map<Source, number>>();
  /** Sources that are folded into another's entry with this batch. */
  readonly folded: { readonly namespace: Namespace; readonly source: Source }[] = [];
  /** Namespaces in which keys change without a record: states came in. */
  readonly joined = new Set<Namespace>();
  /** Namespaces of which states came in that show something beyond the vector. */
  readonly ahead = new Set<Namespace>();
  /** Records that are held back from this batch on, and those that are no longer. */
  readonly held: LogRecord[] = [];
  readonly released: LogRecord[] = [];
  /** Records of this instance's earlier sources that are offered again with this batch. */
  readonly offered: MadeOffer[] = [];
  /** Rows that leave the log with the batch, and how far it is trimmed then. */
  readonly trimmedRows: KvOperation<DataFamily>[] = [];
  trimmedCommit: number | undefined;
  trimmedBytes = 0;
  /** Namespaces touched, with their statistics once the batch is committed. */
  readonly namespaces = new Map<Namespace, NamespaceStats>();
  operationCount = 0;
  sizeBytes = 0;
  lastCommit = 0;
  /** Bytes of the log once the batch is committed. */
  logBytes = 0;
  /** Set to commit although nothing was written: the clock's floor is to be stored. */
  mustCommit = false;

  constructor(number: number) {
    this.number = number;
  }

  get isEmpty(): boolean {
    return this.operationCount === 0 && this.forgottenAnswers.length === 0 && !this.mustCommit;
  }

  /** Closes the record that is open in a namespace: nothing more is added to it. */
  sealRecord(namespace: string): void {
    const record = this.open.get(namespace);
    if (record === undefined) return;
    this.open.delete(namespace);
    if (record.operations.length > 0) this.records.push(record);
  }

  commits(): Commit[] {
    return this.records.map((record) => ({ number: record.commit, record, changes: record.changes }));
  }
}

/** What the rows of a batch depend on besides the batch. */
export interface SealContext {
  /** Number of the last commit before this batch. */
  readonly lastCommit: number;
  readonly trimmedCommit: number;
  readonly logBytes: number;
  readonly logId: number;
  readonly hlc: Hlc;
  readonly readFloorMs: number;
  readonly graceMs: number;
  readonly historyOf: (namespace: string) => number;
  readonly namespaceOf: (name: string) => Namespace;
  /** Where the rows are laid out. */
  readonly out: ByteWriter;
}

/** Seals the batch's records, numbers its commits, and lays out its rows. */
export function sealBatch(batch: Batch, context: SealContext): KvOperation<DataFamily>[] {
  for (const namespace of [...batch.open.keys()]) batch.sealRecord(namespace);
  const { out, logId } = context;
  const operations: KvOperation<DataFamily>[] = [];
  const put = (family: DataFamily, key: Uint8Array, value: Uint8Array) =>
    operations.push({ type: 'put', family, key, value });
  const remove = (family: DataFamily, key: Uint8Array) => operations.push({ type: 'delete', family, key });

  for (const { namespace, key, cell, atMs } of batch.replaced) {
    const places = context.historyOf(namespace.name) - 1;
    if (places < 1) continue;
    const row = versionsKey(key, cell.revision % places, out);
    out.u48(atMs);
    put('versions', row, encodeCell(cell, out));
  }
  const tallies = new Map<Namespace, Tally>();
  for (const [key, { namespace, before, after }] of batch.cells) {
    if (before === after) continue;
    if (after.state === undefined) remove('live', liveKey(key, out));
    else put('live', liveKey(key, out), encodeCell(after, out));
    const dueBefore = dueMs(before, context.graceMs);
    const dueAfter = dueMs(after, context.graceMs);
    if (dueBefore !== dueAfter) {
      if (dueBefore !== 0) remove('expiry', expiryKey(dueBefore, key, out));
      if (dueAfter !== 0) put('expiry', expiryKey(dueAfter, key, out), empty);
    }
    let tally = tallies.get(namespace);
    if (tally === undefined) tallies.set(namespace, (tally = new Tally(namespace.sealed)));
    tally.change(key, before, after);
  }
  for (const [namespace, tally] of tallies) {
    namespace.sealed = tally;
    batch.namespaces.set(namespace, tally);
  }
  const heads = new Map<Namespace, Map<Source, number>>();
  let commit = context.lastCommit;
  let logBytes = context.logBytes - batch.trimmedBytes;
  for (const operation of batch.trimmedRows) operations.push(operation);
  for (const record of batch.records) {
    record.commit = ++commit;
    record.logId = logId;
    const bytes = encodeRecord(record, out);
    logBytes += bytes.length;
    put('log', logKey(record.namespace, record.source, record.seq, out), bytes);
    put('commits', commitKey(commit, out), encodeCommit(record, record.changes, out));
    const namespace = context.namespaceOf(record.namespace);
    let seqs = heads.get(namespace);
    if (seqs === undefined) heads.set(namespace, (seqs = new Map()));
    seqs.set(record.source, record.seq);
    batch.namespaces.set(namespace, namespace.sealed);
  }
  for (const [namespace, seqs] of batch.advanced) {
    const known = heads.get(namespace) ?? new Map<Source, number>();
    for (const [source, seq] of seqs) known.set(source, Math.max(seq, known.get(source) ?? 0));
    heads.set(namespace, known);
    batch.namespaces.set(namespace, namespace.sealed);
  }
  batch.lastCommit = commit;
  for (const namespace of batch.joined) {
    // Without a record beside them, the last commit was there before the states were.
    namespace.joined = batch.records.length > 0 ? commit : commit + 1;
    batch.namespaces.set(namespace, namespace.sealed);
  }
  for (const [namespace, seqs] of heads)
    for (const [source, seq] of seqs) put('metadata', vectorRowKey(namespace.name, source, out), encodeHead(seq, out));
  // Whatever moved the vector may have caught up with the states.
  for (const namespace of new Set([...batch.ahead, ...heads.keys()])) {
    const { name, ahead, admitted } = namespace;
    if (ahead.isEmpty) continue;
    if (ahead.isWithin(admitted)) remove('metadata', aheadRowKey(name, out));
    else if (batch.ahead.has(namespace)) put('metadata', aheadRowKey(name, out), encodeAhead(ahead, out));
  }
  for (const { namespace, source } of batch.folded) remove('metadata', vectorRowKey(namespace.name, source, out));
  for (const namespace of batch.namespaces.keys())
    put('metadata', namespaceRowKey(namespace.name, out), encodeNamespaceRow(namespace.row(), out));
  for (const record of batch.held) {
    const { namespace, source, seq, ms } = record;
    put('metadata', heldRowKey(namespace, source, seq), encodeHeld(ms, encodeRecord(record)));
  }
  for (const { namespace, source, seq } of batch.released) remove('metadata', heldRowKey(namespace, source, seq));
  for (const { record, as } of batch.offered) {
    put('metadata', offeredRowKey(record.namespace, record.source, out), encodeHead(record.seq, out));
    if (as !== undefined) put('metadata', offeredAsRowKey(as.namespace, as.source, out), encodeHead(as.seq, out));
  }
  for (const requestKey of batch.forgottenAnswers) remove('metadata', requestRowKey(requestKey, out));
  for (const [requestKey, answer] of batch.answers)
    put('metadata', requestRowKey(requestKey, out), encodeAnswer(answer(), out));
  batch.logBytes = Math.max(logBytes, 0);
  const trimmed = batch.trimmedCommit ?? context.trimmedCommit;
  put('metadata', commitRowKey, encodeCommitRow({ last: commit, trimmed, logBytes: batch.logBytes, logId }, out));
  put('metadata', clockRowKey, encodeClockRow({ hlc: context.hlc, readFloorMs: context.readFloorMs }, out));
  return operations;
}

const empty = new Uint8Array();
