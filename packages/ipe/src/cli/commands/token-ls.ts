import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode } from '../connect.ts';
import { callTokens } from '../tokens.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .addHelpText('after', '\nExample:\n  ipe token ls')
    .action(async (options: NodeOptions) => {
      const { tokens } = await callTokens(cli, options, 'token-list', {});
      cli.show(options, tokens, () =>
        cli.out.table(
          ['ID', 'KIND', 'NAME', 'CREATED', 'EXPIRES', 'NAMESPACES'],
          tokens.map((token) => [
            token.id,
            token.kind,
            token.name,
            cli.out.age(token.created_at),
            token.revoked ? cli.out.color.red('revoked') : cli.out.until(token.expires_at),
            token.namespaces?.join(', ') ?? '*',
          ]),
        ),
      );
    });
}
