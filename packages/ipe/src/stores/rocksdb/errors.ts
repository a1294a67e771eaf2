import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { IpeError, isIpeError } from '@ipe/core';
import { causes } from './load.ts';

/** Name of the file that says which process holds a store, for the message the next one gets. */
export const holderFile = 'HOLDER';

/** What a store that did not open says, in the words of someone who has to act on it. */
export async function explainOpenFailure(directory: string, error: unknown): Promise<IpeError> {
  if (isIpeError(error)) return error;
  const text = causes(error).join(': ');
  const details = { directory, cause: text };
  if (/lock hold by|while lock file|\/LOCK: /i.test(text))
    return new IpeError('unavailable', `the store in \`${directory}\` is held by ${await holder(directory)}`, {
      details,
      cause: error,
    });
  const unopened = /Column families not opened: (.*)/.exec(text)?.[1];
  if (unopened !== undefined)
    return new IpeError(
      'unavailable',
      `the store in \`${directory}\` has families this version does not know (${unopened}); open it with the version that wrote it`,
      { details, cause: error },
    );
  if (isNoSpace(text)) return noSpace(directory, error);
  if (isSystemFailure(text))
    return new IpeError('unavailable', `the store in \`${directory}\` cannot be opened: ${text}`, {
      details,
      cause: error,
    });
  return new IpeError(
    'corrupt',
    `the store in \`${directory}\` is damaged: ${text}; restore it from a backup, or move the directory away to start empty`,
    { details, cause: error },
  );
}

/** What a failed write says. Nothing of it is visible to reads. */
export function explainWriteFailure(directory: string, error: unknown): IpeError {
  const text = causes(error).join(': ');
  if (isNoSpace(text)) return noSpace(directory, error);
  return new IpeError('unavailable', `writing to the store in \`${directory}\` failed: ${text}`, {
    details: { directory, cause: text },
    state: 'unknown',
    cause: error,
  });
}

/** What a failed read says: damage is never passed over as absence. */
export function explainReadFailure(directory: string, error: unknown): IpeError {
  if (isIpeError(error)) return error;
  const text = causes(error).join(': ');
  if (/corruption|checksum|mismatch|bad block|truncated/i.test(text))
    return new IpeError('corrupt', `the store in \`${directory}\` is damaged: ${text}`, {
      details: { directory, cause: text },
      cause: error,
    });
  return new IpeError('unavailable', `reading from the store in \`${directory}\` failed: ${text}`, {
    details: { directory, cause: text },
    cause: error,
  });
}

function noSpace(directory: string, cause: unknown): IpeError {
  return new IpeError(
    'unavailable',
    `no space is left for the store in \`${directory}\`; free some: facts are taken again by themselves then, policies after a restart`,
    { details: { directory, cause: causes(cause).join(': ') }, cause },
  );
}

/** Whether room is all that a failure asks for. */
export const isWantOfRoom = (error: unknown) => isNoSpace(causes(error).join(': '));

const isNoSpace = (text: string) => /no space left|disk quota exceeded|file too large/i.test(text);

/** Conditions of the machine rather than of the stored bytes. */
const isSystemFailure = (text: string) =>
  /permission denied|read-only file system|too many open files|cannot allocate memory|operation not permitted|not a directory|file name too long/i.test(
    text,
  );

async function holder(directory: string): Promise<string> {
  const text = await readFile(join(directory, holderFile), 'utf8').catch(() => '');
  const pid = /^pid (\d+)$/m.exec(text)?.[1];
  const name = /^name (.*)$/m.exec(text)?.[1];
  if (pid === undefined) return 'another process; stop it first';
  if (pid === String(process.pid)) return 'this process already; close it before opening it again';
  return `${name === undefined ? 'the process' : `\`${name}\`,`} process ${pid}; stop it first`.replace(
    'the process process',
    'process',
  );
}
