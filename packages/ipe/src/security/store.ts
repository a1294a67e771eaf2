import { chmod, mkdir, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { IpeError } from '@ipe/core';
import type { TokenRecord } from './tokens.ts';

/** Where token records are kept. All of them fit in memory; `watch` tells when they changed behind the reader's back. */
export interface TokenStore {
  list(): Promise<readonly TokenRecord[]>;
  /** Adds a record, or replaces the one with its id. Durable once resolved. */
  put(record: TokenRecord): Promise<void>;
  /** Forgets a record for good. @returns whether there was one. */
  remove(id: string): Promise<boolean>;
  /** Calls `listener` after changes made elsewhere, by another instance or a file; returns how to stop. */
  watch(listener: () => void): () => void;
}

/** Tokens in memory, for tests and nodes that keep nothing. */
export function memoryTokenStore(records: readonly TokenRecord[] = []): TokenStore {
  const byId = new Map(records.map((record) => [record.id, record]));
  return {
    list: async () => [...byId.values()],
    put: async (record) => void byId.set(record.id, record),
    remove: async (id) => byId.delete(id),
    watch: () => () => {},
  };
}

interface TokenFile {
  readonly format: 1;
  readonly tokens: readonly TokenRecord[];
}

/**
 * Tokens in one JSON file (mode 0600), replaced atomically, so that `ipe token` works on the directory of a stopped
 * node. One process writes at a time: the node that has the directory open, or the command while none has.
 */
export function fileTokenStore(path: string): TokenStore {
  let queue: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = queue.then(work);
    queue = turn.catch(() => undefined);
    return turn;
  };
  return {
    list: () => inTurn(() => readTokens(path)),
    put: (record) =>
      inTurn(async () => {
        const others = (await readTokens(path)).filter(({ id }) => id !== record.id);
        await writePrivately(
          path,
          `${JSON.stringify({ format: 1, tokens: [...others, record] } satisfies TokenFile, null, 1)}\n`,
        );
      }),
    remove: (id) =>
      inTurn(async () => {
        const all = await readTokens(path);
        const rest = all.filter((record) => record.id !== id);
        if (rest.length === all.length) return false;
        await writePrivately(path, `${JSON.stringify({ format: 1, tokens: rest } satisfies TokenFile, null, 1)}\n`);
        return true;
      }),
    watch: () => () => {},
  };
}

async function readTokens(path: string): Promise<readonly TokenRecord[]> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  try {
    const file = JSON.parse(text) as TokenFile;
    if (file.format !== 1 || !Array.isArray(file.tokens)) throw new Error('unknown format');
    return file.tokens;
  } catch (cause) {
    throw new IpeError('corrupt', `token file \`${path}\` cannot be read; restore it from a backup`, { cause });
  }
}

/** Writes a file that only its owner can read: whole or not at all, and on disk once resolved. */
export async function writePrivately(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const beside = `${path}.new`;
  const file = await open(beside, 'w', 0o600);
  try {
    await chmod(beside, 0o600);
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(beside, path);
  const folder = await open(dirname(path), 'r');
  await folder.sync().finally(() => folder.close());
}
