import { readFile } from 'node:fs/promises';
import { type TokenKind, tokenKinds } from '@ipe/client/protocol';
import { IpeError } from '@ipe/core';
import { type TokenStore, writePrivately } from './store.ts';
import { issueToken, recordOf, type TokenGrant } from './tokens.ts';

/** What stands in `credentials.json`: one token of each kind, for the command line and for trying things out. */
export type Credentials = Readonly<Record<TokenKind, string>>;

const grants: Readonly<Record<TokenKind, TokenGrant>> = {
  admin: { kind: 'admin', name: 'local-admin' },
  service: { kind: 'service', name: 'local-service' },
  application: { kind: 'application', name: 'local-application', grants: ['explain'] },
};

/**
 * On the first start of a directory, writes `credentials.json` (mode 0600) with a token of each kind. Later starts leave
 * it alone, also where it was removed on purpose.
 * @param isFirstStart whether the directory is new
 * @returns whether it was written now.
 */
export async function ensureCredentials(
  path: string,
  store: TokenStore,
  nowSeconds: number,
  isFirstStart: boolean,
): Promise<boolean> {
  // On a first start tokens may be there all the same: those of the cluster that this instance has just joined.
  if (!isFirstStart && (await store.list()).length > 0) return false;
  const found = await readCredentials(path);
  if (found !== undefined) {
    // The last start ended between writing the file and keeping the hashes.
    for (const kind of tokenKinds) await store.put(recordOf(found[kind], grants[kind], nowSeconds));
    return false;
  }
  const issued = tokenKinds.map((kind) => issueToken(grants[kind], nowSeconds));
  const credentials = Object.fromEntries(tokenKinds.map((kind, i) => [kind, issued[i]!.token]));
  await writePrivately(path, `${JSON.stringify(credentials, null, 2)}\n`);
  for (const { record } of issued) await store.put(record);
  return true;
}

/** Reads `credentials.json`; undefined where there is none. @throws IpeError `corrupt`. */
export async function readCredentials(path: string): Promise<Credentials | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const credentials = JSON.parse(text) as Record<string, unknown>;
    if (tokenKinds.every((kind) => typeof credentials[kind] === 'string')) return credentials as Credentials;
  } catch {}
  throw new IpeError('corrupt', `\`${path}\` is damaged; remove it and create tokens with \`ipe token create\``, {
    details: { path },
  });
}
