import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { bytes } from '../output.ts';
import { startProgress } from '../progress.ts';
import { wholeNumber } from '../values.ts';

interface Options extends NodeOptions {
  readonly retentionDays: number;
  readonly dryRun?: boolean;
}

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .option(
      '--retention-days <days>',
      'keep roots that were current within so many days',
      wholeNumber('--retention-days', 0),
      30,
    )
    .option('--dry-run', 'say what would be deleted, delete nothing')
    .addHelpText('after', '\nExample:\n  ipe gc --retention-days 90 --dry-run')
    .action(async (options: Options) => {
      const progress = await startProgress(cli, 'collecting');
      const report = await withPlane(cli, options, 'control', ({ control }) =>
        control.call('gc', { retention_days: options.retentionDays, dry_run: options.dryRun === true }),
      ).finally(() => progress.done());
      cli.show(options, report, () => {
        const { scanned, reachable, condemned, waiting, deleted, deleted_bytes: freed } = report;
        cli.out.line(
          `${scanned} objects, ${reachable} in use, ${condemned} condemned now, ${waiting} waiting for their grace to end`,
        );
        cli.out.line(`${report.dry_run ? 'would delete' : 'deleted'} ${deleted} objects, ${bytes(freed)}`);
      });
    });
}
