/**
 * Which bytes of a family's keys are text to be hidden, and which are numbers that stay clear because they carry order:
 * `clear bytes, text, suffix`. Text is segments joined by `.`; a suffix, where there is one, starts with a zero byte
 * that no text holds.
 */
export interface KeyLayout {
  /** Leading bytes that stay clear; Infinity when the whole key does. */
  readonly clearBytes: number;
  /** Whether the text may be followed by a zero byte and a clear suffix, for keys beginning with these clear bytes. */
  readonly hasSuffix: (key: Uint8Array) => boolean;
}

const dot = 0x2e;

/** Splits a whole key. */
export function splitKey(layout: KeyLayout, key: Uint8Array): KeyParts {
  const clearEnd = Math.min(layout.clearBytes, key.length);
  const zero = layout.hasSuffix(key) ? key.indexOf(0, clearEnd) : -1;
  const textEnd = zero < 0 ? key.length : zero;
  return {
    clear: key.subarray(0, clearEnd),
    segments: clearEnd === textEnd ? [] : splitText(key.subarray(clearEnd, textEnd)),
    suffix: key.subarray(textEnd),
  };
}

export interface KeyParts {
  readonly clear: Uint8Array;
  readonly segments: readonly Uint8Array[];
  /** With its zero byte; empty when there is none. */
  readonly suffix: Uint8Array;
}

/** What is known of all keys that begin with `prefix`. */
export interface PrefixParts extends KeyParts {
  /** Whether the text is whole: what follows in such keys is suffix. Their order is then that of the stored keys. */
  readonly textComplete: boolean;
}

/** Splits the beginning of keys; segments not known to be whole are left out. */
export function splitPrefix(layout: KeyLayout, prefix: Uint8Array): PrefixParts {
  const clearEnd = Math.min(layout.clearBytes, prefix.length);
  const clear = prefix.subarray(0, clearEnd);
  if (layout.clearBytes === Number.POSITIVE_INFINITY)
    return { clear, segments: [], suffix: prefix.subarray(clearEnd), textComplete: true };
  const zero = layout.hasSuffix(prefix) ? prefix.indexOf(0, clearEnd) : -1;
  if (zero >= 0) {
    const segments = zero === clearEnd ? [] : splitText(prefix.subarray(clearEnd, zero));
    return { clear, segments, suffix: prefix.subarray(zero), textComplete: true };
  }
  const segments = splitText(prefix.subarray(clearEnd)).slice(0, -1);
  return { clear, segments, suffix: prefix.subarray(0, 0), textComplete: false };
}

function splitText(text: Uint8Array): Uint8Array[] {
  const segments: Uint8Array[] = [];
  let start = 0;
  for (let at = text.indexOf(dot); at >= 0; at = text.indexOf(dot, start)) {
    segments.push(text.subarray(start, at));
    start = at + 1;
  }
  segments.push(text.subarray(start));
  return segments;
}
