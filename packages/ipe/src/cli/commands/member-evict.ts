import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<member>', 'id or origin, as `ipe member ls` shows it')
    .option('--force', 'even where it may be the only one that holds acknowledged writes')
    .addHelpText(
      'after',
      `
What the others hold of it stays; what it writes from now on is refused, its links end, and batches are sealed with a new
key. It may return with a new token (\`ipe serve --join-token\`): then it loads the facts again, and what it alone had
written is offered to the others. Deletions that waited for it may be forgotten afterwards.

Of a member that was evicted before, some writes may have reached this one only. Then the eviction is refused: let the
others hear the member first, or, where its disk is gone, give those writes up with --force.

Example:
  ipe member evict ipe-3f2a91`,
    )
    .action(async (member: string, { force, ...options }: NodeOptions & { force?: boolean }) => {
      const result = await withPlane(cli, options, 'control', ({ control }) =>
        control.call('evict', { member, ...(force && { force }) }),
      );
      cli.show(options, result, () => cli.out.line(`evicted ${member}`));
    });
}
