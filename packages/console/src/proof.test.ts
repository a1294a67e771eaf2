import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { claimedCommit, judge } from './proof.ts';

const vectors = JSON.parse(
  readFileSync(new URL('../../../spec/vectors/tree-proofs.json', import.meta.url), 'utf8'),
) as {
  rootCommit: string;
  proofs: { path: string; kind: string; nodes: string[] }[];
};

describe('judging a proof in the browser', () => {
  test.each(vectors.proofs)('the proof of $path proves $kind', (proof) => {
    expect(judge(JSON.stringify(proof), vectors.rootCommit)).toMatchObject({
      kind: 'proven',
      proven: { kind: proof.kind, path: proof.path },
    });
    expect(claimedCommit(JSON.stringify(proof))).toBe(vectors.rootCommit);
  });

  test.each(vectors.proofs)(
    'the proof of $path proves nothing about another path, root, or with a byte changed',
    (proof) => {
      const refused = { kind: 'refused' };
      expect(judge(JSON.stringify({ ...proof, path: 'elsewhere.x.y' }), vectors.rootCommit)).not.toMatchObject({
        proven: { kind: proof.kind, path: proof.path },
      });
      expect(judge(JSON.stringify(proof), '0'.repeat(64))).toMatchObject(refused);
      for (let i = 0; i < proof.nodes.length; i++) {
        const bytes = Buffer.from(proof.nodes[i]!, 'base64');
        bytes[bytes.length - 1]! ^= 1;
        const nodes = proof.nodes.with(i, bytes.toString('base64'));
        expect(judge(JSON.stringify({ ...proof, nodes }), vectors.rootCommit)).toMatchObject(refused);
      }
    },
  );

  test('what is not a proof is told so in words', () => {
    for (const text of ['', 'x', '{}', '{"path":"a","nodes":[1]}'])
      expect(judge(text, vectors.rootCommit)).toMatchObject({
        kind: 'refused',
        why: expect.stringContaining('not a proof'),
      });
    expect(judge(JSON.stringify(vectors.proofs[0]), 'HEAD')).toMatchObject({ kind: 'refused' });
  });
});
