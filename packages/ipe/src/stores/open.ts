import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { IpeError } from '@ipe/core';
import type { Kv } from '@ipe/core/store';
import { openRocksKv, type RocksKvOptions } from './rocksdb/index.ts';
import { type KeyLayout, Keyring, readMasterKey, type SealedKv, sealKv } from './sealed/index.ts';

/** How a store is sealed. */
export interface SealOptions<Family extends string> {
  /** File with the master key: 32 bytes as hexadecimal or base64 text. */
  readonly keyPath: string;
  readonly layouts: Readonly<Record<Family, KeyLayout>>;
}

/** File in a sealed store's directory that holds its wrapped keys. */
export const keyringFile = 'KEYRING';

/**
 * Opens a store on disk in clear.
 * @throws as `openRocksKv`; and IpeError `unavailable` when the store is sealed
 */
export async function openPlainStore<Family extends string>(options: RocksKvOptions<Family>): Promise<Kv<Family>> {
  const { directory } = options;
  const isSealed = await stat(join(directory, keyringFile)).then(
    () => true,
    () => false,
  );
  if (isSealed)
    throw new IpeError(
      'unavailable',
      `the store in \`${directory}\` is sealed; set \`encrypt_at_rest\` and \`encryption_key_path\`, or restore a backup into an empty directory to keep it in clear from now on`,
      { details: { directory } },
    );
  return openRocksKv(options);
}

/**
 * Opens a store on disk whose rows are sealed, and makes its key ring when the store is new.
 * @throws as `openRocksKv`; and IpeError `unavailable` when the key file is not the right one or the store holds rows in
 *   clear, `corrupt` when the key ring is damaged or missing
 */
export async function openSealedStore<Family extends string>(
  options: RocksKvOptions<Family>,
  seal: SealOptions<Family>,
): Promise<SealedKv<Family>> {
  const master = await readMasterKey(seal.keyPath);
  const inner = await openRocksKv(options);
  try {
    const path = join(options.directory, keyringFile);
    const keyring = (await Keyring.open(path, master)) ?? (await createKeyring(path, master, inner, options.directory));
    return sealKv({ inner, keyring, layouts: seal.layouts });
  } catch (error) {
    await inner.close();
    throw error;
  }
}

async function createKeyring(path: string, master: Uint8Array, inner: Kv, directory: string): Promise<Keyring> {
  for (const family of inner.families)
    for await (const _row of inner.entries(family, { limit: 1 }))
      throw new IpeError(
        'unavailable',
        `the store in \`${directory}\` holds rows in clear, or its \`${keyringFile}\` is missing; seal it by restoring a backup into an empty directory, or put the missing file back`,
        { details: { directory } },
      );
  return Keyring.create(path, master);
}
