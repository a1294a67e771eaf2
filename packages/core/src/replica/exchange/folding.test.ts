import { expect, test } from 'vitest';
import { type Source, Sources } from '../dot.ts';
import { foldedBase } from '../fold.ts';
import { Exchange } from './exchange.ts';
import type { NamespaceVector, VectorReport } from './report.ts';

test('sources are not folded while a member names earlier ones of which the disk here has lost what it promised', () => {
  const [sources, strategy] = [new Sources(), 'lww'];
  const [self, other] = [1, 2].map((i) => i.toString(16).padStart(16, '0')) as [string, string];
  const exchange = new Exchange({ intervalMs: 1_000, pullsMax: 4, self: { origin: self, isClosed: () => true } });
  const [lost, kept] = [sources.of(self, 1), sources.of(self, 2)];
  const vectorOf = (heads: readonly (readonly [Source, number])[]): NamespaceVector => ({
    strategy,
    isWhole: true,
    heads: new Map(heads),
  });
  const told = (vector: NamespaceVector) => {
    const namespaces = new Map([['n', vector]]);
    const report: VectorReport = { origin: other, interest: 'all', isSettled: true, namespaces };
    exchange.step({ type: 'reported', report, isAnswer: false }, 0);
  };
  const foldsAt = (nowMs: number) => exchange.step({ type: 'tick' }, nowMs).filter(({ type }) => type === 'fold');
  const all = [
    [lost, 3],
    [kept, 2],
  ] as const;
  exchange.step({ type: 'members', origins: [other] }, 0);
  exchange.step({ type: 'heads', namespace: 'n', vector: vectorOf([[kept, 2]]) }, 0);
  told(vectorOf(all));
  expect(foldsAt(100)).toEqual([]);
  // A folded entry, too, may stand for what is missing here.
  told(
    vectorOf([
      [lost, foldedBase + 3],
      [kept, 2],
    ]),
  );
  expect(foldsAt(200)).toEqual([]);
  told(vectorOf(all));
  exchange.step({ type: 'heads', namespace: 'n', vector: vectorOf(all) }, 300);
  expect(foldsAt(400)).toEqual([{ type: 'fold', namespace: 'n', head: { source: kept, seq: foldedBase + 5 } }]);
});
