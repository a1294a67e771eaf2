import { IpeError } from '@ipe/core';
import { Packr } from 'msgpackr';
import { tooDeep } from './json.ts';

const packr = new Packr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number', encodeUndefinedAsNil: true });

/**
 * MessagePack from a client, as the JSON it stands for. The bytes are walked before they are decoded: only JSON's types
 * and byte strings pass, names are strings, and no length is larger than what follows, so that a few bytes cannot claim
 * gigabytes. A byte string is allowed as `value`, where it becomes `value_base64`.
 *
 * @throws IpeError `parse_error`, `too_large` (deeper than `maxDepth`), `invalid_request`.
 */
export function decodeMsgpack(bytes: Uint8Array, maxDepth: number): unknown {
  checkMsgpack(bytes, maxDepth);
  return bytesToBase64(packr.unpack(bytes));
}

/** Any JSON-able value as MessagePack. */
export function encodeMsgpack(value: unknown): Uint8Array {
  return packr.pack(value);
}

/** Walks one MessagePack value without building it. Iterative: nesting is counted, not recursed into. */
function checkMsgpack(bytes: Uint8Array, maxDepth: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const need = (count: number) => {
    if (at + count > bytes.length) throw new IpeError('parse_error', 'MessagePack ends in the middle of a value');
    const start = at;
    at += count;
    return start;
  };
  // One frame a container: how many values are left, and whether they alternate between names and values.
  const frames: { left: number; map: boolean }[] = [{ left: 1, map: false }];
  const open = (count: number, map: boolean) => {
    const values = map ? count * 2 : count;
    if (values > bytes.length - at) throw new IpeError('parse_error', 'MessagePack ends in the middle of a value');
    if (frames.length > maxDepth) throw tooDeep(maxDepth);
    frames.push({ left: values, map });
  };
  const sized = (length: number, isName: boolean) => checkText(bytes, need(length), length, isName);
  for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
    if (frame.left === 0) {
      frames.pop();
      continue;
    }
    const isName = frame.map && frame.left % 2 === 0;
    frame.left--;
    const tag = bytes[need(1)]!;
    const isText = (tag >= 0xa0 && tag <= 0xbf) || (tag >= 0xd9 && tag <= 0xdb);
    if (isName && !isText) throw new IpeError('invalid_request', 'names in MessagePack maps must be strings');
    if (tag <= 0x7f || tag >= 0xe0 || tag === 0xc0 || tag === 0xc2 || tag === 0xc3) continue;
    if (tag <= 0x8f) open(tag & 15, true);
    else if (tag <= 0x9f) open(tag & 15, false);
    else if (tag <= 0xbf) checkText(bytes, need(tag & 31), tag & 31, isName);
    else if (tag === 0xc4 || tag === 0xd9) sized(view.getUint8(need(1)), isName);
    else if (tag === 0xc5 || tag === 0xda) sized(view.getUint16(need(2)), isName);
    else if (tag === 0xc6 || tag === 0xdb) sized(view.getUint32(need(4)), isName);
    else if (tag === 0xca) finite(view.getFloat32(need(4)));
    else if (tag === 0xcb) finite(view.getFloat64(need(8)));
    else if (tag >= 0xcc && tag <= 0xcf) need(1 << (tag - 0xcc));
    else if (tag >= 0xd0 && tag <= 0xd3) need(1 << (tag - 0xd0));
    else if (tag === 0xdc) open(view.getUint16(need(2)), false);
    else if (tag === 0xdd) open(view.getUint32(need(4)), false);
    else if (tag === 0xde) open(view.getUint16(need(2)), true);
    else if (tag === 0xdf) open(view.getUint32(need(4)), true);
    else throw new IpeError('invalid_request', 'MessagePack extension types have no JSON form');
  }
  if (at !== bytes.length)
    throw new IpeError('parse_error', `${bytes.length - at} bytes after the end of the MessagePack value`);
}

function finite(value: number): void {
  if (!Number.isFinite(value)) throw new IpeError('invalid_request', 'NaN and infinities have no JSON form');
}

function checkText(bytes: Uint8Array, start: number, length: number, isName: boolean): void {
  if (!isName || length !== 9) return;
  if (Buffer.from(bytes.buffer, bytes.byteOffset + start, length).toString('latin1') === '__proto__')
    throw new IpeError('invalid_request', 'no member may be named `__proto__`');
}

function bytesToBase64(root: unknown): unknown {
  if (typeof root !== 'object' || root === null) return root;
  if (root instanceof Uint8Array) throw new IpeError('invalid_request', 'bytes are allowed as `value` only');
  const pending: object[] = [root];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    for (const [name, child] of Object.entries(at)) {
      if (child instanceof Uint8Array) {
        if (name !== 'value' || Array.isArray(at))
          throw new IpeError('invalid_request', 'bytes are allowed as `value` only');
        const holder = at as Record<string, unknown>;
        delete holder['value'];
        holder['value_base64'] = Buffer.from(child).toString('base64');
      } else if (typeof child === 'object' && child !== null) pending.push(child);
    }
  }
  return root;
}
