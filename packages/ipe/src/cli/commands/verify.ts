import type { Command } from 'commander';
import { Option } from 'commander';
import type { Cli } from '../cli.ts';
import { longWorkSeconds, type NodeOptions, onNode, withPlane } from '../connect.ts';
import { startProgress } from '../progress.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command, longWorkSeconds)
    .addOption(
      new Option('--level <level>', 'quick: the current root; connectivity: everything reachable; full: every byte')
        .choices(['quick', 'connectivity', 'full'])
        .default('full'),
    )
    .addHelpText(
      'after',
      '\nReports and never deletes. Exits with 1 when something is damaged.\n\nExample:\n  ipe verify --level connectivity',
    )
    .action(async (options: NodeOptions & { level: 'quick' | 'connectivity' | 'full' }) => {
      const progress = await startProgress(cli, `verifying (${options.level})`);
      const report = await withPlane(cli, options, 'control', ({ control }) =>
        control.call('verify', { level: options.level }),
      ).finally(() => progress.done());
      cli.show(options, report, () => {
        for (const problem of report.problems)
          cli.out.line(`${cli.out.color.red('damaged')}  ${JSON.stringify(problem)}`);
        const checked = `${report.checked_objects} objects checked`;
        cli.out.line(
          report.ok ? `${cli.out.color.green('sound')}, ${checked}` : `${report.problem_count} problems, ${checked}`,
        );
      });
      if (!report.ok) cli.exitCode = 1;
    });
}
