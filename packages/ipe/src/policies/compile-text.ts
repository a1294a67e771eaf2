import type { Primitives } from '@ipe/core/bytes';
import { type PolicyAt, runTests, type TestResult } from '@ipe/core/eval';
import { compilePolicy, type PlannedPolicy, type Problem, parseTestDocument, planPolicy } from '@ipe/core/policy';
import type {
  CompiledPolicy,
  CompileText,
  FileProblem,
  PolicyText,
  ProgramAt,
  TestOutcome,
  TestText,
} from './types.ts';

/**
 * Makes the compiler of single policies from what core needs of its runtime. Compiling is pure; so is testing, except
 * that tests naming another path than their own are left for later (`asks`), because they need what stands there.
 */
export function textCompiler(primitives: Primitives): {
  readonly compileText: CompileText;
  readonly testText: TestText;
} {
  const plan = (program: Uint8Array): PlannedPolicy => planPolicy(program, primitives);

  return {
    compileText(text) {
      const [sourceFile, testFile] = filesOf(text);
      const result = compilePolicy(text.source, { primitives });
      const tests = text.test === undefined ? undefined : parseTestDocument(text.test);
      const problems: FileProblem[] = [
        ...(result.ok ? result.compiled.warnings : result.problems).map((each) => located(each, sourceFile, text.path)),
        ...(tests?.problems ?? []).map((each) => located(each, testFile, text.path)),
      ];
      const document = tests?.document;
      if (!result.ok || (tests !== undefined && document === undefined))
        return { path: text.path, problems, tests: [] };

      const { source, program, manifest } = result.compiled;
      const files = {
        source,
        program,
        manifest,
        ...(text.test !== undefined && { test: primitives.utf8Encode(text.test) }),
      };
      const compiled: CompiledPolicy = { path: text.path, files, problems, tests: [] };
      if (document === undefined) return compiled;
      const asks = new Set<string>();
      for (const { path } of document.tests) if (path !== undefined && path !== text.path) asks.add(path);
      if (asks.size > 0) return { ...compiled, asks: [...asks] };
      const own: PolicyAt = { path: text.path, id: '', planned: plan(program) };
      const results = runTests(document, { path: text.path, policiesAt: () => [own] });
      return { ...compiled, tests: results.map((each) => outcomeOf(each, text.path, testFile)) };
    },

    testText(text, programs) {
      const [, testFile] = filesOf(text);
      const { document } = parseTestDocument(text.test ?? '');
      if (document === undefined) return [];
      const planned = new Map<ProgramAt, PolicyAt>();
      const at = (each: ProgramAt): PolicyAt => {
        let policy = planned.get(each);
        if (policy === undefined) {
          policy = { path: each.path, id: '', planned: plan(each.program) };
          planned.set(each, policy);
        }
        return policy;
      };
      const results = runTests(document, {
        path: text.path,
        policiesAt(path) {
          const below = programs.filter((each) => each.path === path || each.path.startsWith(`${path}.`)).map(at);
          return below.length === 0 ? undefined : below;
        },
      });
      return results.map((each) => outcomeOf(each, text.path, testFile));
    },
  };
}

function filesOf(text: PolicyText): [sourceFile: string, testFile: string] {
  return [text.sourceFile ?? `${text.path}.policy.yaml`, text.testFile ?? `${text.path}.test.yaml`];
}

function located(problem: Problem, file: string, path: string): FileProblem {
  return { file, path, ...problem };
}

function outcomeOf(result: TestResult, path: string, file: string): TestOutcome {
  return {
    path,
    file,
    name: result.name,
    line: result.line,
    passed: result.passed,
    ...(result.passed ? {} : { message: result.differences.join('; ') }),
    ...(result.got !== undefined && { decision: result.got.decision }),
  };
}
