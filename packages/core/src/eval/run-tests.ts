import type { Decision, Observer, PolicyTest, TestDocument } from '../policy/index.ts';
import { decideOnce, type Finding, type Outcome, type PolicyAt, type PolicyFault } from './decide.ts';
import { factsFromMap } from './facts.ts';

export interface RunTestsOptions {
  /** The policy that the tests stand beside: asked by tests that name no path. */
  readonly path: string;
  /** Policies at or below a path, in path order; undefined where nothing is there. */
  readonly policiesAt: (path: string) => readonly PolicyAt[] | undefined;
  /** Is told what each evaluation visits, for coverage; the policies must be planned for it. */
  readonly observer?: Observer;
}

/** What became of one test. */
export interface TestResult {
  readonly name: string;
  /** Line of the test in its file, from 1. */
  readonly line: number;
  /** The policy or directory that was asked. */
  readonly path: string;
  readonly passed: boolean;
  /** One line for each thing that differs from what was expected; empty for a test that passed. */
  readonly differences: readonly string[];
  /** What came; absent where nothing is at the path. */
  readonly got?: {
    readonly decision: Decision;
    readonly reasons: readonly Finding[];
    readonly warnings: readonly Finding[];
    readonly errors: readonly PolicyFault[];
  };
}

/**
 * Runs every test of a document against facts of its own. Never throws, reads no clock; results come in the document's order.
 */
export function runTests(document: TestDocument, options: RunTestsOptions): readonly TestResult[] {
  return document.tests.map((test) => runTest(test, options));
}

function runTest(test: PolicyTest, { path: ownPath, policiesAt, observer }: RunTestsOptions): TestResult {
  const path = test.path ?? ownPath;
  const policies = policiesAt(path);
  const result = { name: test.name, line: test.line, path };
  if (policies === undefined)
    return { ...result, passed: false, differences: [`no policy or directory at \`${path}\``] };
  const outcome = decideOnce(
    {
      policies,
      request: test.request,
      facts: factsFromMap(test.data, test.stalenessMs),
      now: test.now,
      ...(observer === undefined ? {} : { observer }),
    },
    1,
  ) as Outcome; // facts from a map are never cold
  const differences = compare(test, outcome);
  const { decision, reasons, warnings, errors } = outcome;
  return { ...result, passed: differences.length === 0, differences, got: { decision, reasons, warnings, errors } };
}

function compare({ expect }: PolicyTest, outcome: Outcome): readonly string[] {
  const differences: string[] = [];
  if (outcome.decision !== expect.decision) {
    const why = outcome.reasons.map((finding) => `${finding.reason} (${finding.message})`).join(', ');
    differences.push(`expected ${expect.decision}, got ${outcome.decision}${why === '' ? '' : `: ${why}`}`);
  }
  differences.push(...compareReasons('reasons', expect.reasons, outcome.reasons));
  differences.push(...compareReasons('warnings', expect.warnings, outcome.warnings));
  if (differences.length > 0)
    for (const fault of outcome.errors)
      differences.push(`error in ${fault.path}, ${fault.expression}: ${fault.message}`);
  return differences;
}

/** Reasons are compared as sets: how many validations give one does not matter. */
function compareReasons(
  what: string,
  expected: readonly string[] | undefined,
  got: readonly Finding[],
): readonly string[] {
  if (expected === undefined) return [];
  const found = new Set(got.map((finding) => finding.reason));
  const missing = [...new Set(expected)].filter((reason) => !found.has(reason));
  const extra = [...found].filter((reason) => !expected.includes(reason));
  return [
    ...(missing.length === 0 ? [] : [`${what} expected and not given: ${missing.join(', ')}`]),
    ...(extra.length === 0 ? [] : [`${what} given and not expected: ${extra.join(', ')}`]),
  ];
}
