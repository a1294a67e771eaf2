import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { primitives } from '../../test/node-runtime.ts';
import { compilePolicy, isCompiledFrom } from './compile.ts';
import { languageVersion } from './language.ts';

// What is stored and signed must not change under a language version: `spec/vectors/programs-v1.json` holds, for any
// implementation to check, what the compiler makes of each source. A difference is a new language version, not an update
// of the file; new sources may be added to it.

interface Vector {
  readonly name: string;
  readonly source: string;
  /** Canonical JSON, as stored. */
  readonly program: string;
  readonly program_sha256: string;
  readonly manifest: string;
}

const file = new URL(`../../../../spec/vectors/programs-v${languageVersion}.json`, import.meta.url);
const vectors: readonly Vector[] = JSON.parse(readFileSync(file, 'utf8'));

test.each(vectors)('$name compiles to what this language version always made of it', ({ source, ...expected }) => {
  const result = compilePolicy(source, { primitives });
  if (!result.ok) throw new Error(result.problems.map((p) => `${p.line}: ${p.message}`).join('; '));
  const { program, manifest } = result.compiled;
  expect(primitives.utf8Decode(program)).toBe(expected.program);
  expect(createHash('sha256').update(program).digest('hex')).toBe(expected.program_sha256);
  expect(primitives.utf8Decode(manifest)).toBe(expected.manifest);
  expect(isCompiledFrom(result.compiled, primitives)).toBe(true);
});
