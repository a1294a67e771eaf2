import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { startProgress } from '../progress.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<pattern>', 'which facts, such as approvals.*')
    .argument('[file]', 'where to; absent or `-`: standard output')
    .addHelpText(
      'after',
      `
One JSON object a line: key, value (or value_base64), and expires_at where it expires. \`ipe data import\` reads it back.

Example:
  ipe data export 'approvals.*' approvals.ndjson`,
    )
    .action(async (pattern: string, file: string | undefined, options: NodeOptions) => {
      const target = file === undefined || file === '-' ? cli.io.stdout : createWriteStream(cli.path(file));
      const progress = await startProgress(cli, 'exporting');
      let count = 0;
      await withPlane(cli, options, 'data', async ({ data }) => {
        for await (const { key, value, value_base64, expires_at } of data.query(pattern, { limit: 1000 })) {
          const fits = target.write(`${JSON.stringify({ key, value, value_base64, expires_at })}\n`);
          if (!fits) await once(target, 'drain');
          if (++count % 1000 === 0) progress.update(`exported ${count} facts`);
        }
      });
      if (target !== cli.io.stdout) {
        target.end();
        await once(target, 'close');
      }
      progress.done();
      cli.out.note(`exported ${count} facts`);
    });
}
