import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { UsageError } from '../failure.ts';
import { given } from '../values.ts';

interface Options {
  readonly config?: string;
  readonly dir?: string;
  readonly apply?: string;
  readonly join?: string;
  readonly joinToken?: string;
  readonly set?: Record<string, string>;
  readonly json?: boolean;
}

export function define(command: Command, cli: Cli): void {
  command
    .option('--config <file>', 'configuration (TOML); without one, a single safe node')
    .option('--dir <folder>', 'state directory, made where it is absent (default: $IPE_DIR, else .ipe)')
    .option('--join <address>', 'join the cluster of the member at HOST:PORT, where this node is in none')
    .option('--join-token <token>', 'what `ipe member invite` printed there (default: $IPE_JOIN_TOKEN)')
    .option('--apply <folder>', 'apply a folder of policies once the node is up')
    .option(
      '--set <key=value>',
      'set a key of the configuration, such as cluster.listen=127.0.0.1:7400; may be repeated',
      setting,
    )
    .option('--json', 'announce readiness as one line of JSON on standard output')
    .addHelpText(
      'after',
      `
The first start writes credentials.json into the state directory; the other commands find it by themselves.
SIGTERM drains and stops, SIGHUP reads certificates, tokens and log level again. Any key of the configuration can be
given in the environment: IPE_OBSERVABILITY__LOG_LEVEL=debug.

Examples:
  ipe serve
  ipe serve --config ipe.toml --dir /var/lib/ipe
  ipe serve --apply examples/policies
  ipe serve --set cluster.listen=127.0.0.1:7400
  ipe serve --set cluster.listen=127.0.0.1:7401 --dir .ipe2 --join 127.0.0.1:7400 --join-token ipe_join_...`,
    )
    .action(async (options: Options) => {
      const { serveNode } = await import('../serve-node.ts');
      const { config, dir, apply, join, joinToken, set: flags } = options;
      cli.exitCode = await serveNode(cli, given({ config, dir, apply, join, joinToken, flags }), (node) => {
        const { addresses, id, directory } = node;
        cli.show(options, { ready: true, instance: id, directory, addresses }, () => {
          cli.out.line(`${cli.out.color.green('ready')}  ${id}  ${cli.out.color.dim(directory)}`);
          for (const [plane, at] of Object.entries(addresses)) cli.out.line(`  ${plane.padEnd(11)}${at.join('  ')}`);
          if (node.credentials.isNew) cli.out.line(`  tokens     ${node.credentials.path}`);
        });
        cli.io.onReady?.({ directory });
      });
    });
}

function setting(text: string, before: Record<string, string> | undefined): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new UsageError(`--set takes key=value, not \`${text}\``);
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}
