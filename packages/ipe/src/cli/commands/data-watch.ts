import type { DataEvent } from '@ipe/client/protocol';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { given, preview } from '../values.ts';

interface Options extends NodeOptions {
  readonly existing?: boolean;
  readonly from?: string;
}

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<pattern>', '`*` is one segment, and at the end one or more: approvals.*')
    .option('--existing', 'begin with what is there now')
    .option('--from <token>', 'resume behind the event with this token')
    .addHelpText(
      'after',
      `
One event a line until interrupted; with --json as NDJSON. Broken connections are replaced and the watch resumed.

Examples:
  ipe data watch 'approvals.*' --existing
  ipe data watch 'approvals.*' --json | jq .key`,
    )
    .action(async (pattern: string, options: Options) => {
      await cli.untilInterrupted((signal) =>
        withPlane(cli, options, 'data', async ({ data }) => {
          const start = given({ include_existing: options.existing, from: options.from });
          for await (const event of data.watch(pattern, { ...start, signal })) {
            if (options.json) cli.out.raw(`${JSON.stringify(event)}\n`);
            else if (event.type !== 'bookmark') cli.out.line(describe(cli, event));
          }
        }),
      );
    });
}

function describe(cli: Cli, event: DataEvent): string {
  const { color } = cli.out;
  const paint = {
    update: color.green,
    delete: color.red,
    superseded: color.yellow,
    resync: color.magenta,
    damaged: color.red,
    bookmark: color.dim,
  }[event.type];
  const time = new Date((event.timestamp ?? cli.io.now() / 1000) * 1000).toISOString().slice(11, 23);
  const value =
    event.type === 'update'
      ? `  ${preview(event)}`
      : event.winner !== undefined
        ? `  lost to ${event.winner.deleted ? 'a deletion' : preview(event.winner)} ${color.dim(`v${event.winner.version}`)}`
        : '';
  return `${color.dim(time)}  ${paint(event.type.padEnd(10))}  ${event.key ?? ''}  ${color.dim(`v${event.version ?? '-'}`)}${value}`;
}
