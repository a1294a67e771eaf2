import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { IpeError } from '@ipe/core';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { startProgress } from '../progress.ts';

const linesPerRequest = 1_000;
const bytesPerRequest = 4 * 1024 * 1024;

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<file>', 'what `ipe data backup` wrote, or `-`')
    .addHelpText(
      'after',
      `
Joins the backup into what the node holds, as replication would: newer facts stay, and what was deleted here since the
backup stays deleted. It can be repeated, so one that was cut short is simply begun again.

Example:
  ipe data restore facts.ipe`,
    )
    .action(async (file: string, options: NodeOptions) => {
      const input = file === '-' ? cli.io.stdin : createReadStream(cli.path(file));
      const progress = await startProgress(cli, 'restoring');
      const report = { entries: 0, skipped: 0 };
      let isWhole = false;
      await withPlane(cli, options, 'control', async ({ control }) => {
        let lines: string[] = [];
        let bytes = 0;
        const send = async () => {
          if (lines.length === 0) return;
          const { entries, skipped, done } = await control.call('data-restore', { lines: lines.join('\n') });
          report.entries += entries;
          report.skipped += skipped;
          isWhole ||= done;
          progress.update(`restored ${report.entries} facts`);
          lines = [];
          bytes = 0;
        };
        for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
          if (bytes + line.length > bytesPerRequest) await send();
          bytes += line.length;
          if (lines.push(line) === linesPerRequest) await send();
        }
        await send();
      }).finally(() => progress.done());
      if (!isWhole)
        throw new IpeError(
          'invalid_params',
          `\`${file}\` ends before the backup does: ${report.entries} facts were joined in, others are missing`,
          { state: 'applied', details: { ...report } },
        );
      cli.show(options, report, () =>
        cli.out.line(
          `restored ${report.entries} facts${report.skipped > 0 ? `, of which ${report.skipped} were known here already` : ''}`,
        ),
      );
    });
}
