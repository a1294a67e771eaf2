import { type ErrorDetails, IpeError } from '@ipe/core';
import type { CompiledPolicy, FileProblem, TestOutcome } from './types.ts';

/** Most problems, and most failed tests, that one error carries; the totals say how many there are. */
const shownMax = 1000;

/** A problem as clients get it. */
export function problemJson(problem: FileProblem): ErrorDetails {
  const { endColumn, ...rest } = problem;
  return { ...rest, ...(endColumn !== undefined && { end_column: endColumn }) };
}

/** The errors of a set, and the tests that failed: what keeps it from being stored. */
export function faultsOf(
  compiled: readonly CompiledPolicy[],
  found: readonly FileProblem[] = [],
): { readonly problems: readonly FileProblem[]; readonly failedTests: readonly TestOutcome[] } {
  const problems = [...found, ...compiled.flatMap((policy) => policy.problems)].filter(
    ({ severity }) => severity === 'error',
  );
  return { problems, failedTests: compiled.flatMap((policy) => policy.tests.filter((test) => !test.passed)) };
}

/** Warnings of a set. */
export function warningsOf(compiled: readonly CompiledPolicy[]): readonly FileProblem[] {
  return compiled.flatMap((policy) => policy.problems.filter(({ severity }) => severity === 'warning'));
}

/**
 * Refuses a set with errors or failed tests, naming all of them at once.
 * @throws IpeError `policy_invalid` with `problems`, `failed_tests` and their totals.
 */
export function refuseFaulty(compiled: readonly CompiledPolicy[], found: readonly FileProblem[] = []): void {
  const { problems, failedTests } = faultsOf(compiled, found);
  if (problems.length === 0 && failedTests.length === 0) return;
  throw new IpeError('policy_invalid', summary(problems, failedTests), {
    details: {
      problems: problems.slice(0, shownMax).map(problemJson),
      problems_total: problems.length,
      failed_tests: failedTests.slice(0, shownMax).map(testJson),
      failed_tests_total: failedTests.length,
      // The first one again, where a client looks for a single place.
      ...firstPlace(problems[0]),
    },
  });
}

/** A test's outcome as clients get it. */
export function testJson(test: TestOutcome): ErrorDetails {
  return { ...test };
}

function firstPlace(problem: FileProblem | undefined): ErrorDetails {
  if (problem === undefined) return {};
  const { file, path, line, column, expression } = problem;
  return {
    file,
    ...(path !== undefined && { path }),
    ...(line !== undefined && { line }),
    ...(column !== undefined && { column }),
    ...(expression !== undefined && { expression }),
  };
}

function summary(problems: readonly FileProblem[], failedTests: readonly TestOutcome[]): string {
  const parts: string[] = [];
  const first = problems[0];
  if (first !== undefined) {
    const place = first.line === undefined ? first.file : `${first.file}:${first.line}:${first.column ?? 1}`;
    const more = problems.length === 1 ? '' : ` (and ${count(problems.length - 1, 'more problem')})`;
    parts.push(`${place}: ${first.message}${more}`);
  }
  const failed = failedTests[0];
  if (failed !== undefined) {
    const names = failedTests.slice(0, 3).map((test) => `\`${test.name}\` of \`${test.path}\``);
    const more = failedTests.length > 3 ? ` and ${failedTests.length - 3} more` : '';
    const why = failedTests.length === 1 && failed.message !== undefined ? `: ${failed.message}` : '';
    parts.push(`${count(failedTests.length, 'test')} failed: ${names.join(', ')}${more}${why}`);
  }
  return parts.join('; ');
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}
