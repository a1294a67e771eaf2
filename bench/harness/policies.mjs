// Policies and requests that benches share: the approval policy of the examples, its paths spread as deployments do it.
import { readFileSync } from 'node:fs';
import { compilePolicy } from '@ipe/core/policy';
import { zlibCodec as codec, nodePrimitives as primitives } from '../../packages/ipe/dist/repository/index.js';

const example = new URL('../../examples/policies/prod/deployment/', import.meta.url);
export const source = readFileSync(new URL('approval.policy.yaml', example), 'utf8');
export const tests = readFileSync(new URL('approval.test.yaml', example));

/** What a policy store asks of its runtime. */
export const treeRuntime = {
  primitives,
  codec,
  now: () => performance.now(),
  breathe: () => new Promise((resolve) => setImmediate(resolve)),
};

let compiledExample;

/**
 * The files of variant `n`: the same policy in another version, so that no two share an object but their tests. Written
 * into the compiled example: the store never looks inside, and compiling a hundred thousand takes minutes.
 */
export function policyFiles(n) {
  compiledExample ??= compileExample();
  const variant = (text) => new Uint8Array(Buffer.from(text.replaceAll('senior engineers', `senior engineers (${n})`)));
  return {
    source: variant(source),
    program: variant(compiledExample.program),
    manifest: compiledExample.manifest,
    test: tests,
  };
}

function compileExample() {
  const result = compilePolicy(source, { primitives });
  if (!result.ok) throw new Error(`the example does not compile: ${result.problems[0].message}`);
  return { program: Buffer.from(result.compiled.program).toString(), manifest: result.compiled.manifest };
}

/**
 * Paths of `count` policies, nested as teams, services and actions are: at most 40 policies in a directory and 50
 * directories in another.
 */
export function policyPaths(count) {
  return Array.from({ length: count }, (_, i) => {
    const directory = Math.floor(i / 40);
    return `team-${Math.floor(directory / 50)}.service-${directory % 50}.action-${i % 40}`;
  });
}

export const update = {
  author: { name: 'Bench', email: 'bench@example.com' },
  message: 'bench',
  timeMs: 1_700_000_000_000,
};

/** Fills a store with the policies at `paths`, a thousand a commit, as variants from `first` on. */
export async function fill(store, paths, first = 0) {
  for (let at = 0; at < paths.length; at += 1000)
    await store.update({
      ...update,
      changes: paths.slice(at, at + 1000).map((path, i) => ({ path, files: policyFiles(first + at + i) })),
    });
}
