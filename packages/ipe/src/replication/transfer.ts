import { IpeError } from '@ipe/core';
import type { LogSlice, SnapshotPage, SnapshotRow, Sources } from '@ipe/core/replica';

/** Name of the request for records of the log. */
export const logRequestName = 'facts.log';

/** Asks for records `after < seq <= upTo` of a source. */
export function encodeLogRequest(namespace: string, sourceId: string, after: number, upTo: number): Uint8Array {
  return Buffer.from(JSON.stringify({ namespace, source: sourceId, after, upTo }));
}

/** `u8 trimmed | u48 upTo | (u32 length | record)*`. */
export function encodeSlice({ records, upTo, isTrimmed }: LogSlice): Uint8Array {
  const front = Buffer.alloc(7);
  front.writeUInt8(isTrimmed ? 1 : 0, 0);
  front.writeUIntBE(upTo, 1, 6);
  return Buffer.concat([front, ...records.flatMap(framed)]);
}

/** @throws IpeError `invalid_request` */
export function decodeSlice(bytes: Uint8Array): LogSlice {
  const buffer = bufferOf(bytes);
  return reading(() => ({
    isTrimmed: buffer.readUInt8(0) === 1,
    upTo: buffer.readUIntBE(1, 6),
    records: frames(buffer, 7),
  }));
}

interface PageHeadJson {
  readonly heads: Readonly<Record<string, number>>;
  readonly floor: number;
  readonly last: boolean;
  /** How many held-back records come before the rows, and where more follow. */
  readonly held: number;
  readonly heldUpTo?: string | undefined;
  readonly next?: string | undefined;
}

/** `u32 length | JSON head | (u32 length | held-back record)* | (u32 length | key | u32 length | row)*`. */
export function encodePage({ heads, floor, rows, isLast, held, heldUpTo, next }: SnapshotPage): Uint8Array {
  const seqs = Object.fromEntries(heads.map(({ source, seq }) => [source.id, seq]));
  const head: PageHeadJson = { heads: seqs, floor, last: isLast, held: held.length, heldUpTo, next };
  return Buffer.concat([
    ...framed(Buffer.from(JSON.stringify(head))),
    ...held.flatMap(framed),
    ...rows.flatMap(({ key, row }) => [...framed(Buffer.from(key)), ...framed(row)]),
  ]);
}

/** @throws IpeError `invalid_request` */
export function decodePage(bytes: Uint8Array, sources: Sources): SnapshotPage {
  return reading(() => {
    const [front, ...parts] = frames(bufferOf(bytes), 0);
    const { heads, floor, last, held, heldUpTo, next } = JSON.parse(
      Buffer.from(front!).toString('utf8'),
    ) as PageHeadJson;
    if (!isCount(floor) || !isCount(held) || typeof last !== 'boolean' || !isPlace(heldUpTo) || !isPlace(next))
      throw new TypeError('its head is none');
    const positions = Object.entries(heads).map(([id, seq]) => {
      const source = sources.parse(id);
      if (source === undefined || !isCount(seq)) throw new TypeError(`head \`${id}\` is none`);
      return { source, seq };
    });
    const rows: SnapshotRow[] = [];
    for (let i = held; i + 1 < parts.length; i += 2) {
      rows.push({ key: Buffer.from(parts[i]!).toString('utf8'), row: parts[i + 1]! });
    }
    return {
      heads: positions,
      floor,
      isLast: last,
      rows,
      held: parts.slice(0, held),
      heldUpTo,
      ...(next !== undefined && { next }),
    };
  });
}

const isPlace = (value: unknown) => value === undefined || typeof value === 'string';
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function framed(bytes: Uint8Array): Uint8Array[] {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length, 0);
  return [length, bytes];
}

function frames(buffer: Buffer, from: number): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let at = from; at < buffer.length; ) {
    const length = buffer.readUInt32BE(at);
    if (at + 4 + length > buffer.length) throw new RangeError('it ends early');
    parts.push(buffer.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return parts;
}

function reading<Result>(read: () => Result): Result {
  try {
    return read();
  } catch (cause) {
    throw new IpeError('invalid_request', `what a peer sent cannot be read: ${(cause as Error).message}`, { cause });
  }
}

const bufferOf = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
