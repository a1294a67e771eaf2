import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { readTar } from '../../repository/tar.ts';
import { downloadBackup } from '../backup-file.ts';
import type { Cli } from '../cli.ts';
import { longWorkSeconds, type NodeOptions, onNode, withPlane } from '../connect.ts';
import { makeEmptyFolder } from '../folders.ts';
import { bytes, shortId } from '../output.ts';
import { startProgress } from '../progress.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command, longWorkSeconds)
    .argument('<folder>', 'where to; must not hold anything yet')
    .addHelpText(
      'after',
      `
Writes the policies with all their history as a bare Git repository (SHA-256): stock git reads it.

Example:
  ipe export policies.git && git clone policies.git policies`,
    )
    .action(async (folder: string, options: NodeOptions) => {
      const target = await makeEmptyFolder(cli.path(folder), folder);
      const progress = await startProgress(cli, 'exporting');
      const scratch = await mkdtemp(join(tmpdir(), 'ipe-export-'));
      try {
        const archive = join(scratch, 'repository.tar');
        const report = await withPlane(cli, options, 'control', ({ control }) =>
          downloadBackup(control, archive, undefined, (done, all) =>
            progress.update(`${bytes(done)} of ${bytes(all)}`),
          ),
        );
        await readTar(archive, target);
        const { commit, objects } = report;
        cli.show(options, { folder, commit, objects }, () =>
          cli.out.line(`exported to ${folder}: commit ${shortId(commit)}, ${objects} objects`),
        );
      } finally {
        progress.done();
        await rm(scratch, { recursive: true, force: true });
      }
    });
}
