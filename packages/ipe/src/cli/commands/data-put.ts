import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { given, readValue, secondsOf, takesValue, type ValueOptions, wholeNumber } from '../values.ts';

interface Options extends NodeOptions, ValueOptions {
  readonly ttl?: number;
  readonly ifVersion?: number;
  readonly ifMatch?: string;
  readonly ack?: 'local' | `peers:${number}`;
  readonly requestId?: string;
}

export function define(command: Command, cli: Cli): void {
  takesValue(onNode(command))
    .argument('<key>', 'such as approvals.deploy-123')
    .argument('[value]', 'JSON, or `-` for standard input')
    .option('--ttl <time>', 'let it expire after 90s, 15m, 24h or 7d', secondsOf('--ttl'))
    .option(
      '--if-version <number>',
      'only over this version; 0: only if it does not exist',
      wholeNumber('--if-version', 0),
    )
    .option('--if-match <etag>', 'only over this very entry')
    .option('--ack <level>', '`local`, or `peers:<k>`: how many others must hold it before it is acknowledged')
    .option('--request-id <id>', 'makes it safe to run the same command again')
    .addHelpText(
      'after',
      `
Examples:
  ipe data put relationships.user-alice '{"groups": ["engineering"]}'
  ipe data put rate_limits.alice '{"requests_in_window": 245}' --ttl 1h
  ipe data put approvals.d1 --file approval.json --if-version 3`,
    )
    .action(async (key: string, argument: string | undefined, options: Options) => {
      const value = await readValue(cli, argument, options);
      const { ttl, ifVersion, ifMatch, ack, requestId } = options;
      const conditions = given({ ttl, if_version: ifVersion, if_match: ifMatch, ack, request_id: requestId });
      const result = await withPlane(cli, options, 'data', ({ data }) => data.put(key, value, conditions));
      cli.show(options, result, () => cli.out.line(`wrote ${result.key}, version ${result.version}`));
    });
}
