import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { keyringFile, openPlainStore, openSealedStore } from './open.ts';

const families = ['rows'] as const;
let root = '';
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'ipe-open-'));
  for (const name of ['a.key', 'b.key']) await writeFile(join(root, name), randomBytes(32).toString('hex'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const plain = () => openPlainStore({ directory: join(root, 'store'), families });
const sealed = (key: string) =>
  openSealedStore(
    { directory: join(root, 'store'), families },
    { keyPath: join(root, key), layouts: { rows: { clearBytes: 0, hasSuffix: () => false } } },
  );
const row = { type: 'put', family: 'rows', key: Uint8Array.of(1), value: Uint8Array.of(2) } as const;

test('a sealed store opens with its key, and with no other and not in clear', async () => {
  const kv = await sealed('a.key');
  await kv.write([row]);
  await kv.close();
  await expect(sealed('b.key')).rejects.toMatchObject({ reason: 'unavailable', message: /key file is not the one/ });
  await expect(plain()).rejects.toMatchObject({ reason: 'unavailable', message: /is sealed/ });
  const again = await sealed('a.key');
  expect(await again.get('rows', row.key)).toEqual(row.value);
  await again.close();
});

test('a store that holds rows in clear, or lost its key ring, is not sealed over', async () => {
  const kv = await plain();
  await kv.write([row]);
  await kv.close();
  await expect(sealed('a.key')).rejects.toMatchObject({ reason: 'unavailable', message: /rows in clear/ });
  const again = await plain();
  expect(await again.get('rows', row.key)).toEqual(row.value);
  await again.close();
});

test('a sealed store without its key ring is refused', async () => {
  const kv = await sealed('a.key');
  await kv.write([row]);
  await kv.close();
  await rm(join(root, 'store', keyringFile));
  await expect(sealed('a.key')).rejects.toMatchObject({ reason: 'unavailable', message: new RegExp(keyringFile) });
});
