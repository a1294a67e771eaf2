import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';
import { IpeError } from '@ipe/core';
import type { Keyring } from './keyring.ts';
import type { KeyLayout, KeyParts } from './layout.ts';
import { splitKey } from './layout.ts';

const format = 1;
const headBytes = 1 + 4 + 12;
const tagBytes = 16;
const nameBytes = 16;
/** Names of parents that are remembered, and as many of last segments; above it the memory starts over. */
const namesMax = 10_000;

/** Turns rows into stored rows and back. */
export class RowSealer {
  readonly #ring: Keyring;
  readonly #parents = new Map<string, Uint8Array>();
  /** Apart, so that they push no parent out: a write names its key for a read, the row and its history in turn. */
  readonly #leaves = new Map<string, Uint8Array>();
  #nonces = Buffer.alloc(0);

  constructor(ring: Keyring) {
    this.#ring = ring;
  }

  /** The stored form of a whole key. */
  sealKey(layout: KeyLayout, key: Uint8Array): Uint8Array {
    return this.sealParts(splitKey(layout, key));
  }

  /** The stored form of a key's parts, or of the beginning of keys. */
  sealParts({ clear, segments, suffix }: KeyParts): Uint8Array {
    const stored = new Uint8Array(clear.length + segments.length * nameBytes + suffix.length);
    stored.set(clear);
    let at = clear.length;
    let parent: Uint8Array = new Uint8Array(0);
    for (const [i, segment] of segments.entries()) {
      parent = this.#name(parent, segment, i < segments.length - 1 ? this.#parents : this.#leaves);
      stored.set(parent, at);
      at += nameBytes;
    }
    stored.set(suffix, at);
    return stored;
  }

  /** The stored value of a row, by the current data key. */
  seal(family: string, storedKey: Uint8Array, key: Uint8Array, value: Uint8Array): Uint8Array {
    const { id, key: dataKey } = this.#ring.current;
    const stored = Buffer.allocUnsafe(headBytes + 4 + key.length + value.length + tagBytes);
    stored[0] = format;
    stored.writeUInt32BE(id, 1);
    this.#nonce().copy(stored, 5);
    const plain = Buffer.allocUnsafe(4 + key.length + value.length);
    plain.writeUInt32BE(key.length, 0);
    plain.set(key, 4);
    plain.set(value, 4 + key.length);
    const cipher = createCipheriv('aes-256-gcm', dataKey, stored.subarray(5, headBytes));
    cipher.setAAD(bound(family, storedKey));
    stored.set(cipher.update(plain), headBytes);
    cipher.final();
    stored.set(cipher.getAuthTag(), stored.length - tagBytes);
    return stored;
  }

  /** The row behind a stored one. @throws IpeError `corrupt` when it does not open, whatever the reason. */
  open(family: string, storedKey: Uint8Array, stored: Uint8Array): { key: Uint8Array; value: Uint8Array } {
    const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.length);
    const dataKey = this.#ring.find(keyIdOf(stored) ?? 0)?.key;
    if (dataKey === undefined || bytes.length < headBytes + 4 + tagBytes) throw doesNotOpen(family, storedKey);
    const decipher = createDecipheriv('aes-256-gcm', dataKey, bytes.subarray(5, headBytes));
    decipher.setAAD(bound(family, storedKey)).setAuthTag(bytes.subarray(-tagBytes));
    let plain: Buffer;
    try {
      plain = decipher.update(bytes.subarray(headBytes, -tagBytes));
      decipher.final();
    } catch (error) {
      throw doesNotOpen(family, storedKey, error);
    }
    const keyEnd = 4 + plain.readUInt32BE(0);
    return { key: new Uint8Array(plain.subarray(4, keyEnd)), value: new Uint8Array(plain.subarray(keyEnd)) };
  }

  #name(parent: Uint8Array, segment: Uint8Array, names: Map<string, Uint8Array>): Uint8Array {
    const input = Buffer.concat([Uint8Array.of(parent.length), parent, segment]);
    const cacheKey = input.toString('latin1');
    const known = names.get(cacheKey);
    if (known !== undefined) return known;
    const name = createHmac('sha256', this.#ring.names).update(input).digest().subarray(0, nameBytes);
    name[0]! |= 0x80;
    if (names.size >= namesMax) names.clear();
    names.set(cacheKey, name);
    return name;
  }

  /** Random nonces, drawn many at a time: a call for twelve bytes costs as much as one for four thousand. */
  #nonce(): Buffer {
    if (this.#nonces.length < 12) this.#nonces = randomBytes(12 * 256);
    const nonce = this.#nonces.subarray(0, 12);
    this.#nonces = this.#nonces.subarray(12);
    return nonce;
  }
}

/** The id of the data key that a stored value was sealed with; undefined when it is no sealed value. */
export function keyIdOf(stored: Uint8Array): number | undefined {
  if (stored.length < headBytes || stored[0] !== format) return undefined;
  return ((stored[1]! << 24) | (stored[2]! << 16) | (stored[3]! << 8) | stored[4]!) >>> 0;
}

/** A row's place, authenticated with it: a row moved elsewhere does not open. */
function bound(family: string, storedKey: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${family}\0`), storedKey]);
}

function doesNotOpen(family: string, storedKey: Uint8Array, cause?: unknown): IpeError {
  const row = Buffer.from(storedKey).toString('hex');
  return new IpeError('corrupt', `a sealed row of \`${family}\` does not open: it was damaged or changed`, {
    details: { family, row },
    cause,
  });
}
