import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { UsageError } from '../failure.ts';
import { given, wholeNumber } from '../values.ts';

interface Options extends NodeOptions {
  readonly ifVersion?: number;
  readonly ifMatch?: string;
}

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<keys...>', 'keys to delete')
    .option('--if-version <number>', 'only this version (one key)', wholeNumber('--if-version', 0))
    .option('--if-match <etag>', 'only this very entry (one key)')
    .addHelpText('after', '\nExamples:\n  ipe data rm approvals.deploy-123\n  ipe data rm approvals.d1 approvals.d2')
    .action(async (keys: string[], options: Options) => {
      const conditions = given({ if_version: options.ifVersion, if_match: options.ifMatch });
      if (keys.length > 1 && Object.keys(conditions).length > 0)
        throw new UsageError('--if-version and --if-match are about one key');
      await withPlane(cli, options, 'data', async ({ data }) => {
        for (const key of keys) {
          const result = await data.delete(key, conditions);
          cli.show(options, result, () => cli.out.line(`deleted ${result.key}, version ${result.version}`));
        }
      });
    });
}
