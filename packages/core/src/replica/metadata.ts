import type { Ahead } from './ahead.ts';
import { ByteReader, ByteWriter, malformed } from './codec.ts';
import type { Source, Sources } from './dot.ts';
import type { Hlc } from './hlc.ts';
import type { HeldRecord } from './quarantine.ts';

/**
 * Rows of the `metadata` family. The first byte of a key tells the kind:
 *
 * | key | value |
 * |---|---|
 * | `a`, namespace | what its states show beyond the vector: records by source, times by origin |
 * | `c` | last commit number, number up to which the log is trimmed, bytes of the log, what tells it from other logs |
 * | `h` | hybrid time, floor of the readers' clock |
 * | `n`, namespace | strategy, purge floor (version, milliseconds), entries, tombstones, bytes, commit at which states last came in |
 * | `o`, namespace, 0, source (14) | seq up to which records of a source of before are offered again |
 * | `p`, namespace, 0, source (14) | seq up to which the source was written for those offers |
 * | `q`, request key | answer remembered for a retry |
 * | `u`, namespace, 0, source (14), seq (6) | hybrid milliseconds, record that is held back until then |
 * | `v`, namespace, 0, source (14) | seq up to which every record of the source is applied |
 */
export const metadataKinds = {
  ahead: 0x61,
  commit: 0x63,
  clock: 0x68,
  namespace: 0x6e,
  offered: 0x6f,
  offeredAs: 0x70,
  request: 0x71,
  held: 0x75,
  vector: 0x76,
} as const;

export interface NamespaceRow {
  /** `strategyText` of what its states are. */
  readonly strategy: string;
  /** Highest version ever purged: an absent key's next version is above it. */
  readonly floor: number;
  /** Latest hybrid milliseconds of what was purged. */
  readonly purgedMs: number;
  readonly entries: number;
  readonly tombstones: number;
  /** Bytes of keys and values held live. */
  readonly bytes: number;
  /** Last commit when states last came in without records; 0: never. The log does not tell what they changed. */
  readonly joined: number;
}

/** An answer kept for ten minutes under its `request_id`. */
export interface RememberedAnswer {
  readonly fingerprint: string;
  readonly untilMs: number;
  readonly results: readonly RememberedResult[];
}

export interface RememberedResult {
  readonly key: string;
  readonly version: number;
  readonly etag: string;
  readonly updatedMs: number;
  readonly token: string;
  readonly valueJson?: string;
  readonly isCreated?: boolean;
}

export interface CommitRow {
  readonly last: number;
  /** Commits up to this one are no longer in the log. */
  readonly trimmed: number;
  /** Bytes of the records in the log. */
  readonly logBytes: number;
  /** Drawn for each new store: tells its commits from those of the same numbers in an earlier store of the instance. */
  readonly logId: number;
}

export interface ClockRow {
  readonly hlc: Hlc;
  readonly readFloorMs: number;
}

export const commitRowKey = Uint8Array.of(metadataKinds.commit);
export const clockRowKey = Uint8Array.of(metadataKinds.clock);

export function namespaceRowKey(namespace: string, out: ByteWriter): Uint8Array {
  return keyOf(metadataKinds.namespace, namespace, out);
}

export function aheadRowKey(namespace: string, out: ByteWriter): Uint8Array {
  return keyOf(metadataKinds.ahead, namespace, out);
}

export function requestRowKey(requestKey: string, out: ByteWriter): Uint8Array {
  return keyOf(metadataKinds.request, requestKey, out);
}

export function vectorRowKey(namespace: string, source: Source, out: ByteWriter): Uint8Array {
  return sourceKeyOf(metadataKinds.vector, namespace, source, out);
}

export function offeredRowKey(namespace: string, source: Source, out: ByteWriter): Uint8Array {
  return sourceKeyOf(metadataKinds.offered, namespace, source, out);
}

export function offeredAsRowKey(namespace: string, source: Source, out: ByteWriter): Uint8Array {
  return sourceKeyOf(metadataKinds.offeredAs, namespace, source, out);
}

export function heldRowKey(namespace: string, source: Source, seq: number): Uint8Array {
  const out = new ByteWriter(namespace.length + 24);
  out.u8(metadataKinds.held);
  out.utf8(namespace);
  out.u8(0);
  out.source(source);
  out.u48(seq);
  return out.take();
}

/** Row of a record that is held back. */
export function encodeHeld(ms: number, record: Uint8Array): Uint8Array {
  const out = new ByteWriter(record.length + 16);
  out.u48(ms);
  out.framed(record);
  return out.take();
}

/** The encoded record in such a row. @throws IpeError `corrupt` */
export function decodeHeld(row: Uint8Array, sources: Sources): Uint8Array {
  const input = new ByteReader(row, sources);
  input.u48();
  const record = input.framed();
  input.end();
  return record;
}

function sourceKeyOf(kind: number, namespace: string, source: Source, out: ByteWriter): Uint8Array {
  out.u8(kind);
  out.utf8(namespace);
  out.u8(0);
  out.source(source);
  return out.take();
}

