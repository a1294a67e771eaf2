import type { Primitives } from '@ipe/core/bytes';
import { sha256 } from '@noble/hashes/sha2.js';

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

/** What core needs of its runtime, in a browser. WebCrypto will not do: it hashes asynchronously, core does not. */
export const primitives: Primitives = {
  sha256,
  utf8Encode: (text) => encoder.encode(text),
  utf8Decode: (bytes) => decoder.decode(bytes),
};
