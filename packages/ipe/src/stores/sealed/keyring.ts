import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { IpeError, isIpeError } from '@ipe/core';

/** A key that seals rows, and the number under which rows name it. */
export interface DataKey {
  readonly id: number;
  readonly key: Uint8Array;
}

/** How far resealing has come: families before `family` are done, and in it everything up to the stored key `after`. */
export interface ResealPlace {
  readonly family: string;
  /** Hexadecimal stored key. */
  readonly after: string;
  readonly rows: number;
}

interface RingFile {
  readonly format: 1;
  readonly keys: readonly { readonly id: number; readonly wrapped: string }[];
  readonly names: string;
  readonly resealing?: ResealPlace;
}

interface RingState {
  readonly keys: readonly DataKey[];
  readonly names: Uint8Array;
  readonly resealing?: ResealPlace;
}

/**
 * The keys of a sealed store: data keys by id and the key that hides names, kept in one file wrapped by the master key.
 * Every change is durable once its promise resolves.
 */
export class Keyring {
  readonly path: string;
  #master: Uint8Array;
  #state: RingState;
  /** Forgotten keys, for snapshots taken before: in memory only. */
  #retired: readonly DataKey[] = [];

  private constructor(path: string, master: Uint8Array, state: RingState) {
    this.path = path;
    this.#master = master;
    this.#state = state;
  }

  /** A new ring with one data key, written to `path`. */
  static async create(path: string, master: Uint8Array): Promise<Keyring> {
    const ring = new Keyring(path, master, { keys: [newDataKey(1)], names: randomBytes(32) });
    await ring.#save(ring.#state);
    return ring;
  }

  /**
   * The ring in the file at `path`, or undefined when there is none.
   * @throws IpeError `unavailable` when the master key is not the one it was wrapped by, `corrupt` when it is no ring
   */
  static async open(path: string, master: Uint8Array): Promise<Keyring | undefined> {
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (text === undefined) return undefined;
    const file = parseRing(text, path);
    const unwrap = (wrapped: string, purpose: string) => unwrapKey(master, wrapped, purpose, path);
    const keys = file.keys.map(({ id, wrapped }) => ({ id, key: unwrap(wrapped, `data ${id}`) }));
    const state = { keys, names: unwrap(file.names, 'names'), ...(file.resealing && { resealing: file.resealing }) };
    return new Keyring(path, master, state);
  }

  /** The data key that new rows are sealed with. */
  get current(): DataKey {
    return this.#state.keys.at(-1)!;
  }

  /** The key of the HMACs that stand for names. */
  get names(): Uint8Array {
    return this.#state.names;
  }

  /** The place of an unfinished reseal. */
  get resealing(): ResealPlace | undefined {
    return this.#state.resealing;
  }

  find(id: number): DataKey | undefined {
    const isIt = (key: DataKey) => key.id === id;
    return this.#state.keys.find(isIt) ?? this.#retired.find(isIt);
  }

  /** Wraps the ring by another master key; the old one opens it no more. */
  async rewrap(master: Uint8Array): Promise<void> {
    const before = this.#master;
    this.#master = master;
    try {
      await this.#save(this.#state);
    } catch (error) {
      this.#master = before;
      throw error;
    }
  }

  /** Adds a data key, makes it the current one and notes that the rest has to be resealed from `place` on. */
  async rotate(place: ResealPlace): Promise<void> {
    const keys = [...this.#state.keys, newDataKey(this.current.id + 1)];
    await this.#save({ ...this.#state, keys, resealing: place });
  }

  /** Notes how far resealing has come. */
  async reach(place: ResealPlace): Promise<void> {
    await this.#save({ ...this.#state, resealing: place });
  }

  /** Forgets all data keys but the current one: nothing is sealed with them any more. */
  async finish(): Promise<void> {
    const { keys, names } = this.#state;
    await this.#save({ keys: [this.current], names });
    this.#retired = [...this.#retired, ...keys.slice(0, -1)];
  }

  /** Writes the ring beside itself and renames, so that a crash leaves the old or the new one whole. */
  async #save(state: RingState): Promise<void> {
    const file: RingFile = {
      format: 1,
      keys: state.keys.map(({ id, key }) => ({ id, wrapped: wrapKey(this.#master, key, `data ${id}`) })),
      names: wrapKey(this.#master, state.names, 'names'),
      ...(state.resealing && { resealing: state.resealing }),
    };
    const next = `${this.path}.next`;
    const handle = await open(next, 'w', 0o600);
    try {
      await handle.writeFile(`${JSON.stringify(file, null, 1)}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(next, this.path);
    const directory = await open(dirname(this.path), 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
    this.#state = state;
  }
}

/**
 * The master key in a file: 32 bytes as hexadecimal or base64 text.
 * @throws IpeError `unavailable` naming what is wrong with the file
 */
export async function readMasterKey(path: string): Promise<Uint8Array> {
  let text: string;
  try {
    text = (await readFile(path, 'utf8')).trim();
  } catch (error) {
    throw new IpeError('unavailable', `the key file \`${path}\` cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const key = /^[0-9a-fA-F]{64}$/.test(text)
    ? Buffer.from(text, 'hex')
    : /^[A-Za-z0-9+/_-]{43}=?$/.test(text)
      ? Buffer.from(text, 'base64')
      : undefined;
  if (key?.length === 32) return new Uint8Array(key);
  throw new IpeError(
    'unavailable',
    `the key file \`${path}\` does not hold 32 bytes as hexadecimal or base64 text; make one with \`openssl rand -hex 32\``,
  );
}

function newDataKey(id: number): DataKey {
  return { id, key: randomBytes(32) };
}

function parseRing(text: string, path: string): RingFile {
  try {
    const file = JSON.parse(text) as RingFile;
    const whole =
      file.format === 1 &&
      Array.isArray(file.keys) &&
      file.keys.length > 0 &&
      file.keys.every(({ id, wrapped }) => Number.isInteger(id) && typeof wrapped === 'string') &&
      typeof file.names === 'string';
    if (whole) return file;
  } catch {
    // falls through to the one message there is for a ring that is none
  }
  throw new IpeError('corrupt', `the key ring \`${path}\` is damaged; restore it from a backup of the store`);
}

function wrapKey(master: Uint8Array, key: Uint8Array, purpose: string): string {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', master, nonce).setAAD(Buffer.from(`ipe key ring 1 ${purpose}`));
  return Buffer.concat([nonce, cipher.update(key), cipher.final(), cipher.getAuthTag()]).toString('base64');
}

function unwrapKey(master: Uint8Array, wrapped: string, purpose: string, path: string): Uint8Array {
  const bytes = Buffer.from(wrapped, 'base64');
  try {
    if (bytes.length !== 12 + 32 + 16)
      throw new IpeError('corrupt', `the key ring \`${path}\` is damaged; restore it from a backup of the store`);
    const decipher = createDecipheriv('aes-256-gcm', master, bytes.subarray(0, 12))
      .setAAD(Buffer.from(`ipe key ring 1 ${purpose}`))
      .setAuthTag(bytes.subarray(44));
    return new Uint8Array(Buffer.concat([decipher.update(bytes.subarray(12, 44)), decipher.final()]));
  } catch (error) {
    if (isIpeError(error)) throw error;
    throw new IpeError(
      'unavailable',
      `the key file is not the one that the store was sealed with, or \`${path}\` was changed; name the right one in \`data_plane.security.encryption_key_path\``,
      { details: { keyring: path }, cause: error },
    );
  }
}
