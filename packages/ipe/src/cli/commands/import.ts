import { mkdtemp, open, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IpeError } from '@ipe/core';
import type { Command } from 'commander';
import { writeTar } from '../../repository/tar.ts';
import { uploadBackup } from '../backup-file.ts';
import type { Cli } from '../cli.ts';
import { longWorkSeconds, type NodeOptions, onNode, withPlane } from '../connect.ts';
import { bytes, shortId } from '../output.ts';
import { startProgress } from '../progress.ts';
import { given } from '../values.ts';

interface Options extends NodeOptions {
  readonly branch?: string;
  readonly message?: string;
}

export function define(command: Command, cli: Cli): void {
  onNode(command, longWorkSeconds)
    .argument('<source>', 'bare repository as `ipe export` writes it, or a backup of `ipe backup`')
    .option('--branch <branch>', 'branch of the repository to take (default: main)')
    .option('-m, --message <text>', 'why')
    .addHelpText(
      'after',
      `
Forward-only: where the history continues the node's own it is followed, else one new commit carries the content.
A Git repository of policy files is something else: bring it in with \`ipe sync\`.

Examples:
  ipe import policies.git
  ipe import policies.tar && ipe import monday.bundle`,
    )
    .action(async (source: string, options: Options) => {
      const scratch = await mkdtemp(join(tmpdir(), 'ipe-import-'));
      const progress = await startProgress(cli, 'importing');
      try {
        const file = await fileOf(cli, source, scratch);
        const { branch, message } = options;
        const result = await withPlane(cli, options, 'control', ({ control }) =>
          uploadBackup(control, file, given({ branch, message }), (done, all) =>
            progress.update(`${bytes(done)} of ${bytes(all)}`),
          ),
        );
        cli.show(options, result, () => {
          const how = {
            'fast-forward': 'continued the history',
            restored: 'restored as a new commit',
            none: 'nothing new in it',
          }[result.outcome];
          cli.out.line(`${how}: ${result.changed.length} policies changed, ${result.stored_objects} objects stored`);
          cli.out.line(`commit ${shortId(result.commit)}, root ${shortId(result.root)}`);
        });
      } finally {
        progress.done();
        await rm(scratch, { recursive: true, force: true });
      }
    });
}

/** A backup as it is; a folder as the tar archive that a backup of it would be. */
async function fileOf(cli: Cli, source: string, scratch: string): Promise<string> {
  const path = cli.path(source);
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) throw new IpeError('not_found', `there is no \`${source}\``);
  if (!found.isDirectory()) return path;
  const head = await stat(join(path, 'HEAD')).catch(() => undefined);
  if (head === undefined)
    throw new IpeError(
      'invalid_params',
      `\`${source}\` is not a bare repository; \`ipe sync\` and \`ipe apply\` take policy files`,
    );
  const file = join(scratch, 'repository.tar');
  const handle = await open(file, 'wx');
  await writeTar(handle, path, cli.io.now()).finally(() => handle.close());
  return file;
}
