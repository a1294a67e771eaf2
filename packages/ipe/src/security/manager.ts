import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { IpeError } from '@ipe/core';
import type { TokenRegistry } from './authenticator.ts';
import type { TokenStore } from './store.ts';
import { issueToken, recordOf, type TokenGrant, type TokenRecord } from './tokens.ts';

/** A token without its hash, as lists show it. */
export type TokenInfo = Omit<TokenRecord, 'hash'>;

export interface TokenManagerOptions {
  readonly store: TokenStore;
  readonly registry: TokenRegistry;
  readonly nowSeconds: () => number;
  /** Folder of token files; see `readTokenFolder`. */
  readonly folder?: string;
}

/** Issues, lists and revokes tokens; what it changes holds from the next request on, without a restart. */
export class TokenManager {
  readonly #options: TokenManagerOptions;
  readonly #stopWatching: () => void;
  #fromFolder: readonly TokenRecord[] = [];

  private constructor(options: TokenManagerOptions) {
    this.#options = options;
    this.#stopWatching = options.store.watch(() => void this.#refresh());
  }

  /** Reads the tokens of the store and of the folder. @throws IpeError `invalid_params` for a bad file in the folder. */
  static async open(options: TokenManagerOptions): Promise<TokenManager> {
    const manager = new TokenManager(options);
    await manager.reload();
    return manager;
  }

  /**
   * Reads store and folder again; tokens that are gone stop working.
   * @throws IpeError `invalid_params` for a bad file in the folder, whose token stops working; all others are read
   */
  async reload(): Promise<void> {
    const { folder, nowSeconds } = this.#options;
    const found = folder === undefined ? noTokens : await readTokenFolder(folder, nowSeconds());
    this.#fromFolder = found.records;
    await this.#refresh();
    if (found.problems.length > 0)
      throw new IpeError('invalid_params', found.problems.map(({ message }) => message).join('; '), {
        details: { paths: found.problems.map(({ path }) => path) },
      });
  }

  /** Issues a token. Its text is in the result and nowhere else. */
  async create(grant: TokenGrant): Promise<{ token: string; info: TokenInfo }> {
    const { token, record } = issueToken(grant, this.#options.nowSeconds());
    await this.#options.store.put(record);
    await this.#refresh();
    return { token, info: withoutHash(record) };
  }

  /** All tokens, oldest first; those of the folder included. */
  async list(): Promise<TokenInfo[]> {
    const all = [...(await this.#options.store.list()), ...this.#fromFolder];
    return all.sort((a, b) => a.created_at - b.created_at).map(withoutHash);
  }

  /**
   * Revokes the token whose id is, or alone begins with, `idOrPrefix`.
   * @throws IpeError `not_found`, `invalid_params` (ambiguous), `conflict` (it comes from a file of the folder).
   */
  async revoke(idOrPrefix: string): Promise<TokenInfo> {
    const all = [...(await this.#options.store.list()), ...this.#fromFolder];
    const matches = all.filter(({ id }) => id.startsWith(idOrPrefix));
    const record = matches.find(({ id }) => id === idOrPrefix) ?? matches[0];
    if (record === undefined || idOrPrefix === '')
      throw new IpeError('not_found', `no token with the id \`${idOrPrefix}\`; \`token-list\` shows them`, {
        details: { id: idOrPrefix },
      });
    if (matches.length > 1 && record.id !== idOrPrefix)
      throw new IpeError(
        'invalid_params',
        `\`${idOrPrefix}\` begins the ids of ${matches.length} tokens; give more of it`,
        {
          details: { field: 'id', matches: matches.map(({ id }) => id) },
        },
      );
    if (this.#fromFolder.includes(record))
      throw new IpeError(
        'conflict',
        `the token of \`${record.name}\` comes from \`tokens_path\`: remove its file and send SIGHUP`,
        {
          details: { id: record.id },
        },
      );
    await this.#options.store.remove(record.id);
    await this.#refresh();
    return withoutHash(record);
  }

  close(): void {
    this.#stopWatching();
  }

  async #refresh(): Promise<void> {
    this.#options.registry.replace([...(await this.#options.store.list()), ...this.#fromFolder]);
  }
}

/** Shortest text taken as a token of one's own: 128 bits in base64. */
const ownTokenMin = 22;

interface TokenFolder {
  readonly records: readonly TokenRecord[];
  readonly problems: readonly { readonly path: string; readonly message: string }[];
}

const noTokens: TokenFolder = { records: [], problems: [] };

/**
 * Service tokens from files: the file is named after the service (`deployment-service` or `deployment-service.token`)
 * and holds the token's text. Hidden files and folders are passed over.
 */
async function readTokenFolder(folder: string, nowSeconds: number): Promise<TokenFolder> {
  let entries: { name: string; isDirectory(): boolean }[];
  try {
    entries = await readdir(folder, { withFileTypes: true });
  } catch (cause) {
    throw new IpeError('invalid_params', `\`tokens_path\`: the folder \`${folder}\` cannot be read`, {
      details: { folder },
      cause,
    });
  }
  const records: TokenRecord[] = [];
  const problems: TokenFolder['problems'][number][] = [];
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.name.startsWith('.') || entry.isDirectory()) continue;
    const path = join(folder, entry.name);
    const token = await readFile(path, 'utf8').then(
      (text) => text.trim(),
      (error: NodeJS.ErrnoException) => error,
    );
    if (typeof token !== 'string') problems.push({ path, message: `\`${path}\` cannot be read: ${token.code}` });
    else if (token.length < ownTokenMin || /\s/.test(token))
      problems.push({
        path,
        message: `\`${path}\` holds no token: expected one line of at least ${ownTokenMin} characters`,
      });
    else records.push(recordOf(token, { kind: 'service', name: entry.name.replace(/\.token$/, '') }, nowSeconds));
  }
  return { records, problems };
}

const withoutHash = ({ hash: _, ...info }: TokenRecord): TokenInfo => info;
