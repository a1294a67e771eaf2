import { once } from 'node:events';
import type { DataPlane } from '@ipe/client';
import { IpeError } from '@ipe/core';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { beginExport, ExportFile, type ExportPlace, exportPages } from '../export-facts.ts';
import { type Progress, startProgress } from '../progress.ts';

interface Options extends NodeOptions {
  readonly anew?: boolean;
}

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('[pattern]', 'which facts, such as approvals.*; absent or `*`: all', '*')
    .argument('[file]', 'where to; absent or `-`: standard output')
    .option('--anew', 'do not go on with an export that was cut short')
    .addHelpText(
      'after',
      `
One JSON object a line: key, value (or value_base64), and expires_at where it expires. \`ipe data import\` reads it back.
All of them stand as they did in the moment the export began, whatever is written meanwhile.

The file appears under its name when it is whole. Until then it is FILE.partial, and FILE.partial.json says how far it has
come: the same command goes on there, of the same snapshot, as long as the node holds it (ten minutes after the last page,
and until it stops), else it says so and begins anew. Standard output cannot be gone on with.

Examples:
  ipe data export 'approvals.*' approvals.ndjson
  ipe data export '*' facts.ndjson`,
    )
    .action(async (pattern: string, file: string | undefined, options: Options) => {
      const progress = await startProgress(cli, 'exporting');
      const { facts, damaged } = await withPlane(cli, options, 'data', ({ data }) =>
        file === undefined || file === '-'
          ? toOutput(cli, data, pattern, progress)
          : toFile(cli, data, pattern, file, options.anew === true, progress),
      ).finally(() => progress.done());
      cli.out.note(`exported ${facts} facts`);
      // They are told of at the end: the others are not to be held back for them.
      if (damaged.length > 0) throw unreadable(damaged);
    });
}

async function toOutput(cli: Cli, data: DataPlane, pattern: string, progress: Progress): Promise<ExportPlace> {
  let place = await beginExport(data, pattern);
  for await (const page of exportPages(data, place)) {
    place = page.place;
    if (!cli.io.stdout.write(page.text)) await once(cli.io.stdout, 'drain');
    progress.update(`exported ${place.facts} facts`);
  }
  return place;
}

async function toFile(
  cli: Cli,
  data: DataPlane,
  pattern: string,
  name: string,
  isAnew: boolean,
  progress: Progress,
): Promise<ExportPlace> {
  const file = new ExportFile(cli.path(name));
  const stopped = isAnew ? undefined : await file.stoppedAt(pattern);
  let from: ExportPlace | undefined;
  if (stopped !== undefined && (await file.canGoOn(data, stopped))) {
    from = stopped;
    const at = new Date(from.at * 1000).toISOString();
    cli.out.note(`going on behind ${from.facts} facts with the export of ${at} that was cut short`);
  } else if (stopped !== undefined)
    cli.out.note(
      `beginning anew: an export was cut short after ${stopped.facts} facts, and the node no longer holds its snapshot`,
    );
  from ??= await beginExport(data, pattern);
  let place = from;
  const on = (next: ExportPlace) => {
    place = next;
    progress.update(`exported ${next.facts} facts`);
  };
  try {
    await cli.untilInterrupted((signal) => file.fill(data, from, signal, on));
    return place;
  } catch (error) {
    cli.out.note(`stopped after ${place.facts} facts; the same command goes on from there`);
    throw error;
  }
}

function unreadable(damaged: ExportPlace['damaged']): IpeError {
  const named = damaged.slice(0, 5).map(({ key }) => (key === undefined ? 'one whose key is sealed' : `\`${key}\``));
  return new IpeError(
    'corrupt',
    `${damaged.length} facts cannot be read: ${named.join(', ')}${damaged.length > named.length ? ', …' : ''}; all others were exported`,
    { details: { damaged } },
  );
}
