import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { shortId } from '../output.ts';
import { given } from '../values.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<root>', 'root, commit or ref to bring back')
    .option('-m, --message <text>', 'why')
    .addHelpText(
      'after',
      '\nNothing is lost: the restored tree is a new commit on top of what was there.\n\nExample:\n  ipe restore 3f2a9c -m "the new rule locks everybody out"',
    )
    .action(async (root: string, options: NodeOptions & { message?: string }) => {
      const result = await withPlane(cli, options, 'control', ({ control }) =>
        control.call('restore', given({ root, message: options.message })),
      );
      cli.show(options, result, () => {
        for (const warning of result.warnings) cli.out.note(warning);
        cli.out.line(`restored root ${shortId(result.root)} as commit ${shortId(result.commit)}`);
      });
    });
}
