import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { shortId } from '../output.ts';
import { wholeNumber } from '../values.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<path>')
    .option('--limit <number>', 'at most so many, newest first', wholeNumber('--limit'), 50)
    .addHelpText('after', '\nExample:\n  ipe policy history prod.deployment.approval')
    .action(async (path: string, options: NodeOptions & { limit: number }) => {
      const { versions } = await withPlane(cli, options, 'control', ({ control }) =>
        control.call('history', { path, limit: options.limit }),
      );
      cli.show(options, versions, () =>
        cli.out.table(
          ['VERSION', 'COMMIT', 'WHEN', 'AUTHOR', 'MESSAGE'],
          versions.map((each) => [
            each.deleted ? cli.out.color.red('removed') : shortId(each.version),
            shortId(each.commit),
            cli.out.age(each.time),
            each.author.name,
            each.message,
          ]),
        ),
      );
    });
}
