import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { preview, wholeNumber } from '../values.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<key>')
    .option('--limit <number>', 'at most so many, newest first', wholeNumber('--limit'), 20)
    .addHelpText('after', '\nExample:\n  ipe data history approvals.deploy-123')
    .action(async (key: string, options: NodeOptions & { limit: number }) => {
      const { versions } = await withPlane(cli, options, 'data', ({ data }) =>
        data.call('history', { key, limit: options.limit }),
      );
      cli.show(options, versions, () => {
        if (versions.length === 0) return cli.out.note(`no versions of \`${key}\` are kept`);
        cli.out.table(
          ['VERSION', 'UPDATED', 'VALUE'],
          versions.map((each) => [
            String(each.version),
            cli.out.age(each.updated_at),
            each.tombstone ? cli.out.color.red('deleted') : preview(each),
          ]),
        );
      });
    });
}
