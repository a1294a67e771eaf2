import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import type { PutParams } from '@ipe/client/protocol';
import { IpeError } from '@ipe/core';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { startProgress } from '../progress.ts';
import { parseJson } from '../values.ts';

const batchSize = 1000;

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<file>', 'NDJSON as `ipe data export` writes it, or `-`')
    .addHelpText(
      'after',
      '\nFacts that have expired meanwhile are passed over.\n\nExample:\n  ipe data import approvals.ndjson',
    )
    .action(async (file: string, options: NodeOptions) => {
      const input = file === '-' ? cli.io.stdin : createReadStream(cli.path(file));
      const progress = await startProgress(cli, 'importing');
      const count = { written: 0, expired: 0 };
      await withPlane(cli, options, 'data', async ({ data }) => {
        let batch: PutParams[] = [];
        const flush = async () => {
          for (const result of batch.length === 0 ? [] : await data.putAll(batch))
            if ('error' in result)
              throw new IpeError(
                'invalid_params',
                `\`${result.key}\`: ${result.error.message}; ${count.written} facts were written before it`,
                { state: 'applied' },
              );
            else count.written++;
          batch = [];
          progress.update(`imported ${count.written} facts`);
        };
        let line = 0;
        for await (const text of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
          line++;
          if (text.trim() === '') continue;
          const put = readLine(text, `${file}:${line}`, cli.io.now() / 1000);
          if (put === undefined) count.expired++;
          else if (batch.push(put) === batchSize) await flush();
        }
        await flush();
      });
      progress.done();
      cli.show(options, count, () =>
        cli.out.line(
          `imported ${count.written} facts${count.expired > 0 ? `, passed over ${count.expired} that had expired` : ''}`,
        ),
      );
    });
}

function readLine(text: string, place: string, nowSeconds: number): PutParams | undefined {
  const row = parseJson(text, place) as { key?: unknown; expires_at?: unknown } & Record<string, never>;
  if (typeof row?.key !== 'string') throw new IpeError('invalid_params', `${place}: expected an object with \`key\``);
  if (row.expires_at === undefined) return { ...contentOf(row), key: row.key };
  const ttl = Number(row.expires_at) - nowSeconds;
  return ttl > 0 ? { ...contentOf(row), key: row.key, ttl } : undefined;
}

function contentOf(row: Record<string, never>): Pick<PutParams, 'value' | 'value_base64'> {
  return row['value_base64'] === undefined ? { value: row['value'] ?? null } : { value_base64: row['value_base64'] };
}
