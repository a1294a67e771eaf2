import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type LiteralTests, noLiteralTests, passesLiteralTests } from '../policy/index.ts';
import { someRequest } from '../testkit/scripted-policies.ts';
import { DirectoryIndex, type IndexedChild } from './directory-index.ts';

const words = fc.constantFrom('a', 'b', 'c');
const values = fc.oneof(
  { arbitrary: fc.constant(null), weight: 2 },
  { arbitrary: fc.uniqueArray(words).map((w) => new Set(w)), weight: 3 },
);
const tests: fc.Arbitrary<LiteralTests> = fc.record({ resourceType: values, actionName: values, subjectType: values });
const leaf = fc.record({ literalTests: tests });
type Shape = { literalTests: LiteralTests } | Shape[];
const shape = fc.letrec<{ node: Shape }>((tie) => ({
  node: fc.oneof({ maxDepth: 4 }, leaf, fc.array(tie('node'), { maxLength: 5 })),
})).node;

function build(node: Shape, path: string, all: { path: string; literalTests: LiteralTests }[]): IndexedChild['node'] {
  if (Array.isArray(node))
    return new DirectoryIndex(node.map((child, i) => ({ name: `${i}`, node: build(child, `${path}.${i}`, all) })));
  all.push({ path, literalTests: node.literalTests });
  return { id: path, program: path, literalTests: node.literalTests };
}

test('the index finds exactly the policies whose literal tests a request passes, in path order', () => {
  fc.assert(
    fc.property(fc.array(shape, { maxLength: 6 }), words, words, words, (children, type, name, subjectType) => {
      const all: { path: string; literalTests: LiteralTests }[] = [];
      const index = build(children, 'p', all) as DirectoryIndex;
      const request = {
        ...someRequest,
        subject: { ...someRequest.subject, type: subjectType },
        action: { ...someRequest.action, name },
        resource: { ...someRequest.resource, type },
      };
      const expected = all.filter((policy) => passesLiteralTests(policy.literalTests, request)).map((p) => p.path);
      expect(index.candidates(request, 'p').map((p) => p.path)).toEqual(expected.sort());
      expect(index.size).toBe(all.length);
    }),
    { seed: 9, numRuns: 2_000 },
  );
});

test('a wide directory is not walked for a question about one type', () => {
  let looks = 0;
  const counted = (type: string): LiteralTests => ({
    ...noLiteralTests,
    get resourceType() {
      looks++;
      return new Set([type]);
    },
  });
  const children = Array.from({ length: 5_000 }, (_, i) => ({
    name: `${i}`,
    node: { id: '', program: '', literalTests: counted(`t${i}`) },
  }));
  const index = new DirectoryIndex(children);
  looks = 0;
  const request = { ...someRequest, resource: { ...someRequest.resource, type: 't4711' } };
  expect(index.candidates(request, 'p').map((p) => p.path)).toEqual(['p.4711']);
  expect(looks).toBeLessThan(5);
});
