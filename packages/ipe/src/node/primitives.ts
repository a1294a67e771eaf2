import { createHash } from 'node:crypto';
import { deflateSync, inflateSync } from 'node:zlib';
import type { Primitives } from '@ipe/core/bytes';
import type { Codec } from '@ipe/core/tree';

const encoder = new TextEncoder();
// A byte order mark is a character like any other: taking it away would change what ids are computed over.
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** What core needs of its runtime, from Node: SHA-256 and strict UTF-8. */
export const nodePrimitives: Primitives = {
  sha256: (data) => new Uint8Array(createHash('sha256').update(data).digest()),
  utf8Encode: (text) => encoder.encode(text),
  utf8Decode: (bytes) => decoder.decode(bytes),
};

/** zlib as Git's loose objects have it. Level 1: policies are small, and a better level costs more than it saves. */
export const nodeCodec: Codec = {
  deflate: (bytes) => new Uint8Array(deflateSync(bytes, { level: 1 })),
  inflate: (bytes, maxBytes) => new Uint8Array(inflateSync(bytes, { maxOutputLength: Math.max(1, maxBytes) })),
};
