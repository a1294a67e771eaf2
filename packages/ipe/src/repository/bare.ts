import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';
import { IpeError } from '@ipe/core';
import { toHex } from '@ipe/core/bytes';
import { unframeObject } from '@ipe/core/git';
import type { PolicyStore, StoreCopy, TransferObject } from '@ipe/core/tree';
import { readPack } from './pack-reader.ts';
import { packIndex, writePack } from './pack-writer.ts';

/** What an export wrote. */
export interface ExportReport {
  readonly directory: string;
  readonly commit: string | null;
  readonly objects: number;
  readonly refs: number;
  readonly sizeBytes: number;
}

/**
 * Writes the store as a bare Git repository (SHA-256 object format), on which stock `git fsck --strict`, `log`, `diff`
 * and `clone` work. Branches are heads, pins are tags, each policy's newest version is `refs/ipe/policy/<path>.policy`.
 *
 * @param directory  must not exist or be empty; appears under its name only when everything is in it
 * @throws IpeError `invalid_params` when something is there; `corrupt` when an object of the store is damaged
 */
export async function exportRepository(store: PolicyStore, directory: string): Promise<ExportReport> {
  const present = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    if (error.code === 'ENOTDIR') return ['it'];
    throw error;
  });
  if (present !== undefined && present.length > 0) {
    throw new IpeError('invalid_params', `\`${directory}\` is not empty; export into a new directory`);
  }
  const temporary = `${directory.replace(/\/+$/, '')}.tmp-${process.pid}`;
  await rm(temporary, { recursive: true, force: true });
  const copy = await store.copy();
  try {
    const sizeBytes = await writeRepository(temporary, copy);
    await rm(directory, { recursive: true, force: true });
    await rename(temporary, directory);
    return { directory, commit: copy.commit, objects: copy.count, refs: copy.refs.length, sizeBytes };
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw error;
  } finally {
    copy.release();
  }
}

async function writeRepository(directory: string, copy: StoreCopy): Promise<number> {
  const packs = join(directory, 'objects', 'pack');
  await mkdir(packs, { recursive: true });
  for (const folder of ['objects/info', 'refs/heads', 'refs/tags'])
    await mkdir(join(directory, folder), { recursive: true });
  await writeFile(join(directory, 'HEAD'), 'ref: refs/heads/main\n');
  const config =
    '[core]\n\trepositoryformatversion = 1\n\tfilemode = false\n\tbare = true\n[extensions]\n\tobjectformat = sha256\n';
  await writeFile(join(directory, 'config'), config);
  await writeFile(join(directory, 'description'), 'Policies of an IPE node\n');
  const refs = copy.refs.map(([name, id]) => `${id} ${name}\n`);
  await writeFile(join(directory, 'packed-refs'), `# pack-refs with: sorted \n${refs.join('')}`);
  if (copy.shallow.length > 0)
    await writeFile(join(directory, 'shallow'), copy.shallow.map((id) => `${id}\n`).join(''));
  if (copy.count === 0) return 0;
  const temporary = join(packs, 'pack.tmp');
  const file = await open(temporary, 'wx');
  try {
    const pack = await writePack(file, copy.count, copy.objects());
    const name = join(packs, `pack-${toHex(pack.checksum)}`);
    await writeFile(`${name}.idx`, packIndex(pack));
    await file.sync();
    await rename(temporary, `${name}.pack`);
    return pack.sizeBytes;
  } finally {
    await file.close();
  }
}

/** A repository as far as an import needs it. */
export interface RepositoryContent {
  /** Full names of refs and the ids they stand at. */
  readonly refs: ReadonlyMap<string, string>;
  readonly shallow: readonly string[];
  objects(): AsyncIterable<TransferObject>;
}

/**
 * Reads a bare repository of SHA-256 object format from its files: packs (deltas too), loose objects, packed and loose refs.
 * @throws IpeError `invalid_params` where none is, or one of another object format
 */
export async function readRepository(directory: string): Promise<RepositoryContent> {
  const config = await readFile(join(directory, 'config'), 'utf8').catch(() => undefined);
  if (config === undefined)
    throw new IpeError('invalid_params', `\`${directory}\` is no bare Git repository: it has no \`config\``);
  if (!/^\s*objectformat\s*=\s*sha256\s*$/im.test(config)) {
    const message = `\`${directory}\` does not have Git's SHA-256 object format; sync it with \`ipe sync\` instead of importing it`;
    throw new IpeError('invalid_params', message);
  }
  if (/^\s*refstorage\s*=\s*reftable\s*$/im.test(config)) {
    throw new IpeError(
      'invalid_params',
      `\`${directory}\` keeps its refs as reftable; clone it with \`--ref-format=files\` first`,
    );
  }
  const shallow = (await readFile(join(directory, 'shallow'), 'utf8').catch(() => ''))
    .split('\n')
    .filter((id) => id !== '');
  return { refs: await readRefs(directory), shallow, objects: () => readObjects(join(directory, 'objects')) };
}

async function readRefs(directory: string): Promise<Map<string, string>> {
  const refs = new Map<string, string>();
  const packed = await readFile(join(directory, 'packed-refs'), 'utf8').catch(() => '');
  for (const [, id, name] of packed.matchAll(/^([0-9a-f]{64}) (refs\/\S+)$/gm)) refs.set(name!, id!);
  const visit = async (folder: string): Promise<void> => {
    const entries = await readdir(join(directory, folder), { withFileTypes: true }).catch(() => []);
    for (const entry of entries) {
      const name = `${folder}/${entry.name}`;
      if (entry.isDirectory()) await visit(name);
      else {
        const text = (await readFile(join(directory, name), 'utf8')).trim();
        if (/^[0-9a-f]{64}$/.test(text)) refs.set(name, text);
      }
    }
  };
  await visit('refs');
  return refs;
}

async function* readObjects(directory: string): AsyncGenerator<TransferObject> {
  const loose = async (id: string): Promise<TransferObject | undefined> => {
    const file = join(directory, id.slice(0, 2), id.slice(2));
    const bytes = await readFile(file).catch(() => undefined);
    return bytes === undefined ? undefined : inflateLoose(id, bytes);
  };
  for (const name of (await readdir(join(directory, 'pack')).catch(() => [])).sort()) {
    if (name.endsWith('.pack')) yield* readPack(await readFile(join(directory, 'pack', name)), loose);
  }
  for (const folder of (await readdir(directory)).sort()) {
    if (!/^[0-9a-f]{2}$/.test(folder)) continue;
    for (const name of (await readdir(join(directory, folder))).sort()) {
      const object = /^[0-9a-f]{62}$/.test(name) ? await loose(folder + name) : undefined;
      if (object !== undefined) yield object;
    }
  }
}

function inflateLoose(id: string, bytes: Uint8Array): TransferObject {
  try {
    return unframeObject(inflateSync(bytes, { maxOutputLength: 64 * 1024 * 1024 }));
  } catch (cause) {
    throw new IpeError('corrupt', `loose object \`${id}\` is damaged`, { details: { object: id }, cause });
  }
}
