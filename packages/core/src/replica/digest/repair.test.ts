import { describe, expect, test } from 'vitest';
import { TestInstance } from '../../testkit/digest-fixture.ts';
import { Cell } from '../cell.ts';
import { Sources } from '../dot.ts';
import { Repairs } from './repair.ts';

const key = 'plain.k1';
const namespace = 'plain';

describe('what a peer shows and is absent here', () => {
  const hourMs = 3_600_000;
  const setUp = () => {
    let nowMs = 1_700_000_000_000;
    const instance = new TestInstance('00000000000000a1', new Sources(), () => nowMs);
    instance.submit({ op: 'put', namespace, key, json: '1' });
    instance.commitAll();
    const shown = new Map([[key, instance.cells(namespace).get(key)!.state!]]);
    const repairs = new Repairs(instance.replica, instance.digests.items);
    const lost = (question: ReturnType<Repairs['open']>) => {
      const ours = new Map([[key, instance.cells(namespace).get(key) ?? new Cell(undefined, 0, { kind: 'lww' })]]);
      const rules = { heads: repairs.toldOf(namespace), cuts: instance.cuts(), question };
      return repairs.lost(namespace, shown, ours, rules).map((entry) => entry.key);
    };
    const deleteAndPurge = () => {
      instance.submit({ op: 'delete', namespace, key });
      instance.commitAll();
      repairs.changed([key]);
      nowMs += 2 * hourMs;
      instance.purge();
      repairs.changed([key]);
    };
    return { repairs, lost, deleteAndPurge, rows: () => instance.disk.rows('live').length };
  };

  test('is not lost where it was deleted and purged while the answer was on its way', () => {
    const { repairs, lost, deleteAndPurge, rows } = setUp();
    const question = repairs.open();
    deleteAndPurge();
    expect(rows()).toBe(0);
    expect(lost(question)).toEqual([]);
  });

  test('is lost where nothing changed since the question was asked', () => {
    const { repairs, lost, deleteAndPurge } = setUp();
    deleteAndPurge();
    expect(lost(repairs.open())).toEqual([key]);
  });
});
