import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { shortId } from '../output.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<from>', 'ref that is ahead, such as staging')
    .argument('[to]', 'ref to move', 'main')
    .addHelpText('after', '\nExample:\n  ipe promote staging main')
    .action(async (from: string, to: string, options: NodeOptions) => {
      const result = await withPlane(cli, options, 'control', ({ control }) => control.call('promote', { from, to }));
      cli.show(options, result, () => cli.out.line(`${to} is at root ${shortId(result.root)}`));
    });
}
