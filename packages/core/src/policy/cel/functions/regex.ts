import { RE2JS } from '@bufbuild/re2';
import { charge, type Meter } from '../meter.ts';
import { CelError } from '../values.ts';

/** Longest pattern; compiled programs grow with it. */
const maxPatternLength = 1_024;
const maxCached = 256;

/** Compiled patterns, oldest first. A memo of a pure function: it changes how long a match takes, never what it gives. */
const compiled = new Map<string, RE2JS | CelError>();

/** The pattern compiled with RE2 (linear time, no backtracking), or the error that says what is wrong with it. */
export function compilePattern(pattern: string): RE2JS | CelError {
  const held = compiled.get(pattern);
  if (held !== undefined) return held;
  const made = compileNow(pattern);
  if (compiled.size >= maxCached) {
    const [oldest] = compiled.keys();
    compiled.delete(oldest!);
  }
  compiled.set(pattern, made);
  return made;
}

function compileNow(pattern: string): RE2JS | CelError {
  if (pattern.length > maxPatternLength) {
    return new CelError('invalid_argument', `a pattern has at most ${maxPatternLength} characters`);
  }
  try {
    return RE2JS.compile(pattern);
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    return new CelError('invalid_argument', `\`${pattern.slice(0, 100)}\` is not a pattern: ${detail}`);
  }
}

/** Whether `pattern` matches anywhere in `text`. */
export function matches(text: unknown, pattern: unknown, meter: Meter): unknown {
  if (typeof text !== 'string' || typeof pattern !== 'string') return undefined;
  const regex = compilePattern(pattern);
  return regex instanceof CelError ? regex : matchCompiled(regex, text, meter);
}

/** Whether a compiled pattern matches anywhere in `text`; charged by the product of their sizes, RE2's bound. */
export function matchCompiled(regex: RE2JS, text: string, meter: Meter): boolean | CelError {
  return charge(meter, ((text.length + 16) * (regex.pattern().length + 16)) >> 6) ?? regex.test(text);
}
