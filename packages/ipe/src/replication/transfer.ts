import { IpeError } from '@ipe/core';
import type { LogSlice } from './log-reader.ts';

/** States of a namespace, a page of them, as another member joins them in. */
export interface SnapshotPage {
  /** What the states of this page and all later ones hold at least, and the highest version purged. */
  readonly head: { readonly heads: Readonly<Record<string, number>>; readonly floor: number } | undefined;
  /** Rows of `live`, in order of their keys. */
  readonly rows: readonly { readonly key: string; readonly row: Uint8Array }[];
  readonly isLast: boolean;
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

/** `u32 length | JSON head | (u32 length | key | u32 length | row)*`. */
export function encodePage({ head, rows, isLast }: SnapshotPage): Uint8Array {
  const front = Buffer.from(JSON.stringify({ head, isLast }));
  return Buffer.concat([
    ...framed(front),
    ...rows.flatMap(({ key, row }) => [...framed(Buffer.from(key)), ...framed(row)]),
  ]);
}

/** @throws IpeError `invalid_request` */
export function decodePage(bytes: Uint8Array): SnapshotPage {
  return reading(() => {
    const [front, ...parts] = frames(bufferOf(bytes), 0);
    const { head, isLast } = JSON.parse(Buffer.from(front!).toString('utf8')) as Pick<SnapshotPage, 'head' | 'isLast'>;
    const rows = [];
    for (let i = 0; i + 1 < parts.length; i += 2) {
      rows.push({ key: Buffer.from(parts[i]!).toString('utf8'), row: parts[i + 1]! });
    }
    return { head, isLast, rows };
  });
}

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
