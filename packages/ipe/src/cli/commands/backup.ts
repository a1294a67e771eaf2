import type { Command } from 'commander';
import { downloadBackup } from '../backup-file.ts';
import type { Cli } from '../cli.ts';
import { longWorkSeconds, type NodeOptions, onNode, withPlane } from '../connect.ts';
import { bytes, shortId } from '../output.ts';
import { startProgress } from '../progress.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command, longWorkSeconds)
    .argument('<file>', 'where to; it appears when it is whole')
    .option('--since <commit>', 'only what came after this commit: an incremental backup')
    .addHelpText(
      'after',
      `
Policies with their history. A full backup is a tar archive of a bare Git repository, an incremental one a Git bundle;
\`ipe import\` restores both. Facts have \`ipe data export\`.

Examples:
  ipe backup policies.tar
  ipe backup monday.bundle --since 3f2a9c`,
    )
    .action(async (file: string, options: NodeOptions & { since?: string }) => {
      const progress = await startProgress(cli, 'writing the backup');
      const report = await withPlane(cli, options, 'control', ({ control }) =>
        downloadBackup(control, cli.path(file), options.since, (done, all) =>
          progress.update(`${bytes(done)} of ${bytes(all)}`),
        ),
      ).finally(() => progress.done());
      cli.show(options, { file, ...report }, () =>
        cli.out.line(
          `wrote ${file}: ${report.kind}, commit ${shortId(report.commit)}, ${report.objects} objects, ${bytes(report.size_bytes)}`,
        ),
      );
    });
}
