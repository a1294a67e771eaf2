import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<member>', 'id or origin, as `ipe member ls` shows it')
    .addHelpText(
      'after',
      `
What the others hold of it stays; what it writes from now on is refused, and its links end. It may join again with a
new token and an empty state directory. Deletions that waited for it may be forgotten afterwards.

Example:
  ipe member evict ipe-3f2a91`,
    )
    .action(async (member: string, options: NodeOptions) => {
      const result = await withPlane(cli, options, 'control', ({ control }) => control.call('evict', { member }));
      cli.show(options, result, () => cli.out.line(`evicted ${member}`));
    });
}
