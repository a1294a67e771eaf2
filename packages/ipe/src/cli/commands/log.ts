import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { shortId } from '../output.ts';
import { given, wholeNumber } from '../values.ts';

interface Options extends NodeOptions {
  readonly ref?: string;
  readonly limit: number;
}

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .option('--ref <ref>', 'of this ref in place of main')
    .option('--limit <number>', 'at most so many, newest first', wholeNumber('--limit'), 20)
    .addHelpText('after', '\nExamples:\n  ipe log\n  ipe log --ref staging --limit 100 --json')
    .action(async (options: Options) => {
      const { commits } = await withPlane(cli, options, 'control', ({ control }) =>
        control.call('log', given({ ref: options.ref, limit: options.limit })),
      );
      cli.show(options, commits, () => {
        if (commits.length === 0) return cli.out.note('no commits yet; write policies with `ipe apply` or `ipe sync`');
        cli.out.table(
          ['COMMIT', 'ROOT', 'WHEN', 'AUTHOR', 'MESSAGE'],
          commits.map((commit) => [
            cli.out.color.yellow(shortId(commit.commit)),
            shortId(commit.root),
            cli.out.age(commit.time),
            commit.author.name,
            commit.message.split('\n')[0]!,
          ]),
        );
      });
    });
}
