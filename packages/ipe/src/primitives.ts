import { createHash } from 'node:crypto';
import type { Primitives } from '@ipe/core/bytes';

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Hashing and text encoding of Node, handed to everything in core. */
export const primitives: Primitives = {
  sha256: (data) => createHash('sha256').update(data).digest(),
  utf8Encode: (text) => encoder.encode(text),
  utf8Decode: (bytes) => decoder.decode(bytes),
};