function keyOf(kind: number, text: string, out: ByteWriter): Uint8Array {
  out.u8(kind);
  out.utf8(text);
  return out.take();
}

export function encodeCommitRow(row: CommitRow, out: ByteWriter): Uint8Array {
  out.uint(row.last);
  out.uint(row.trimmed);
  out.uint(row.logBytes);
  out.uint(row.logId);
  return out.take();
}

export function encodeClockRow({ hlc, readFloorMs }: ClockRow, out: ByteWriter): Uint8Array {
  out.u48(hlc.ms);
  out.u16(hlc.count);
  out.u48(readFloorMs);
  return out.take();
}

export function encodeNamespaceRow(row: NamespaceRow, out: ByteWriter): Uint8Array {
  out.text(row.strategy);
  for (const value of [row.floor, row.purgedMs, row.entries, row.tombstones, row.bytes, row.joined]) out.uint(value);
  return out.take();
}

export function encodeAhead({ heads, joinedMs }: Ahead, out: ByteWriter): Uint8Array {
  out.uint(heads.size);
  for (const [source, seq] of heads) {
    out.source(source);
    out.uint(seq);
  }
  out.uint(joinedMs.size);
  for (const [origin, ms] of joinedMs) {
    out.text(origin);
    out.uint(ms);
  }
  return out.take();
}

export function encodeHead(seq: number, out: ByteWriter): Uint8Array {
  out.uint(seq);
  return out.take();
}

export function encodeAnswer(answer: RememberedAnswer, out: ByteWriter): Uint8Array {
  out.text(answer.fingerprint);
  out.u48(answer.untilMs);
  out.text(JSON.stringify(answer.results));
  return out.take();
}

/** One row of `metadata`, decoded. */
export type MetadataRow =
  | { readonly kind: 'commit'; readonly row: CommitRow }
  | { readonly kind: 'clock'; readonly row: ClockRow }
  | { readonly kind: 'namespace'; readonly namespace: string; readonly row: NamespaceRow }
  | { readonly kind: 'ahead'; readonly namespace: string; readonly row: Ahead }
  | { readonly kind: 'request'; readonly requestKey: string; readonly row: RememberedAnswer }
  | { readonly kind: 'held'; readonly record: HeldRecord }
  | {
      readonly kind: 'offered' | 'offered-as' | 'vector';
      readonly namespace: string;
      readonly source: Source;
      readonly seq: number;
    };

/** @throws IpeError `corrupt` */
export function decodeMetadata(key: Uint8Array, value: Uint8Array, sources: Sources): MetadataRow {
  const name = new ByteReader(key, sources);
  const input = new ByteReader(value, sources);
  const row = readRow(name, input);
  input.end();
  return row;
}

function readRow(name: ByteReader, input: ByteReader): MetadataRow {
  switch (name.u8()) {
    case metadataKinds.commit:
      return {
        kind: 'commit',
        row: { last: input.uint(), trimmed: input.uint(), logBytes: input.uint(), logId: input.uint() },
      };
    case metadataKinds.clock: {
      const hlc = { ms: input.u48(), count: input.u16() };
      return { kind: 'clock', row: { hlc, readFloorMs: input.u48() } };
    }
    case metadataKinds.namespace: {
      const namespace = name.utf8(name.remaining);
      const row = {
        strategy: input.text(),
        floor: input.uint(),
        purgedMs: input.uint(),
        entries: input.uint(),
        tombstones: input.uint(),
        bytes: input.uint(),
        joined: input.uint(),
      };
      return { kind: 'namespace', namespace, row };
    }
    case metadataKinds.ahead:
      return { kind: 'ahead', namespace: name.utf8(name.remaining), row: readAhead(input) };
    case metadataKinds.request: {
      const requestKey = name.utf8(name.remaining);
      const row = {
        fingerprint: input.text(),
        untilMs: input.u48(),
        results: JSON.parse(input.text()) as RememberedResult[],
      };
      return { kind: 'request', requestKey, row };
    }
    case metadataKinds.held: {
      const namespace = name.utf8(name.remaining - 21);
      name.u8();
      const record = { namespace, source: name.source(), seq: name.u48(), ms: input.u48() };
      input.framed();
      return { kind: 'held', record };
    }
    case metadataKinds.offered:
      return { kind: 'offered', ...readHead(name, input) };
    case metadataKinds.offeredAs:
      return { kind: 'offered-as', ...readHead(name, input) };
    case metadataKinds.vector:
      return { kind: 'vector', ...readHead(name, input) };
    default:
      throw malformed('an unknown metadata row');
  }
}

function readAhead(input: ByteReader): Ahead {
  const heads = new Map<Source, number>();
  for (let left = input.count(); left > 0; left--) heads.set(input.source(), input.uint());
  const joinedMs = new Map<string, number>();
  for (let left = input.count(); left > 0; left--) joinedMs.set(input.text(), input.uint());
  return { heads, joinedMs };
}

function readHead(name: ByteReader, input: ByteReader) {
  const namespace = name.utf8(name.remaining - 15);
  name.u8();
  return { namespace, source: name.source(), seq: input.uint() };
}
