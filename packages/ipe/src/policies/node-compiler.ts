import { languageVersion } from '@ipe/core/policy';
import { nodePrimitives } from '../repository/primitives.ts';
import { textCompiler } from './compile-text.ts';
import { createPolicyCompiler } from './compiler.ts';
import type { PolicyCompiler } from './types.ts';

/**
 * The compiler of a node: CEL in YAML, small sets in place, large ones in a worker thread.
 * @param version of the program, kept with each commit.
 */
export function createNodeCompiler(version: string): PolicyCompiler {
  // Run from its sources, as tests do, the worker is the built one: Node does not read TypeScript in threads.
  const built = import.meta.url.endsWith('.ts') ? '../../dist/policies/compile-worker.js' : './compile-worker.js';
  return createPolicyCompiler({
    ...textCompiler(nodePrimitives),
    version: `ipe ${version}, language ${languageVersion}`,
    workerFile: new URL(built, import.meta.url),
  });
}
