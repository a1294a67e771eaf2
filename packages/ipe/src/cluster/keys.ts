import { createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { IpeError } from '@ipe/core';
import { readIfPresent, type SigningKey, signingKey, writePrivate } from './identity.ts';

/** What this instance holds of the cluster: everyone the public key and the secret, one member the key itself. */
export interface ClusterKeys {
  readonly publicKey: string;
  /** 32 bytes that key the digests and the sealing of batches. */
  readonly secret: Uint8Array;
  /** Absent on members that cannot admit, evict or promote. */
  readonly key?: SigningKey;
}

const files = { key: 'cluster.key', publicKey: 'cluster.pub', secret: 'cluster.secret' };

/**
 * Reads the cluster's keys under `directory`.
 * @returns undefined where this instance belongs to no cluster yet.
 * @throws IpeError `corrupt` when only a part is there, or the private key does not belong to the public one.
 */
export async function loadClusterKeys(directory: string): Promise<ClusterKeys | undefined> {
  const [keyPem, publicKey, secret] = await Promise.all(
    [files.key, files.publicKey, files.secret].map((file) => readIfPresent(join(directory, file))),
  );
  if (publicKey === undefined && secret === undefined && keyPem === undefined) return undefined;
  if (publicKey === undefined || secret === undefined) {
    const missing = publicKey === undefined ? files.publicKey : files.secret;
    throw new IpeError('corrupt', `\`${join(directory, missing)}\` is missing; restore it from another member`);
  }
  const key = keyPem === undefined ? undefined : signingKey(createPrivateKey(keyPem));
  if (key && key.publicKey !== publicKey.trim()) {
    throw new IpeError('corrupt', `\`${join(directory, files.key)}\` is not the key of \`${files.publicKey}\``);
  }
  const bytes = Buffer.from(secret.trim(), 'base64url');
  if (bytes.length !== 32)
    throw new IpeError('corrupt', `\`${join(directory, files.secret)}\` is not a 32-byte secret`);
  return { publicKey: publicKey.trim(), secret: bytes, ...(key && { key }) };
}

/** Makes the keys of a new cluster; this instance becomes the holder of the cluster key. */
export async function createClusterKeys(directory: string): Promise<ClusterKeys> {
  const { privateKey } = generateKeyPairSync('ed25519');
  const key = signingKey(privateKey);
  await writePrivate(join(directory, files.key), privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
  return await saveClusterKeys(directory, { publicKey: key.publicKey, secret: randomBytes(32), key });
}

/** Writes what a member received at join. The private key, where there is one, is not written again. */
export async function saveClusterKeys(directory: string, keys: ClusterKeys): Promise<ClusterKeys> {
  await writePrivate(join(directory, files.secret), `${Buffer.from(keys.secret).toString('base64url')}\n`);
  await writePrivate(join(directory, files.publicKey), `${keys.publicKey}\n`);
  return keys;
}
