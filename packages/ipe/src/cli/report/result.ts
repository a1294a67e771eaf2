import type { FileProblem, TestOutcome } from '../../policies/types.ts';

/** What checking or testing a folder of policies found; every format prints this. */
export interface CheckResult {
  readonly policies: number;
  readonly problems: readonly FileProblem[];
  readonly tests: readonly TestOutcome[];
  readonly durationMs: number;
}

/** Whether nothing stands in the way of applying what was checked. */
export function isClean(result: CheckResult): boolean {
  return result.problems.every(({ severity }) => severity !== 'error') && result.tests.every(({ passed }) => passed);
}

export const formats = ['text', 'json', 'junit', 'sarif'] as const;
export type Format = (typeof formats)[number];
