import { readFileSync } from 'node:fs';
import { parsePolicyDocument, parseTestDocument } from '@ipe/core/policy';
import { expect, test } from 'vitest';
import { nodePrimitives } from '../repository/primitives.ts';
import { textCompiler } from './compile-text.ts';

test('the examples of the guide to policies compile, and their tests pass', () => {
  const guide = readFileSync(new URL('../../../../docs/guides/policies.md', import.meta.url), 'utf8');
  const blocks = [...guide.matchAll(/```yaml\n([\s\S]*?)```/g)].map((match) => match[1]!);
  const source = blocks.find((block) => parsePolicyDocument(block).document !== undefined);
  const tests = blocks.find((block) => parseTestDocument(block).document !== undefined);
  expect(blocks).toHaveLength(2);
  const compiled = textCompiler(nodePrimitives).compileText({
    path: 'prod.deployment.approval',
    source: source!,
    test: tests!,
  });
  expect(compiled.problems).toEqual([]);
  expect(compiled.tests.map(({ name, passed, message }) => [name, passed, message])).toEqual([
    ['one senior is not enough', true, undefined],
    ['none at all', true, undefined],
    ["other deployments are not this policy's", true, undefined],
  ]);
});
