import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import {
  fileState,
  isAtOrBelow,
  type MirrorRecord,
  openMirrorRegistry,
  type StateText,
  type SyncRecord,
} from './mirrors.ts';
import { ownedPaths, refuseMirrored, takeOver } from './ownership.ts';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function memory(): StateText & { text: string | undefined } {
  return {
    text: undefined,
    async load() {
      return this.text;
    },
    async save(text) {
      this.text = text;
    },
  };
}

const mirror = (id: string, owned: readonly string[], configured = false): MirrorRecord => ({
  id,
  repository: `/srv/${id}`,
  branch: null,
  directory: '',
  prefix: '',
  owned,
  configured,
  commit: null,
  rootCommit: null,
  root: null,
  syncedAtMs: null,
  pin: null,
  seenCommit: null,
  lastAttemptMs: null,
  error: null,
});

const sync = (syncId: string): SyncRecord => ({
  syncId,
  mirror: 'a',
  status: 'completed',
  commit: null,
  rootCommit: null,
  root: null,
  added: 0,
  updated: 0,
  removed: 0,
  by: 'ada',
  startedAtMs: 0,
  finishedAtMs: 1,
  error: null,
});

describe('the registry of mirrors', () => {
  test('remembers mirrors and syncs over a restart, in a file replaced as a whole', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ipe-mirrors-'));
    folders.push(folder);
    const path = join(folder, 'mirrors.json');
    const first = await openMirrorRegistry(fileState(path));
    await first.save({ mirrors: [mirror('a', ['prod'])], sync: sync('s1') });
    const again = await openMirrorRegistry(fileState(path));
    expect(again.list()).toEqual([mirror('a', ['prod'])]);
    expect(again.syncs()).toEqual([sync('s1')]);
    writeFileSync(path, readFileSync(path, 'utf8').slice(0, 40));
    await expect(openMirrorRegistry(fileState(path))).rejects.toMatchObject({ reason: 'corrupt' });
  });

  test('saves that run together are all kept, and the last hundred syncs', async () => {
    const registry = await openMirrorRegistry(memory());
    await Promise.all(
      Array.from({ length: 120 }, (_, i) =>
        registry.save({ mirrors: [mirror(`m${i}`, [`p${i}`])], sync: sync(`s${i}`) }),
      ),
    );
    expect(registry.list()).toHaveLength(120);
    expect(registry.syncs()).toHaveLength(100);
    expect(registry.syncs()[0]?.syncId).toBe('s119');
    await registry.save({ sync: { ...sync('s119'), by: 'eve' } });
    expect(registry.syncs().filter(({ syncId }) => syncId === 's119')).toEqual([{ ...sync('s119'), by: 'eve' }]);
  });

  test('a save that fails changes nothing, and the next one works', async () => {
    const state = memory();
    const registry = await openMirrorRegistry(state);
    const save = state.save;
    state.save = async () => {
      throw new Error('disk full');
    };
    await expect(registry.save({ mirrors: [mirror('a', ['prod'])] })).rejects.toThrow('disk full');
    expect(registry.list()).toEqual([]);
    state.save = save;
    await registry.save({ mirrors: [mirror('a', ['prod'])] });
    expect(registry.list()).toHaveLength(1);
  });
});

describe('who owns a path', () => {
  test('prefixes count by whole segments', () => {
    expect(isAtOrBelow('prod.a', 'prod')).toBe(true);
    expect(isAtOrBelow('prod', 'prod')).toBe(true);
    expect(isAtOrBelow('production', 'prod')).toBe(false);
    expect(isAtOrBelow('anything', '')).toBe(true);
  });

  test('without a prefix a mirror owns the first segments it has or had', () => {
    expect(ownedPaths('team', ['team.a'])).toEqual(['team']);
    expect(ownedPaths('', ['prod.a', 'prod.b.c', 'x'], ['staging'])).toEqual(['prod', 'staging', 'x']);
  });

  test('writes below a mirror are forbidden and name the repository', async () => {
    const registry = await openMirrorRegistry(memory());
    await registry.save({ mirrors: [mirror('a', ['prod'])] });
    expect(() => refuseMirrored(registry, ['dev.x', 'prod.deployment.approval'])).toThrow(
      expect.objectContaining({ reason: 'forbidden', details: expect.objectContaining({ repository: '/srv/a' }) }),
    );
    expect(() => refuseMirrored(registry, ['dev.x', 'production'])).not.toThrow();
    expect(registry.ownerOf('prod', true)?.id).toBe('a');
  });

  test('a single sync gives way to another one, a configured mirror only to force', async () => {
    const registry = await openMirrorRegistry(memory());
    await registry.save({ mirrors: [mirror('one', ['prod', 'x']), mirror('fixed', ['staging'], true)] });
    expect(takeOver(registry, 'new', ['prod.deployment'], false)).toEqual([mirror('one', ['x'])]);
    expect(takeOver(registry, 'one', ['prod'], false)).toEqual([]);
    expect(() => takeOver(registry, 'new', ['staging'], false)).toThrow(
      expect.objectContaining({ reason: 'conflict' }),
    );
    expect(takeOver(registry, 'new', ['staging'], true)).toEqual([mirror('fixed', [], true)]);
  });
});
