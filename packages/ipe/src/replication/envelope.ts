import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { IpeError } from '@ipe/core';
import { recordBytesMax } from '@ipe/core/replica';
import { type SigningKey, verifySignature } from '../cluster/identity.ts';
import type { SealingKey } from '../cluster/key-ring.ts';

/** Records of one origin in one namespace, as they go over a message plane. */
export interface Batch {
  readonly namespace: string;
  readonly origin: string;
  /** Encoded records, in order. */
  readonly records: readonly Uint8Array[];
}

export interface EnvelopeOptions {
  readonly signing: SigningKey;
  /** Seals what is published; absent: batches are signed but readable by the broker. */
  readonly sealing?: SealingKey;
  /** Smallest payload that is worth compressing. */
  readonly compressFromBytes?: number;
}

const version = 1;
const flags = { deflated: 1, sealed: 2 } as const;
const signatureBytes = 64;
const compressFromBytesDefault = 512;
/** A batch unpacks to at most one record over the limit, or many that together stay below it. */
const unpackedBytesMax = 2 * recordBytesMax;
const domain = Buffer.from('ipe-batch-v1\0');

/**
 * Packs a batch: `u8 version | u8 flags | u32 key number | head | payload | signature`. The origin signs all of it, so
 * that it can be relayed whole by brokers and members that are not trusted with its content (DESIGN §4).
 */
export function packBatch(batch: Batch, options: EnvelopeOptions): Uint8Array {
  const head = packHead(batch);
  let payload = packRecords(batch.records);
  let bits = 0;
  if (payload.length >= (options.compressFromBytes ?? compressFromBytesDefault)) {
    const deflated = deflateRawSync(payload, { level: 1 });
    if (deflated.length < payload.length) {
      payload = deflated;
      bits |= flags.deflated;
    }
  }
  const { sealing } = options;
  if (sealing) bits |= flags.sealed;
  const front = Buffer.alloc(6);
  front.writeUInt8(version, 0);
  front.writeUInt8(bits, 1);
  front.writeUInt32BE(sealing?.number ?? 0, 2);
  if (sealing) payload = seal(sealing.key, Buffer.concat([front, head]), payload);
  const signed = Buffer.concat([front, head, payload]);
  const signature = Buffer.from(options.signing.sign(Buffer.concat([domain, signed])), 'base64url');
  return Buffer.concat([signed, signature]);
}

/**
 * Who a batch says it is from, for looking up the key to check it with: nothing of it is to be believed before
 * `openBatch` has checked the signature.
 * @throws IpeError `invalid_request` for bytes that are not a batch
 */
export function claimOf(bytes: Uint8Array): { readonly namespace: string; readonly origin: string } {
  const { namespace, origin } = readHead(bufferOf(bytes));
  return { namespace, origin };
}

/**
 * Checks and unpacks a batch.
 * @param signingKey the origin's, from its member record
 * @param sealingKeyOf the key of a number, for sealed batches
 * @returns only the number of the key where a batch of the origin is sealed with one that is not known here
 * @throws IpeError `unauthenticated` for a forged or altered batch; `invalid_request` for what does not decode
 */
export function openBatch(
  bytes: Uint8Array,
  signingKey: string,
  sealingKeyOf: (number: number) => Uint8Array | undefined,
): Batch | { readonly unknownKey: number } {
  const buffer = bufferOf(bytes);
  const { namespace, origin, bits, keyNumber, length } = readHead(buffer);
  const signed = buffer.subarray(0, buffer.length - signatureBytes);
  const signature = buffer.subarray(buffer.length - signatureBytes).toString('base64url');
  if (!verifySignature(signingKey, Buffer.concat([domain, signed]), signature)) {
    throw new IpeError('unauthenticated', `a batch that claims origin \`${origin}\` is not signed by it`, {
      details: { origin, namespace },
    });
  }
  let payload: Buffer = signed.subarray(length);
  if (bits & flags.sealed) {
    const key = sealingKeyOf(keyNumber);
    if (!key) return { unknownKey: keyNumber };
    payload = unseal(key, buffer.subarray(0, length), payload);
  }
  if (bits & flags.deflated) payload = inflate(payload);
  return { namespace, origin, records: unpackRecords(payload) };
}

function packHead({ namespace, origin }: Batch): Buffer {
  const name = Buffer.from(namespace);
  return Buffer.concat([Buffer.from([name.length]), name, Buffer.from(origin, 'hex')]);
}

function readHead(buffer: Buffer) {
  try {
    if (buffer.readUInt8(0) !== version) throw new Error(`version ${buffer.readUInt8(0)}`);
    const bits = buffer.readUInt8(1);
    if (bits & ~(flags.deflated | flags.sealed)) throw new Error('unknown flags');
    const nameLength = buffer.readUInt8(6);
    const length = 7 + nameLength + 8;
    if (length + signatureBytes > buffer.length) throw new Error('it ends early');
    return {
      bits,
      keyNumber: buffer.readUInt32BE(2),
      namespace: buffer.toString('utf8', 7, 7 + nameLength),
      origin: buffer.toString('hex', 7 + nameLength, length),
      length,
    };
  } catch (cause) {
    throw new IpeError('invalid_request', `not a batch of records: ${(cause as Error).message}`, { cause });
  }
}

function packRecords(records: readonly Uint8Array[]): Buffer {
  const parts: Uint8Array[] = [];
  for (const record of records) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(record.length, 0);
    parts.push(length, record);
  }
  return Buffer.concat(parts);
}

function unpackRecords(payload: Buffer): Uint8Array[] {
  const records: Uint8Array[] = [];
  for (let at = 0; at < payload.length; ) {
    const length = at + 4 <= payload.length ? payload.readUInt32BE(at) : Number.POSITIVE_INFINITY;
    if (at + 4 + length > payload.length) throw new IpeError('invalid_request', 'a batch ends inside a record');
    records.push(payload.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return records;
}

function inflate(payload: Buffer): Buffer {
  try {
    return inflateRawSync(payload, { maxOutputLength: unpackedBytesMax });
  } catch (cause) {
    throw new IpeError('invalid_request', 'the payload of a batch does not unpack', { cause });
  }
}

function seal(key: Uint8Array, head: Buffer, payload: Buffer): Buffer {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(head);
  return Buffer.concat([nonce, cipher.update(payload), cipher.final(), cipher.getAuthTag()]);
}

function unseal(key: Uint8Array, head: Buffer, sealed: Buffer): Buffer {
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12)).setAAD(head);
    decipher.setAuthTag(sealed.subarray(-16));
    return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]);
  } catch (cause) {
    throw new IpeError('unauthenticated', 'a batch cannot be unsealed with the key that it names', { cause });
  }
}

const bufferOf = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
