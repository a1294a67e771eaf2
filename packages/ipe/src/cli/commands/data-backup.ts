import { once } from 'node:events';
import { open, rename, rm } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import type { Client } from '@ipe/client';
import type { FactsPiece } from '@ipe/client/protocol';
import { isIpeError } from '@ipe/core';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { startProgress } from '../progress.ts';

/** Times that one piece is asked for again when the connection fails. */
const attemptsMax = 5;

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('[file]', 'where to; absent or `-`: standard output')
    .addHelpText(
      'after',
      `
All facts of one moment, deletions included, with the ids of the writes they stem from: for recovery. \`ipe data export\`
writes facts for people instead. The file holds values in clear even where the store is sealed; it is made readable to
you alone, and appears under its name when it is whole.

Example:
  ipe data backup facts.ipe`,
    )
    .action(async (file: string | undefined, options: NodeOptions) => {
      const progress = await startProgress(cli, 'backing up');
      const entries = await withPlane(cli, options, 'control', ({ control }) =>
        file === undefined || file === '-'
          ? readPieces(control, progress, async (text) => {
              if (!cli.io.stdout.write(text)) await once(cli.io.stdout, 'drain');
            })
          : toFile(cli.path(file), (write) => readPieces(control, progress, write)),
      ).finally(() => progress.done());
      cli.out.note(`backed up ${entries} facts`);
    });
}

async function readPieces(
  control: Client['control'],
  progress: { update(text: string): void },
  write: (text: string) => Promise<void>,
): Promise<number> {
  let cursor: string | undefined;
  for (;;) {
    const piece = await readPiece(control, cursor);
    await write(`${piece.lines}\n`);
    progress.update(`backed up ${piece.entries} facts`);
    if (piece.next === undefined) return piece.entries;
    cursor = piece.next;
  }
}

/** The node holds the moment of the backup for some minutes, so a piece that was lost on the way can be had again. */
async function readPiece(control: Client['control'], cursor: string | undefined): Promise<FactsPiece> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await control.call('data-backup', cursor === undefined ? {} : { cursor });
    } catch (error) {
      const isLost = !isIpeError(error) || error.reason === 'unavailable';
      if (!isLost || cursor === undefined || attempt === attemptsMax) throw error;
      await pause(200 * 2 ** attempt);
    }
  }
}

async function toFile<T>(path: string, fill: (write: (text: string) => Promise<void>) => Promise<T>): Promise<T> {
  const partial = `${path}.partial`;
  const file = await open(partial, 'w', 0o600);
  try {
    const result = await fill(async (text) => void (await file.write(text)));
    await file.datasync();
    await file.close();
    await rename(partial, path);
    return result;
  } catch (error) {
    await file.close().catch(() => {});
    await rm(partial, { force: true });
    throw error;
  }
}
