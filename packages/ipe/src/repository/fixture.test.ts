import { readdirSync, readFileSync } from 'node:fs';
import { openMemoryKv } from '@ipe/core/store';
import { type PolicyFamily, policyFamilies } from '@ipe/core/tree';
import { expect, test } from 'vitest';
import { openPolicyRepository } from './index.ts';

const folder = new URL('../../../../spec/stores/', import.meta.url);

test.each(readdirSync(folder).filter((name) => name.startsWith('policies-')))(
  'a store as an earlier version left it, %s, opens and answers the same',
  async (name) => {
    const { answers, rows } = JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as {
      answers: Record<string, unknown>;
      rows: [PolicyFamily, string, string][];
    };
    const kv = openMemoryKv({ families: policyFamilies });
    const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'hex'));
    await kv.write(rows.map(([family, key, value]) => ({ type: 'put', family, key: bytes(key), value: bytes(value) })));
    const store = await openPolicyRepository(kv);
    await store.ready();
    expect(store.status().indexRebuilt).toBe(null);
    expect({
      refs: store.refs(),
      tree: (await store.current().getSubtree('')).items,
      log: (await store.log()).items,
      history: (await store.history('prod.deployment.approval')).items,
      removed: (await store.history('config')).items,
    }).toEqual(answers);
    expect(await store.verify()).toMatchObject({ problemCount: 0 });
  },
);
