import { IpeError } from '@ipe/core';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { startProgress } from '../progress.ts';

interface Options extends NodeOptions {
  readonly newKeyFile?: string;
  readonly rewrapOnly?: boolean;
}

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .option('--new-key-file <file>', 'also wrap the keys by the master key in this file, as the node sees it')
    .option('--rewrap-only', 'change the master key only; rows stay sealed with the data keys they have')
    .addHelpText(
      'after',
      `
Seals every fact again with a new data key while the node works on. Cut short, it goes on at the next start of the
node. After --new-key-file, name the new file in \`encryption_key_path\`: the old one no longer opens the store.

Examples:
  ipe data rekey
  openssl rand -hex 32 > new.key && ipe data rekey --new-key-file "$PWD/new.key"`,
    )
    .action(async (options: Options) => {
      const progress = await startProgress(cli, 'sealing facts with a new key');
      const report = await withPlane(cli, options, 'control', async ({ control }) => {
        let report = await control.call('rekey', {
          ...(options.newKeyFile !== undefined && { new_key_path: cli.path(options.newKeyFile) }),
          start: options.rewrapOnly !== true,
        });
        const { rewrapped } = report;
        while (options.rewrapOnly !== true && report.state === 'running') {
          progress.update(`sealed ${report.rows} rows, ${report.families_done} of ${report.families} families`);
          report = await control.call('rekey', { start: false, wait: 0.2 });
        }
        return { ...report, rewrapped };
      }).finally(() => progress.done());
      if (report.state === 'failed') throw new IpeError('unavailable', `sealing stopped: ${report.error}`);
      cli.show(options, report, () => {
        if (report.rewrapped)
          cli.out.line('the keys are wrapped by the new key file; name it in `encryption_key_path`');
        if (options.rewrapOnly !== true) cli.out.line(`sealed ${report.rows} rows with a new key`);
      });
    });
}
