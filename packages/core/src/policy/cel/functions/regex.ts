import { RE2JS } from '@bufbuild/re2';
import { charge, type Meter } from '../meter.ts';
import { CelError } from '../values.ts';
import { patternSize } from './pattern-size.ts';

/** A pattern ready to match, and the size its cost is reckoned by. */
export interface Pattern {
  readonly regex: RE2JS;
  readonly size: number;
}

/** Longest pattern, and largest program: beyond them compiling takes seconds. */
const maxPatternLength = 1_024;
const maxPatternSize = 2_000;
const maxCached = 256;
/** Steps to compile a unit of size. */
const compileSteps = 10;

/** Compiled patterns, oldest first. A memo of a pure function: it changes how long a match takes, never what it gives. */
const compiled = new Map<string, Pattern | CelError>();

/** The pattern compiled with RE2 (linear time, no backtracking), or the error that says what is wrong with it. */
export function compilePattern(pattern: string): Pattern | CelError {
  const held = compiled.get(pattern);
  if (held !== undefined) return held;
  const made = compileNow(pattern);
  if (compiled.size >= maxCached) compiled.delete(compiled.keys().next().value!);
  compiled.set(pattern, made);
  return made;
}

function compileNow(pattern: string): Pattern | CelError {
  if (pattern.length > maxPatternLength) {
    return new CelError('invalid_argument', `a pattern has at most ${maxPatternLength} characters`);
  }
  const size = patternSize(pattern);
  if (size > maxPatternSize) {
    return new CelError('invalid_argument', 'the pattern repeats too much: lower the counts in `{...}`');
  }
  try {
    return { regex: RE2JS.compile(pattern), size };
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    return new CelError('invalid_argument', `\`${pattern.slice(0, 100)}\` is not a pattern: ${detail}`);
  }
}

/**
 * Whether `pattern`, known only now, matches anywhere in `text`. Charged for compiling whether or not it is held, so that
 * the count does not depend on what ran before.
 */
export function matches(text: unknown, pattern: unknown, meter: Meter): unknown {
  if (typeof text !== 'string' || typeof pattern !== 'string') return undefined;
  if (pattern.length > maxPatternLength) return compileNow(pattern) as CelError;
  const spent = charge(meter, compileSteps * Math.min(patternSize(pattern), maxPatternSize));
  if (spent !== null) return spent;
  const found = compilePattern(pattern);
  return found instanceof CelError ? found : matchCompiled(found, text, meter);
}

/** Whether a compiled pattern matches anywhere in `text`; charged by the product of their sizes, RE2's bound. */
export function matchCompiled({ regex, size }: Pattern, text: string, meter: Meter): boolean | CelError {
  return charge(meter, ((text.length + 16) * (size + 16)) >> 4) ?? regex.test(text);
}
