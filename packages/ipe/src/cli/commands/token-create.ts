import { type Command, Option } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode } from '../connect.ts';
import { UsageError } from '../failure.ts';
import { callTokens } from '../tokens.ts';
import { given, secondsOf } from '../values.ts';

interface Options extends NodeOptions {
  readonly kind: 'admin' | 'service' | 'application';
  readonly namespace?: string[];
  readonly verb?: ('read' | 'write')[];
  readonly grant?: string[];
  readonly ttl?: number;
}

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<name>', 'service or application that it is for')
    .addOption(
      new Option('--kind <kind>', 'which planes it opens')
        .choices(['admin', 'service', 'application'])
        .default('service'),
    )
    .option('--namespace <names...>', 'data namespaces it may touch (service; default: all)')
    .addOption(
      new Option('--verb <verbs...>', 'what it may do there (service; default: both)').choices(['read', 'write']),
    )
    .option('--grant <grants...>', 'extra grants, such as explain (application)')
    .option('--ttl <time>', 'let it expire after 90s, 15m, 24h or 7d', secondsOf('--ttl'))
    .addHelpText(
      'after',
      '\nThe token is shown this once; the node keeps a hash.\n\nExamples:\n  ipe token create deployment-service --namespace approvals --ttl 90d\n  ipe token create web --kind application',
    )
    .action(async (name: string, options: Options) => {
      const { kind, namespace, verb, grant, ttl } = options;
      if (kind !== 'service' && (namespace !== undefined || verb !== undefined))
        throw new UsageError('--namespace and --verb are for service tokens');
      const result = await callTokens(
        cli,
        options,
        'token-create',
        given({ kind, name, namespaces: namespace, verbs: verb, grants: grant, ttl }),
      );
      cli.show(options, result, () => {
        cli.out.line(result.token);
        cli.out.note(`token ${result.id} for ${name}; it is not shown again`);
      });
    });
}
