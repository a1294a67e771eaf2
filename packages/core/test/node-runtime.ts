import { createHash } from 'node:crypto';
import { deflateSync, inflateSync } from 'node:zlib';
import type { Primitives } from '../src/bytes/index.ts';
import type { Codec } from '../src/tree/index.ts';

/** What Node lends to tests of the core, which imports nothing of Node itself. */
export const primitives: Primitives = {
  sha256: (data) => new Uint8Array(createHash('sha256').update(data).digest()),
  utf8Encode: (text) => new TextEncoder().encode(text),
  utf8Decode: (bytes) => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes),
};

export const codec: Codec = {
  deflate: (bytes) => new Uint8Array(deflateSync(bytes)),
  inflate: (bytes, maxBytes) => new Uint8Array(inflateSync(bytes, { maxOutputLength: maxBytes })),
};
