import { describe, expect, test } from 'vitest';
import { MemoryKeeper, type ReplicationMemory } from './memory-keeper.ts';

describe('what an instance remembers of its replication', () => {
  function keeper() {
    const saved: ReplicationMemory[] = [];
    const clock = { nowMs: 5 };
    const save = async (memory: ReplicationMemory) => void saved.push(memory);
    return { saved, clock, keeper: new MemoryKeeper(save, () => clock.nowMs) };
  }

  test('is written where it has changed, and the place in the plane alone each ten seconds', async () => {
    const { saved, clock, keeper: memory } = keeper();
    await memory.keep({ whole: ['a'], planeCursor: '1' });
    clock.nowMs += 9_999;
    await memory.keep({ whole: ['a'], planeCursor: '2' });
    expect(saved).toEqual([{ whole: ['a'], planeCursor: '1' }]);
    clock.nowMs += 1;
    await memory.keep({ whole: ['a'], planeCursor: '3' });
    expect(saved.at(-1)).toEqual({ whole: ['a'], planeCursor: '3' });
    await memory.keep({ whole: [], planeCursor: '4' });
    expect(saved.at(-1)).toEqual({ whole: [], planeCursor: '4' });
    clock.nowMs += 60_000;
    await memory.keep({ whole: [], planeCursor: '4' });
    expect(saved).toHaveLength(3);
  });

  test('is written as it stands when the instance stops', async () => {
    const { saved, keeper: memory } = keeper();
    await memory.keep({ planeCursor: '1' });
    await memory.keep({ planeCursor: '2' }, true);
    await memory.keep({ planeCursor: '2' }, true);
    expect(saved).toEqual([{ planeCursor: '1' }, { planeCursor: '2' }]);
  });

  test('is written again where that failed', async () => {
    const saved: ReplicationMemory[] = [];
    let isFull = true;
    const memory = new MemoryKeeper(
      async (each) => {
        if (isFull) throw new Error('the disk is full');
        saved.push(each);
      },
      () => 0,
    );
    await expect(memory.keep({ whole: ['a'] })).rejects.toThrow('full');
    isFull = false;
    await memory.keep({ whole: ['a'] });
    expect(saved).toEqual([{ whole: ['a'] }]);
  });
});
