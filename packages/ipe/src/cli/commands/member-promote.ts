import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<member>', 'id or origin, as `ipe member ls` shows it')
    .addHelpText(
      'after',
      `
Policies are written at one instance, the origin; the others follow it. This begins a new term with the given member as
origin. It must be run where the cluster key is. An origin that was restored from a backup is promoted again, so that
its followers take its older root.

Example:
  ipe member promote ipe-3f2a91`,
    )
    .action(async (member: string, options: NodeOptions) => {
      const call = withPlane(cli, options, 'control', ({ control }) => control.call('member-promote', { member }));
      const result = await call;
      cli.show(options, result, () => cli.out.line(`${result.id} is the origin of policies in term ${result.term}`));
    });
}
