import { isIpeClientError } from '@ipe/client';
import type { Entry, Json, QueryParams } from '@ipe/client/protocol';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { UsageError } from '../failure.ts';
import { given, parseJson, preview, wholeNumber } from '../values.ts';

interface Options extends NodeOptions {
  readonly where?: string[];
  readonly filter?: string;
  readonly limit: number;
}

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<pattern>', '`*` is one segment, and at the end one or more: approvals.*')
    .option('-w, --where <path=value>', 'only values with this at a dotted path; may be repeated', collect)
    .option('--filter <expression>', 'only values for which this CEL expression over `value` holds')
    .option('--limit <number>', 'at most so many', wholeNumber('--limit'), 1000)
    .addHelpText(
      'after',
      `
Examples:
  ipe data query 'approvals.*' --where deployment_id=deploy-123
  ipe data query 'rate_limits.*' --filter 'value.requests_in_window > 100.0' --json`,
    )
    .action(async (pattern: string, options: Options) => {
      if (options.where !== undefined && options.filter !== undefined)
        throw new UsageError('give --where or --filter, not both');
      const filter = options.filter ?? (options.where && Object.fromEntries(options.where.map(equality)));
      await listEntries(cli, options, given({ pattern, filter, limit: options.limit }));
    });
}

/** Prints the entries that match: a table for people, one JSON array for programs. */
export async function listEntries(
  cli: Cli,
  options: NodeOptions,
  params: QueryParams & { limit: number },
): Promise<void> {
  const { pattern, limit, ...rest } = params;
  const entries: Entry[] = [];
  let more = false;
  let damage: unknown;
  await withPlane(cli, options, 'data', async ({ data }) => {
    try {
      for await (const entry of data.query(pattern, { ...rest, limit: Math.min(1000, limit + 1) })) {
        more = entries.length === limit;
        if (more) return;
        entries.push(entry);
      }
    } catch (error) {
      // What could be read is shown first.
      if (!isIpeClientError(error) || error.reason !== 'corrupt') throw error;
      damage = error;
    }
  });
  cli.show(options, entries, () => {
    if (entries.length === 0) return cli.out.note(`no facts match \`${params.pattern}\``);
    cli.out.table(
      ['KEY', 'VERSION', 'UPDATED', 'EXPIRES', 'VALUE'],
      entries.map((entry) => [
        entry.key,
        String(entry.version),
        cli.out.age(entry.updated_at),
        cli.out.until(entry.expires_at),
        preview(entry),
      ]),
    );
    if (more) cli.out.note(`there are more than ${params.limit}; raise --limit`);
  });
  if (damage !== undefined) throw damage;
}

function collect(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), text];
}

function equality(text: string): [string, Json] {
  const at = text.indexOf('=');
  if (at < 1) throw new UsageError(`--where takes path=value, not \`${text}\``);
  const value = text.slice(at + 1);
  return [text.slice(0, at), /^(-?\d|true$|false$|null$|["[{])/.test(value) ? parseJson(value, 'the value') : value];
}
