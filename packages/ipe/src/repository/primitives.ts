import { hash } from 'node:crypto';
import { promisify } from 'node:util';
import { deflate, deflateSync, inflateSync } from 'node:zlib';
import type { Primitives } from '@ipe/core/bytes';
import type { Codec } from '@ipe/core/tree';

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Hashing and text encoding for the core, from Node's own modules. */
export const nodePrimitives: Primitives = {
  sha256: (data) => hash('sha256', data, 'buffer'),
  utf8Encode: (text) => encoder.encode(text),
  utf8Decode: (bytes) => decoder.decode(bytes),
};

/** zlib's own, which it takes for each call whatever the input; a cached file would hold on to all of it. */
const outputBytesMax = 16_384;

/**
 * Compression of stored objects. A small window and little memory to work in and for the output: objects are a few
 * kilobytes, and setting up zlib's default buffers would cost more than compressing them.
 */
export const zlibCodec: Codec = {
  deflate: (bytes) => deflateSync(bytes, { windowBits: 13, memLevel: 5, chunkSize: outputBytes(bytes.length) }),
  deflateAside: promisify<Uint8Array, Uint8Array>(deflate),
  inflate: (bytes, maxBytes) =>
    inflateSync(bytes, { maxOutputLength: maxBytes, chunkSize: outputBytes(4 * bytes.length) }),
};

const outputBytes = (expected: number) => Math.min(Math.max(expected, 256), outputBytesMax);
