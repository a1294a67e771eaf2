import { open, readdir, stat, statfs, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { IpeError } from '@ipe/core';

/** Room that a store needs beyond its log: new files, and some writes before it is full again. */
const spareBytes = 8 * 1024 * 1024;
const chunk = new Uint8Array(1024 * 1024);
const probeFile = 'ROOM.probe';

/**
 * Makes sure that a store can be opened: what its log holds is written to table files then, and a store that was closed
 * and does not open answers no reads. Free space is asked for first and then tried, because quotas show only so.
 * @throws IpeError `unavailable` saying how much is missing
 */
export async function assertRoom(directory: string): Promise<void> {
  const needed = spareBytes + (await logBytes(directory));
  const { bavail, bsize } = await statfs(directory);
  if (bavail * bsize < needed) throw wantOfRoom(directory, needed);
  const path = join(directory, probeFile);
  try {
    const file = await open(path, 'w', 0o600);
    try {
      for (let at = 0; at < needed; at += chunk.length)
        await file.write(chunk, 0, Math.min(chunk.length, needed - at), at);
      await file.datasync();
    } finally {
      await file.close();
    }
  } catch (error) {
    throw wantOfRoom(directory, needed, error);
  } finally {
    await unlink(path).catch(() => undefined);
  }
}

async function logBytes(directory: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(directory))
    if (name.endsWith('.log'))
      bytes += await stat(join(directory, name)).then(
        ({ size }) => size,
        () => 0,
      );
  return bytes;
}

function wantOfRoom(directory: string, neededBytes: number, cause?: unknown): IpeError {
  return new IpeError(
    'unavailable',
    `no space is left for the store in \`${directory}\`: it takes writes again once there are ${Math.ceil(neededBytes / 2 ** 20)} MiB`,
    { details: { directory, needed_bytes: neededBytes }, ...(cause !== undefined && { cause }) },
  );
}
