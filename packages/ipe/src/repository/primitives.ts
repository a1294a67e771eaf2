import { hash } from 'node:crypto';
import { deflateSync, inflateSync } from 'node:zlib';
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

/**
 * Compression of stored objects. A small window and little working memory: objects are a few kilobytes, and setting up
 * zlib's default buffers would cost more than compressing them.
 */
export const zlibCodec: Codec = {
  deflate: (bytes) => deflateSync(bytes, { windowBits: 13, memLevel: 5 }),
  inflate: (bytes, maxBytes) => inflateSync(bytes, { maxOutputLength: maxBytes }),
};
