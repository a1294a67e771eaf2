import { mkdir, readdir } from 'node:fs/promises';
import { IpeError } from '@ipe/core';

/**
 * Makes a folder, or takes an empty one.
 * @param shown the folder as the user wrote it
 * @throws IpeError `conflict` where something is in it, `unavailable` where it cannot be made
 */
export async function makeEmptyFolder(path: string, shown: string): Promise<string> {
  try {
    await mkdir(path, { recursive: true });
    if ((await readdir(path)).length === 0) return path;
  } catch (cause) {
    throw new IpeError('unavailable', `\`${shown}\` cannot be made (${(cause as NodeJS.ErrnoException).code})`, {
      cause,
    });
  }
  throw new IpeError('conflict', `\`${shown}\` is not empty; name a folder that holds nothing yet`);
}
