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
    .argument('[path]', 'only commits that changed this policy, or anything below this directory')
    .option('--ref <ref>', 'from this ref, root, commit or version back, in place of main')
    .option('--limit <number>', 'at most so many, newest first', wholeNumber('--limit'), 20)
    .addHelpText(
      'after',
      '\nExamples:\n  ipe log\n  ipe log prod.deployment --limit 1\n  ipe log --ref staging --limit 100 --json',
    )
    .action(async (path: string | undefined, options: Options) => {
      const [{ commits }, { refs }] = await withPlane(cli, options, 'control', ({ control }) =>
        Promise.all([
          control.call('log', given({ path, ref: options.ref, limit: options.limit })),
          control.call('refs', {}),
        ]),
      );
      const namesOf = (commit: string) => refs.filter((ref) => ref.commit === commit).map(({ name }) => name);
      cli.show(options, commits, () => {
        if (commits.length === 0) return cli.out.note('no commits yet; write policies with `ipe apply` or `ipe sync`');
        cli.out.table(
          ['COMMIT', 'ROOT', 'WHEN', 'AUTHOR', 'MESSAGE'],
          commits.map((commit) => [
            cli.out.color.yellow(shortId(commit.commit)),
            shortId(commit.root),
            cli.out.age(commit.time),
            commit.author.name,
            [
              ...namesOf(commit.commit).map((name) => cli.out.color.green(`[${name}]`)),
              commit.message.split('\n')[0]!,
            ].join(' '),
          ]),
        );
      });
    });
}
