import { IpeError } from '@ipe/core';
import type { PlaneMessage } from '@ipe/core/plane';

/** `u8 version | u8 relay | u8 n | namespace | u8 n | origin | u16 n | id | body`, texts in UTF-8. */
export function encodeGossip(message: PlaneMessage, relay: boolean): Uint8Array {
  const namespace = Buffer.from(message.namespace);
  const origin = Buffer.from(message.origin);
  const id = Buffer.from(message.id);
  const head = Buffer.alloc(6 + namespace.length + origin.length + id.length);
  let at = head.writeUInt8(version, 0);
  at = head.writeUInt8(relay ? 1 : 0, at);
  at = head.writeUInt8(namespace.length, at);
  at += namespace.copy(head, at);
  at = head.writeUInt8(origin.length, at);
  at += origin.copy(head, at);
  at = head.writeUInt16BE(id.length, at);
  id.copy(head, at);
  return Buffer.concat([head, message.body]);
}

/** @throws IpeError `invalid_request` for what another version or nobody's gossip encoded. */
export function decodeGossip(bytes: Uint8Array): { message: PlaneMessage; relay: boolean } {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  try {
    if (buffer.readUInt8(0) !== version) throw new Error(`version ${buffer.readUInt8(0)}`);
    let at = 2;
    const text = (length: number) => {
      if (at + length > buffer.length) throw new Error('it ends early');
      at += length;
      return buffer.toString('utf8', at - length, at);
    };
    const namespace = text(buffer.readUInt8(at++));
    const origin = text(buffer.readUInt8(at++));
    at += 2;
    const id = text(buffer.readUInt16BE(at - 2));
    return { message: { namespace, origin, id, body: buffer.subarray(at) }, relay: buffer.readUInt8(1) === 1 };
  } catch (cause) {
    throw new IpeError('invalid_request', `a gossip message cannot be read: ${(cause as Error).message}`, { cause });
  }
}

const version = 1;
