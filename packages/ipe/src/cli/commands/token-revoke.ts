import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode } from '../connect.ts';
import { callTokens } from '../tokens.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<id>', 'as `ipe token ls` shows it')
    .addHelpText(
      'after',
      '\nIt stops opening anything at once, sessions under way included.\n\nExample:\n  ipe token revoke 7f3a12',
    )
    .action(async (id: string, options: NodeOptions) => {
      const result = await callTokens(cli, options, 'token-revoke', { id });
      cli.show(options, result, () => cli.out.line(`revoked ${id}`));
    });
}
