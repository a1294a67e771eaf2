import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';

interface Options extends NodeOptions {
  readonly patch: boolean;
}

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<from>', 'root, commit, version or ref')
    .argument('[to]', 'root, commit, version or ref', 'main')
    .option('--no-patch', 'names only')
    .addHelpText('after', '\nExamples:\n  ipe diff 3f2a9c\n  ipe diff main staging --no-patch')
    .action(async (from: string, to: string, options: Options) => {
      const diff = await withPlane(cli, options, 'control', ({ control }) =>
        control.call('diff', { from, to, patches: options.patch }),
      );
      cli.show(options, diff, () => {
        const { color } = cli.out;
        const marks = { added: color.green('A'), changed: color.yellow('M'), removed: color.red('D') };
        let count = 0;
        for (const kind of ['added', 'changed', 'removed'] as const)
          for (const entry of diff[kind]) {
            count++;
            cli.out.line(`${marks[kind]}  ${entry.path}`);
            if (entry.source_patch !== undefined) cli.out.raw(paint(cli, entry.source_patch));
            if (entry.test_patch !== undefined) cli.out.raw(paint(cli, entry.test_patch));
          }
        if (count === 0) cli.out.note('no difference');
      });
    });
}

function paint(cli: Cli, patch: string): string {
  const { color } = cli.out;
  return patch
    .split('\n')
    .map((line) => {
      if (line.startsWith('@@')) return color.cyan(line);
      if (line.startsWith('+')) return color.green(line);
      return line.startsWith('-') ? color.red(line) : line;
    })
    .join('\n');
}
