import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { type DataPlane, isIpeClientError } from '@ipe/client';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { startProgress } from '../progress.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('[pattern]', 'which facts, such as approvals.*; absent or `*`: all', '*')
    .argument('[file]', 'where to; absent or `-`: standard output')
    .addHelpText(
      'after',
      `
One JSON object a line: key, value (or value_base64), and expires_at where it expires. \`ipe data import\` reads it back.

Examples:
  ipe data export 'approvals.*' approvals.ndjson
  ipe data export '*' facts.ndjson`,
    )
    .action(async (pattern: string, file: string | undefined, options: NodeOptions) => {
      const target = file === undefined || file === '-' ? cli.io.stdout : createWriteStream(cli.path(file));
      const progress = await startProgress(cli, 'exporting');
      let count = 0;
      let damage: unknown;
      await withPlane(cli, options, 'data', async ({ data }) => {
        for (const each of await patternsOf(data, pattern)) {
          try {
            for await (const { key, value, value_base64, expires_at } of data.query(each, { limit: 1000 })) {
              const fits = target.write(`${JSON.stringify({ key, value, value_base64, expires_at })}\n`);
              if (!fits) await once(target, 'drain');
              if (++count % 1000 === 0) progress.update(`exported ${count} facts`);
            }
          } catch (error) {
            // Facts that cannot be read are told of at the end; the others are not to be held back for them.
            if (!isIpeClientError(error) || error.reason !== 'corrupt') throw error;
            damage ??= error;
          }
        }
      });
      if (target !== cli.io.stdout) {
        target.end();
        await once(target, 'close');
      }
      progress.done();
      cli.out.note(`exported ${count} facts`);
      if (damage !== undefined) throw damage;
    });
}

/** A pattern has a namespace of its own, so everything is one pattern for each namespace. */
async function patternsOf(data: DataPlane, pattern: string): Promise<string[]> {
  if (pattern !== '*') return [pattern];
  const { namespaces } = await data.call('stats', {});
  return namespaces
    .map(({ namespace }) => namespace)
    .filter((name) => !name.startsWith('_'))
    .map((name) => `${name}.*`);
}
