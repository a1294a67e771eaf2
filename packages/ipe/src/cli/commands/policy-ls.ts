import type { PolicyList } from '@ipe/client/protocol';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { shortId } from '../output.ts';
import { given, wholeNumber } from '../values.ts';

interface Options extends NodeOptions {
  readonly root?: string;
  readonly limit: number;
}

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('[prefix]', 'only below this directory')
    .option('--root <root>', 'at this root, commit or ref')
    .option('--limit <number>', 'at most so many', wholeNumber('--limit'), 10_000)
    .addHelpText('after', '\nExamples:\n  ipe policy ls\n  ipe policy ls prod --json')
    .action(async (prefix: string | undefined, options: Options) => {
      const policies: PolicyList['policies'][number][] = [];
      await withPlane(cli, options, 'control', async ({ control }) => {
        let cursor: string | undefined;
        do {
          const limit = Math.min(1000, options.limit - policies.length);
          const page = await control.call('list-policies', given({ prefix, root: options.root, limit, cursor }));
          policies.push(...page.policies);
          cursor = page.cursor;
        } while (cursor !== undefined && policies.length < options.limit);
      });
      cli.show(options, policies, () => {
        if (policies.length === 0) return cli.out.note('no policies; write some with `ipe apply` or `ipe sync`');
        cli.out.table(
          ['PATH', 'VERSION', 'UPDATED'],
          policies.map((policy) => [policy.path, shortId(policy.version), cli.out.age(policy.updated_at)]),
        );
      });
    });
}
