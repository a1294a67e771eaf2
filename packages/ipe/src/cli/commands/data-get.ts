import { nearest } from '@ipe/core';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<key>', 'such as approvals.deploy-123')
    .option('--raw', 'print the value alone, bytes as they are')
    .addHelpText(
      'after',
      '\nExamples:\n  ipe data get approvals.deploy-123\n  ipe data get files.logo --raw > logo.png',
    )
    .action(async (key: string, options: NodeOptions & { raw?: boolean }) => {
      await withPlane(cli, options, 'data', async ({ data }) => {
        const entry = await data.get(key);
        if (entry === null) {
          cli.exitCode = 1;
          if (options.json) return cli.out.json(null);
          const namespace = key.split('.')[0]!;
          const others = await data.call('query', { pattern: `${namespace}.*`, limit: 1000 });
          const close = nearest(
            key,
            others.entries.map((other) => other.key),
          );
          cli.out.note(`there is no fact \`${key}\`${close === undefined ? '' : `; did you mean \`${close}\`?`}`);
          return;
        }
        if (options.raw) {
          cli.out.raw(
            entry.value_base64 === undefined
              ? `${JSON.stringify(entry.value)}\n`
              : Buffer.from(entry.value_base64, 'base64'),
          );
          return;
        }
        cli.show(options, entry, () => {
          const { value, value_base64, siblings, ...about } = entry;
          cli.out.pairs([
            ['key', about.key],
            ['version', `${about.version}  ${cli.out.color.dim(about.etag)}`],
            ['created', `${cli.out.age(about.created_at)} ago`],
            ['updated', `${cli.out.age(about.updated_at)} ago`],
            ...(about.expires_at === undefined ? [] : [['expires', cli.out.until(about.expires_at)] as const]),
          ]);
          if (siblings !== undefined && siblings.length > 0)
            for (const sibling of siblings) cli.out.line(`sibling  ${JSON.stringify(sibling)}`);
          else cli.out.line(value_base64 ?? JSON.stringify(value, null, 2));
        });
      });
    });
}
