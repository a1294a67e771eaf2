import { type PolicyAt, runTests } from '@ipe/core/eval';
import { compilePolicy, hasErrors, type Problem, parseTestDocument, planPolicy } from '@ipe/core/policy';
import { nodePrimitives as primitives } from '../repository/primitives.ts';
import type { CompiledPolicy, FileProblem, PolicyText, TestOutcome } from './types.ts';

/**
 * Compiles one policy and runs its tests. A test may ask the policy itself or a directory above it, which here holds
 * this policy alone: a policy is stored or refused by what it says itself, whatever stands beside it.
 */
export function compileText(text: PolicyText): CompiledPolicy {
  const { path, source, test } = text;
  const sourceFile = text.sourceFile ?? `${path}.policy.yaml`;
  const testFile = text.testFile ?? `${path}.test.yaml`;
  const place =
    (file: string) =>
    (problem: Problem): FileProblem => ({ file, path, ...problem });
  const result = compilePolicy(source, { primitives });
  const problems: FileProblem[] = (result.ok ? result.compiled.warnings : result.problems).map(place(sourceFile));
  const tested = test === undefined ? undefined : parseTestDocument(test);
  problems.push(...(tested?.problems ?? []).map(place(testFile)));
  if (!result.ok || hasErrors(tested?.problems ?? [])) return { path, problems, tests: [] };
  const { source: bytes, program, manifest } = result.compiled;
  const files = {
    source: bytes,
    program,
    manifest,
    ...(test === undefined ? {} : { test: primitives.utf8Encode(test) }),
  };
  if (tested?.document === undefined) return { path, files, problems, tests: [] };
  const self: readonly PolicyAt[] = [{ path, id: '', planned: planPolicy(program, primitives) }];
  const policiesAt = (asked: string) =>
    asked === '' || asked === path || path.startsWith(`${asked}.`) ? self : undefined;
  const tests = runTests(tested.document, { path, policiesAt }).map(
    ({ name, line, passed, differences }): TestOutcome => ({
      path,
      file: testFile,
      name,
      line,
      passed,
      ...(passed ? {} : { message: differences.join('; ') }),
    }),
  );
  return { path, files, problems, tests };
}
