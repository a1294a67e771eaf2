import { createHash } from 'node:crypto';
import { inflateSync } from 'node:zlib';
import { IpeError } from '@ipe/core';
import { toHex } from '@ipe/core/bytes';
import { applyDelta, objectId, packTypes } from '@ipe/core/git';
import type { TransferObject } from '@ipe/core/tree';
import { nodePrimitives } from './primitives.ts';

/** Largest object taken out of a pack. */
const maxObjectBytes = 64 * 1024 * 1024;

interface Resolved extends TransferObject {
  readonly id: string;
}

/**
 * Objects of a pack, deltas applied, in the pack's order but for deltas against objects that come later.
 * @param find  object outside the pack, for deltas whose base is not in it (a thin pack)
 * @throws IpeError `corrupt` for a pack that is cut short, altered, or holds what IPE does not keep (tags)
 */
export async function* readPack(
  pack: Uint8Array,
  find: (id: string) => Promise<TransferObject | undefined> = async () => undefined,
): AsyncGenerator<Resolved> {
  const end = pack.length - 32;
  const view = new DataView(pack.buffer, pack.byteOffset, pack.length);
  if (end < 12 || view.getUint32(0) !== 0x5041434b || view.getUint32(4) !== 2) throw damaged('it has no pack header');
  const checksum = createHash('sha256').update(pack.subarray(0, end)).digest();
  if (!checksum.equals(pack.subarray(end))) throw damaged('its checksum is wrong: it was altered or cut short');
  const byOffset = new Map<number, Resolved>();
  const byId = new Map<string, Resolved>();
  const waiting: { offset: number; base: string; delta: Uint8Array }[] = [];
  const keep = (offset: number, object: TransferObject): Resolved => {
    const { type, body } = object;
    const resolved = { type, body, id: objectId(nodePrimitives, type, body) };
    byOffset.set(offset, resolved);
    byId.set(resolved.id, resolved);
    return resolved;
  };
  let at = 12;
  for (let left = view.getUint32(8); left > 0; left--) {
    const entry = readEntry(pack, at, end);
    const offset = at;
    at = entry.end;
    if (entry.kind === 'whole') {
      yield keep(offset, { type: entry.type, body: entry.data });
      continue;
    }
    const base = typeof entry.base === 'number' ? byOffset.get(entry.base) : byId.get(entry.base);
    if (base !== undefined) yield keep(offset, { type: base.type, body: patch(base.body, entry.data) });
    else if (typeof entry.base === 'string') waiting.push({ offset, base: entry.base, delta: entry.data });
    else throw damaged('a delta names a base that is not before it');
  }
  if (at !== end) throw damaged('bytes follow its last entry');
  while (waiting.length > 0) {
    const before = waiting.length;
    for (const each of waiting.splice(0)) {
      const base = byId.get(each.base) ?? (await find(each.base));
      if (base === undefined) waiting.push(each);
      else yield keep(each.offset, { type: base.type, body: patch(base.body, each.delta) });
    }
    if (waiting.length === before) throw damaged(`the base \`${waiting[0]!.base}\` of a delta is missing`);
  }
}

type Entry = { readonly end: number; readonly data: Uint8Array } & (
  | { readonly kind: 'whole'; readonly type: TransferObject['type'] }
  | { readonly kind: 'delta'; readonly base: number | string }
);

const wholeTypes: Readonly<Record<number, TransferObject['type']>> = {
  [packTypes.commit]: 'commit',
  [packTypes.tree]: 'tree',
  [packTypes.blob]: 'blob',
};

function readEntry(pack: Uint8Array, start: number, end: number): Entry {
  let at = start;
  const byte = (): number => {
    if (at >= end) throw damaged('it ends within an entry');
    return pack[at++]!;
  };
  const first = byte();
  const type = (first >> 4) & 7;
  let size = first & 15;
  for (let more = (first & 0x80) !== 0, scale = 16; more; scale *= 128) {
    const next = byte();
    size += (next & 0x7f) * scale;
    more = (next & 0x80) !== 0;
    if (size > maxObjectBytes) throw damaged('it holds an object that is too large');
  }
  let base: number | string | undefined;
  if (type === packTypes.offsetDelta) {
    let next = byte();
    let distance = next & 0x7f;
    while ((next & 0x80) !== 0) {
      next = byte();
      distance = (distance + 1) * 128 + (next & 0x7f);
    }
    base = start - distance;
  } else if (type === packTypes.refDelta) {
    if (at + 32 > end) throw damaged('it ends within an entry');
    base = toHex(pack.subarray(at, (at += 32)));
  } else if (wholeTypes[type] === undefined)
    throw damaged(`it holds an object of type ${type}, which IPE does not keep`);
  const { data, used } = inflate(pack.subarray(at, end), size);
  if (data.length !== size) throw damaged('an entry has another size than it says');
  const rest = { end: at + used, data };
  return base === undefined ? { ...rest, kind: 'whole', type: wholeTypes[type]! } : { ...rest, kind: 'delta', base };
}

/** Inflates the zlib stream that `bytes` begin with, and says how long it was. */
function inflate(bytes: Uint8Array, size: number): { data: Uint8Array; used: number } {
  try {
    const options = { info: true, maxOutputLength: size + 1 } as const;
    const { buffer, engine } = inflateSync(bytes, options) as unknown as {
      buffer: Uint8Array;
      engine: { bytesWritten: number };
    };
    return { data: buffer, used: engine.bytesWritten };
  } catch (cause) {
    throw damaged('an entry does not inflate', cause);
  }
}

function patch(base: Uint8Array, delta: Uint8Array): Uint8Array {
  try {
    return applyDelta(base, delta);
  } catch (cause) {
    throw damaged('a delta does not apply', cause);
  }
}

function damaged(why: string, cause?: unknown): IpeError {
  return new IpeError('corrupt', `the pack is damaged: ${why}`, cause === undefined ? {} : { cause });
}
