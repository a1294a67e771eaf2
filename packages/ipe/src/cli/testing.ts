import { type RunTestsOptions, runTests } from '@ipe/core/eval';
import { parseTestDocument } from '@ipe/core/policy';
import type { FileProblem, TestOutcome } from '../policies/types.ts';
import { fileProblem, type LocalPolicies } from './offline.ts';

/** What running the tests of a folder gave. */
export interface TestRun {
  readonly tests: readonly TestOutcome[];
  /** Problems of the test documents themselves. */
  readonly problems: readonly FileProblem[];
}

/**
 * Runs the tests beside the given policies. A test may ask any policy or directory of the folder.
 *
 * @param wanted which tests, by policy path and name; default all
 */
export function runPolicyTests(
  local: LocalPolicies,
  options: {
    readonly wanted?: (path: string, name: string) => boolean;
    readonly observer?: RunTestsOptions['observer'];
  } = {},
): TestRun {
  const tests: TestOutcome[] = [];
  const problems: FileProblem[] = [];
  const wanted = options.wanted ?? (() => true);
  for (const { path, test, testFile } of local.policies) {
    if (test === undefined || testFile === undefined) continue;
    const { document, problems: found } = parseTestDocument(test);
    problems.push(...found.map((problem) => fileProblem(problem, testFile, path)));
    if (document === undefined) continue;
    const chosen = { ...document, tests: document.tests.filter(({ name }) => wanted(path, name)) };
    const results = runTests(chosen, {
      path,
      policiesAt: (asked) => local.below(asked),
      ...(options.observer === undefined ? {} : { observer: options.observer }),
    });
    for (const { name, line, passed, differences } of results)
      tests.push({ path, file: testFile, name, line, passed, ...(passed ? {} : { message: differences.join('; ') }) });
  }
  return { tests, problems };
}
