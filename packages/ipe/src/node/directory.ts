import { randomBytes } from 'node:crypto';
import { link, mkdir, readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { IpeError } from '@ipe/core';

/** Where everything of a node lies under its state directory. */
export interface Layout {
  readonly root: string;
  readonly run: string;
  readonly policies: string;
  readonly data: string;
  readonly keys: string;
  readonly audit: string;
  readonly mirrors: string;
  readonly credentials: string;
  readonly tokens: string;
  readonly lock: string;
  readonly sockets: { readonly control: string; readonly data: string; readonly evaluation: string };
}

/** The layout of API.md under `directory`, with the places that configuration may move. */
export function layoutOf(
  directory: string,
  places: { policies?: string | undefined; data?: string | undefined } = {},
): Layout {
  const root = resolve(directory);
  const run = join(root, 'run');
  return {
    root,
    run,
    policies: resolve(root, places.policies ?? 'policies'),
    data: resolve(root, places.data ?? 'data'),
    keys: join(root, 'keys'),
    audit: join(root, 'audit'),
    mirrors: join(root, 'mirrors'),
    credentials: join(root, 'credentials.json'),
    tokens: join(root, 'keys', 'tokens.json'),
    lock: join(root, 'node.lock'),
    sockets: { control: join(run, 'control.sock'), data: join(run, 'data.sock'), evaluation: join(run, 'eval.sock') },
  };
}

/** Makes the folders of a layout; the state directory is its owner's alone, but for the sockets. */
export async function makeFolders(layout: Layout): Promise<void> {
  try {
    await mkdir(layout.root, { recursive: true, mode: 0o755 });
    await mkdir(layout.run, { recursive: true, mode: 0o755 });
    for (const folder of [layout.keys, layout.audit]) await mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new IpeError('unavailable', `the state directory \`${layout.root}\` cannot be used: ${code ?? cause}`, {
      details: { directory: layout.root },
      cause,
    });
  }
}

/** Who holds a directory. `start` tells a process from a later one with the same number. */
interface Holder {
  readonly pid: number;
  readonly start: string;
  readonly nonce: string;
}

/**
 * Takes a state directory for this process. A lock left by a process that was killed is taken over. (The stores hold
 * kernel locks besides; this one is there to say who is in the way, and for nodes that keep nothing on disk.)
 * @returns how to give it back.
 * @throws IpeError `unavailable`, naming the process that has it open.
 */
export async function lockDirectory(layout: Layout): Promise<() => Promise<void>> {
  const self: Holder = { pid: process.pid, start: await startOf(process.pid), nonce: randomBytes(8).toString('hex') };
  for (let attempt = 0; ; attempt++) {
    try {
      // Linked into place with its content, so that nobody ever reads half a lock.
      const draft = `${layout.lock}.${self.nonce}`;
      await writeFile(draft, `${JSON.stringify(self)}\n`);
      await link(draft, layout.lock).finally(() => unlink(draft));
      return async () => {
        if ((await readHolder(layout.lock))?.nonce === self.nonce) await unlink(layout.lock).catch(() => undefined);
      };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const holder = await readHolder(layout.lock);
    if (holder !== undefined && (await isAlive(holder))) throw heldBy(layout, holder);
    if (attempt >= 5)
      throw new IpeError('unavailable', `\`${layout.lock}\` cannot be taken over; remove it if no node runs`);
    await removeStale(layout.lock, holder);
  }
}

/** The process that has a directory open; undefined where none has. */
export async function holderOf(layout: Layout): Promise<number | undefined> {
  const holder = await readHolder(layout.lock);
  return holder !== undefined && (await isAlive(holder)) ? holder.pid : undefined;
}

const heldBy = (layout: Layout, holder: Holder) =>
  new IpeError(
    'unavailable',
    `\`${layout.root}\` is open in another node (process ${holder.pid}): stop it, or use another \`--dir\``,
    {
      details: { directory: layout.root, pid: holder.pid },
    },
  );

/** Moves a stale lock aside; should another process have taken it meanwhile, it is put back. */
async function removeStale(path: string, judged: Holder | undefined): Promise<void> {
  const aside = `${path}.${randomBytes(4).toString('hex')}`;
  try {
    await rename(path, aside);
  } catch {
    return;
  }
  const moved = await readHolder(aside);
  if (moved?.nonce === judged?.nonce) await unlink(aside).catch(() => undefined);
  else await rename(aside, path);
}

async function readHolder(path: string): Promise<Holder | undefined> {
  try {
    const holder = JSON.parse(await readFile(path, 'utf8')) as Holder;
    return Number.isSafeInteger(holder.pid) ? holder : undefined;
  } catch {
    return undefined;
  }
}

async function isAlive({ pid, start }: Holder): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  const now = await startOf(pid);
  return start === '' || now === '' || now === start;
}

/** When a process was started, in the kernel's ticks since boot; empty where the system does not tell. */
async function startOf(pid: number): Promise<string> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}
