import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { longWorkSeconds, type NodeOptions, onNode, withPlane } from '../connect.ts';
import { bytes } from '../output.ts';
import { startProgress } from '../progress.ts';
import { wholeNumber } from '../values.ts';

interface Options extends NodeOptions {
  readonly retentionDays: number;
  readonly graceHours?: number;
  readonly dryRun?: boolean;
}

export function define(command: Command, cli: Cli): void {
  onNode(command, longWorkSeconds)
    .option(
      '--retention-days <days>',
      'keep roots that were current, or that logged decisions were made at, within so many days',
      wholeNumber('--retention-days', 0),
      30,
    )
    .option(
      '--grace-hours <hours>',
      'delete what an earlier run found unused at least so long ago (default: 24)',
      wholeNumber('--grace-hours', 0),
    )
    .option('--dry-run', 'say what would be deleted, delete nothing')
    .addHelpText('after', '\nExample:\n  ipe gc --retention-days 90 --dry-run')
    .action(async (options: Options) => {
      const progress = await startProgress(cli, 'collecting');
      const report = await withPlane(cli, options, 'control', ({ control }) =>
        control.call('gc', {
          retention_days: options.retentionDays,
          dry_run: options.dryRun === true,
          ...(options.graceHours !== undefined && { grace_seconds: options.graceHours * 3600 }),
        }),
      ).finally(() => progress.done());
      cli.show(options, report, () => {
        const { scanned, reachable, condemned, waiting, deleted, cited_roots: cited, deleted_bytes: freed } = report;
        cli.out.line(
          `${scanned} objects, ${reachable} in use, ${condemned} condemned now, ${waiting} waiting for their grace to end`,
        );
        if (cited > 0) cli.out.line(`${cited} roots are held by logged decisions`);
        cli.out.line(`${report.dry_run ? 'would delete' : 'deleted'} ${deleted} objects, ${bytes(freed)}`);
      });
    });
}
