import { relative } from 'node:path';
import type { PolicyAt } from '@ipe/core/eval';
import { compilePolicy, type Problem, planObservedPolicy, planPolicy } from '@ipe/core/policy';
import { readPolicyDirectory, type SourcePolicy } from '../gitops/directory.ts';
import type { FileProblem } from '../policies/types.ts';
import { nodePrimitives as primitives } from '../repository/primitives.ts';
import type { Cli } from './cli.ts';

/** A policy of a folder with its texts and, where it compiles, ready to be asked. */
export interface LocalPolicy extends SourcePolicy {
  readonly at?: PolicyAt;
}

/** The policies of a folder, compiled without a node; files are named as the user would. */
export interface LocalPolicies {
  /** In path order. */
  readonly policies: readonly LocalPolicy[];
  readonly problems: readonly FileProblem[];
  /** Compiled policies at or below a path; undefined where nothing is there. */
  below(path: string): readonly PolicyAt[] | undefined;
}

/**
 * Reads and compiles a folder of policies, or one `*.policy.yaml` file.
 *
 * @param observe plans so that every value on the way is told, for explaining and coverage
 * @throws IpeError `not_found`, `too_large`, `unavailable` where the folder cannot be read; mistakes are in `problems`
 */
export async function readPolicies(cli: Cli, folder: string, observe = false): Promise<LocalPolicies> {
  const absolute = cli.path(folder);
  const directory = await readPolicyDirectory(absolute);
  const shown = (file: string) => {
    const isFile = /\.(policy|test)\.yaml$/.test(folder);
    const path = relative(cli.io.workingDirectory, isFile ? cli.path(`${folder}/../${file}`) : `${absolute}/${file}`);
    return path.startsWith('..') ? `${folder}/${file}` : path;
  };
  const problems: FileProblem[] = directory.problems.map((problem) => ({ ...problem, file: shown(problem.file) }));
  const plan = observe ? planObservedPolicy : planPolicy;
  const policies = directory.policies.map((policy): LocalPolicy => {
    const sourceFile = shown(policy.sourceFile);
    const named = {
      ...policy,
      sourceFile,
      ...(policy.testFile === undefined ? {} : { testFile: shown(policy.testFile) }),
    };
    const result = compilePolicy(policy.source, { primitives });
    const found = result.ok ? result.compiled.warnings : result.problems;
    problems.push(...found.map((problem) => fileProblem(problem, sourceFile, policy.path)));
    if (!result.ok) return named;
    return { ...named, at: { path: policy.path, id: '', planned: plan(result.compiled.program, primitives) } };
  });
  return {
    policies,
    problems,
    below: (path) => {
      const found = policies.filter(
        (policy) => path === '' || policy.path === path || policy.path.startsWith(`${path}.`),
      );
      return found.length === 0 ? undefined : found.flatMap(({ at }) => at ?? []);
    },
  };
}

/** A problem of a document as a problem of its file. */
export function fileProblem(problem: Problem, file: string, path: string): FileProblem {
  return { file, path, ...problem };
}
