import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { given, secondsOf } from '../values.ts';

interface Options extends NodeOptions {
  readonly ttl?: number;
}

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .option('--ttl <time>', 'let it expire after 90s, 15m or 24h (default: 1h)', secondsOf('--ttl'))
    .addHelpText(
      'after',
      `
The token lets one instance join, once. It names this node's certificate, so the joiner talks to nobody else.

Examples:
  ipe member invite --ttl 10m
  ipe serve --dir other --join 127.0.0.1:7400 --join-token "$(ipe member invite --json | jq -r .token)"`,
    )
    .action(async (options: Options) => {
      const result = await withPlane(cli, options, 'control', ({ control }) =>
        control.call('member-invite', given({ ttl: options.ttl })),
      );
      cli.show(options, result, () => {
        cli.out.line(result.token);
        const where = result.address === null ? 'HOST:PORT' : result.address;
        cli.out.note(`join with: ipe serve --join ${where} --join-token <token>; it works once`);
      });
    });
}
