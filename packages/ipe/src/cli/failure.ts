import { type IpeClientError, isIpeClientError } from '@ipe/client';
import { type IpeError, isIpeError } from '@ipe/core';
import type { Cli } from './cli.ts';

/** A mistake in how a command was called: exit code 2. */
export class UsageError extends Error {}

/**
 * Reports what ended a command: one line that says what is wrong, then what the error knows beside it.
 * @returns the exit code
 */
export function report(cli: Cli, error: unknown, json: boolean): number {
  const code = error instanceof UsageError ? 2 : 1;
  if (json) {
    cli.io.stderr.write(`${JSON.stringify({ error: describe(error) })}\n`);
    return code;
  }
  const color = cli.out.errorColor;
  const [first = '', ...rest] = messageOf(error).split('\n');
  cli.out.note([`${color.red('error:')} ${first}`, ...rest].join('\n'));
  for (const line of hints(error)) cli.out.note(`  ${line}`);
  if (!isKnown(error) && !(error instanceof UsageError) && cli.io.environment['IPE_DEBUG'] !== undefined)
    cli.out.note(String((error as Error).stack));
  return code;
}

function describe(error: unknown): Record<string, unknown> {
  if (!isKnown(error)) return { reason: error instanceof UsageError ? 'usage' : 'internal', message: messageOf(error) };
  return { ...error.details, reason: error.reason, state: error.state, message: error.message };
}

function isKnown(error: unknown): error is IpeError | IpeClientError {
  return isIpeError(error) || isIpeClientError(error);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Lines that help: problems, the nearest name, what is stored now, whether anything happened. */
function hints(error: unknown): string[] {
  if (!isKnown(error)) return [];
  const lines: string[] = [];
  const { nearest, problems, current, failed_tests: failedTests } = error.details;
  if (typeof nearest === 'string' && !error.message.includes(nearest)) lines.push(`did you mean \`${nearest}\`?`);
  if (Array.isArray(problems)) lines.push(...problems.flatMap((problem) => renderProblem(problem)));
  if (Array.isArray(failedTests)) lines.push(...failedTests.map(renderFailedTest));
  if (current !== undefined) lines.push(`stored now: ${JSON.stringify(current)}`);
  if (error.reason === 'unauthenticated')
    lines.push("give a token in IPE_TOKEN, or point --dir at the node's directory");
  if (error.reason === 'connection' && error.state === 'unchanged') lines.push('start one with: ipe serve');
  if (error.state === 'applied') lines.push('what was asked has been done nevertheless');
  if (error.state === 'unknown' && error.reason !== 'internal')
    lines.push('it is not known whether anything was done; read before trying again');
  return lines;
}

/** A problem of a file: place, message, the expression with the fault underlined, the hint. */
export function renderProblem(problem: unknown): string[] {
  if (typeof problem !== 'object' || problem === null) return [String(problem)];
  const { file, path, line, column, severity, message, expression, underline, hint } = problem as Record<
    string,
    unknown
  >;
  const place = [file ?? path, line, column].filter((part) => part !== undefined).join(':');
  const lines = [`${place === '' ? '' : `${place}: `}${severity ?? 'error'}: ${message}`];
  if (typeof expression === 'string') lines.push(`    ${expression}`);
  if (typeof underline === 'string') lines.push(`    ${underline}`);
  if (typeof hint === 'string' && !String(message).includes(hint)) lines.push(`    = ${hint}`);
  return lines;
}

function renderFailedTest(test: unknown): string {
  const { file, line, name, message } = test as Record<string, unknown>;
  return `${file}${line === undefined ? '' : `:${line}`}: test \`${name}\` failed${message === undefined ? '' : `: ${message}`}`;
}
