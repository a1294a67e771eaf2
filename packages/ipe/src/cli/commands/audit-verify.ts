import { join } from 'node:path';
import type { Command } from 'commander';
import { verifyAudit } from '../../security/audit.ts';
import type { Cli } from '../cli.ts';
import { stateDirectory } from '../connect.ts';

export function define(command: Command, cli: Cli): void {
  command
    .argument('[folder]', "folder of audit files; absent: that of the node's state directory")
    .option('--dir <folder>', "the node's state directory (default: $IPE_DIR, else .ipe)")
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nChecks the chain of hashes from line to line and file to file. Exits with 1 where it is broken.\n\nExample:\n  ipe audit verify --dir /var/lib/ipe',
    )
    .action(async (folder: string | undefined, options: { dir?: string; json?: boolean }) => {
      const report = await verifyAudit(
        folder === undefined ? join(stateDirectory(cli, options), 'audit') : cli.path(folder),
      );
      cli.show(options, report, () => {
        for (const { file, line, message } of report.problems)
          cli.out.line(`${file}:${line}: ${cli.out.color.red('broken:')} ${message}`);
        if (report.problems.length === 0)
          cli.out.line(
            `${cli.out.color.green('unbroken')}, ${report.lines} lines in ${report.files} files, head ${report.head.number} ${report.head.hash.slice(0, 12)}`,
          );
      });
      if (report.problems.length > 0) cli.exitCode = 1;
    });
}
