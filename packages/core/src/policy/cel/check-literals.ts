import type { Node } from './ast.ts';
import { parseDuration, parseTimestamp } from './calendar.ts';
import { compilePattern } from './functions/regex.ts';
import { nearest } from './names.ts';
import { isTimeZone, timeZoneNames } from './time-zones.ts';
import { CelError } from './values.ts';

/** A literal argument that can never work. */
export interface LiteralProblem {
  readonly node: Node;
  readonly message: string;
}

/** Finds patterns, timestamps, durations and time zones that are written out and wrong, before they fail at run time. */
export function checkLiteralArguments(fn: string, operands: readonly Node[]): readonly LiteralProblem[] {
  const [first, second] = operands;
  if (fn === 'matches') return problem(second, patternProblem);
  if (fn === 'timestamp') return problem(first, timestampProblem);
  if (fn === 'duration') return problem(first, durationProblem);
  return /^get[A-Z]/.test(fn) ? problem(second, zoneProblem) : [];
}

function problem(node: Node | undefined, find: (text: string) => string | null): readonly LiteralProblem[] {
  if (node?.kind !== 'literal' || typeof node.value !== 'string') return [];
  const message = find(node.value);
  return message === null ? [] : [{ node, message }];
}

function patternProblem(text: string): string | null {
  const compiled = compilePattern(text);
  return compiled instanceof CelError ? compiled.message : null;
}

function timestampProblem(text: string): string | null {
  return parseTimestamp(text) === null ? `\`${text}\` is not a timestamp; write it as \`2026-01-31T12:00:00Z\`` : null;
}

function durationProblem(text: string): string | null {
  return parseDuration(text) === null ? `\`${text}\` is not a duration; write it as \`1h30m\` or \`1.5s\`` : null;
}

function zoneProblem(text: string): string | null {
  if (isTimeZone(text)) return null;
  const near = nearest(text, timeZoneNames());
  return `unknown time zone \`${text}\`${near === null ? '' : `; did you mean \`${near}\`?`}`;
}
