import { IpeError } from '@ipe/core';
import type { TransferObject } from '@ipe/core/tree';

/** Names of what peers ask and tell each other about policies. */
export const names = {
  head: 'policy.head',
  moved: 'policy.moved',
  plan: 'policy.plan',
  ids: 'policy.ids',
  objects: 'policy.objects',
  done: 'policy.done',
  write: 'policy.write',
} as const;

/** Most ids in one request for objects, and bytes of objects that answer it before the rest must be asked for again. */
export const pieceIdsMax = 1024;
export const pieceBytesMax = 4 * 1024 * 1024;

const types = ['blob', 'tree', 'commit'] as const;
const headerBytes = 5;

/** One object on the wire: `u8 type | u32 length | body`. */
export function encodeObject({ type, body }: TransferObject): Buffer {
  const header = Buffer.alloc(headerBytes);
  header[0] = types.indexOf(type as (typeof types)[number]);
  header.writeUInt32BE(body.length, 1);
  return Buffer.concat([header, body]);
}

/** @throws IpeError `corrupt` for anything but whole objects */
export function decodeObjects(bytes: Buffer): TransferObject[] {
  const objects: TransferObject[] = [];
  for (let at = 0; at < bytes.length; ) {
    const type = types[bytes[at]!];
    const end = at + headerBytes > bytes.length ? Infinity : at + headerBytes + bytes.readUInt32BE(at + 1);
    if (type === undefined || end > bytes.length) throw new IpeError('corrupt', 'a peer sent half an object');
    objects.push({ type, body: bytes.subarray(at + headerBytes, end) });
    at = end;
  }
  return objects;
}

export function encodeIds(ids: Iterable<string>): Buffer {
  return Buffer.from([...ids].join(''), 'hex');
}

/** @throws IpeError `corrupt` for bytes that are not whole ids */
export function decodeIds(bytes: Uint8Array): string[] {
  if (bytes.length % 32 !== 0) throw new IpeError('corrupt', 'a peer sent half an object id');
  const hex = Buffer.from(bytes).toString('hex');
  return Array.from({ length: bytes.length / 32 }, (_, i) => hex.slice(i * 64, i * 64 + 64));
}

export function encodeJson(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

/** @throws IpeError `parse_error` */
export function decodeJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    throw new IpeError('parse_error', 'a peer sent something that is not JSON');
  }
}
