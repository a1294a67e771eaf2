import { IpeError } from '@ipe/core';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { startProgress } from '../progress.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .addHelpText(
      'after',
      `
Looks at every fact and log record that the node stores. What is damaged is mended from memory or from a peer, if there
is one that holds it; until then it is refused to readers. Exits with 1 when something is left damaged.

Example:
  ipe data scrub`,
    )
    .action(async (options: NodeOptions) => {
      const progress = await startProgress(cli, 'looking at facts');
      const report = await withPlane(cli, options, 'control', async ({ control }) => {
        let report = await control.call('scrub', { wait: 0.2 });
        while (report.state === 'running') {
          progress.update(`looked at ${report.rows} facts, ${report.records} records`);
          report = await control.call('scrub', { start: false, wait: 0.2 });
        }
        return report;
      }).finally(() => progress.done());
      if (report.state === 'failed') throw new IpeError('corrupt', `the scrub stopped: ${report.error}`);
      const left = report.damaged + report.damaged_records;
      cli.show(options, report, () => {
        for (const key of report.damaged_keys) cli.out.line(`${cli.out.color.red('damaged')}  ${key}`);
        const looked = `${report.rows} facts and ${report.records} log records looked at`;
        cli.out.line(
          left === 0
            ? `${cli.out.color.green('sound')}, ${looked}`
            : `${left} damaged, ${looked}; no peer has mended them yet`,
        );
      });
      if (left > 0) cli.exitCode = 1;
    });
}
