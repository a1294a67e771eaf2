import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { shortId } from '../output.ts';
import { given } from '../values.ts';

interface Options extends NodeOptions {
  readonly message?: string;
  readonly ifRoot?: string;
  readonly force?: boolean;
}

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<from>', 'ref that is ahead, such as staging, or any root, commit or version')
    .argument('[to]', 'ref to move', 'main')
    .option('-m, --message <text>', 'why, where a commit has to be made')
    .option('--if-root <root>', 'only while the ref to move is at this root')
    .option('--force', 'also where the ref to move has changes that this one lacks: they are undone')
    .addHelpText(
      'after',
      `
The ref moves forward to the very commits of the other. Where it has moved by itself since,
nothing changes, and what would be lost is named; with --force one commit is made on both.
What would change: \`ipe diff main staging\`. To make an instance the origin: \`ipe member promote\`.

Examples:
  ipe apply policies/ --ref staging && ipe diff main staging && ipe promote staging
  ipe promote main staging --force -m "start over from main"`,
    )
    .action(async (from: string, to: string, options: Options) => {
      const { message, ifRoot: expected_root, force } = options;
      const result = await withPlane(cli, options, 'control', ({ control }) =>
        control.call('promote', given({ from, to, message, expected_root, force })),
      );
      cli.show(options, result, () => {
        const { changed } = result;
        const what =
          changed.length === 0
            ? 'no policy changed'
            : `${changed.length} polic${changed.length === 1 ? 'y' : 'ies'} changed`;
        cli.out.line(`${to} is at commit ${shortId(result.commit)}, root ${shortId(result.root)}: ${what}`);
      });
    });
}
