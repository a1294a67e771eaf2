import { compileText } from './compile-text.ts';
import { createPolicyCompiler } from './compiler.ts';
import type { PolicyCompiler } from './types.ts';

/**
 * The compiler of a node. Run from source, where a worker thread cannot load TypeScript, it does sets of every size in
 * place.
 * @param version of the program, kept with each commit.
 */
export function createNodeCompiler(version: string): PolicyCompiler {
  const isBuilt = import.meta.url.endsWith('.js');
  return createPolicyCompiler({
    version: `ipe ${version}`,
    compileText,
    workerFile: new URL('./compile-worker.js', import.meta.url),
    ...(isBuilt ? {} : { inlineMax: Number.POSITIVE_INFINITY }),
  });
}
