import { createHash } from 'node:crypto';
import type { DataPlane } from '@ipe/client';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { type ImportPlace, type ImportSource, importBatches, sourceBehind, startOfImport } from '../import-facts.ts';
import { PlaceFile } from '../place-file.ts';
import { startProgress } from '../progress.ts';

interface Options extends NodeOptions {
  readonly anew?: boolean;
}

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<file>', 'NDJSON as `ipe data export` writes it, or `-`')
    .option('--anew', 'do not go on with an import that was cut short')
    .addHelpText(
      'after',
      `
Facts that have expired meanwhile are passed over.

Until it is through, FILE.import.json says how far it has come: the same command goes on behind the last batch that the
node acknowledged. Of the batch after it, only what is not there yet is written. At another node, or where the file
differs before that place, it says so and begins anew. Standard input cannot be gone on with; to repeat it whole is
harmless, but writes each fact again.

Example:
  ipe data import approvals.ndjson`,
    )
    .action(async (file: string, options: Options) => {
      const progress = await startProgress(cli, 'importing');
      const on = ({ written }: ImportPlace) => progress.update(`imported ${written} facts`);
      const { written, expired } = await withPlane(cli, options, 'data', ({ data }) =>
        file === '-' ? fromInput(cli, data, on) : fromFile(cli, data, file, options.anew === true, on),
      ).finally(() => progress.done());
      cli.show(options, { written, expired }, () =>
        cli.out.line(`imported ${written} facts${expired > 0 ? `, passed over ${expired} that had expired` : ''}`),
      );
    });
}

async function fromInput(cli: Cli, data: DataPlane, on: (place: ImportPlace) => void): Promise<ImportPlace> {
  const source: ImportSource = { name: '-', input: cli.io.stdin, hash: createHash('sha256') };
  let place = startOfImport('');
  const options = { isRepeat: false, now: cli.io.now };
  for await (place of importBatches(data, source, place, options)) on(place);
  return place;
}

async function fromFile(
  cli: Cli,
  data: DataPlane,
  file: string,
  isAnew: boolean,
  on: (place: ImportPlace) => void,
): Promise<ImportPlace> {
  const path = cli.path(file);
  const { instance } = await data.call('stats', {});
  const kept = new PlaceFile<ImportPlace>(`${path}.import.json`, 1);
  let isKept = true;
  const keep = async (place: ImportPlace) => {
    try {
      if (isKept) await kept.write(place);
    } catch (error) {
      if (!['EACCES', 'EPERM', 'EROFS'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
      isKept = false;
      cli.out.note(`cannot write \`${kept.path}\`: if this import is cut short it cannot be gone on with`);
    }
  };
  const stopped = isAnew ? undefined : await kept.read();
  const start = startOfImport(instance);
  let from = stopped ?? start;
  let source =
    stopped !== undefined && stopped.instance === instance ? await sourceBehind(path, file, stopped) : undefined;
  if (source !== undefined) cli.out.note(`going on behind line ${from.lines} with the import that was cut short`);
  else {
    if (stopped !== undefined)
      cli.out.note(
        `beginning anew: an import was cut short behind line ${stopped.lines}, and ${
          stopped.instance === instance ? 'the file has changed before it' : 'it was an import into another node'
        }`,
      );
    from = start;
    source = (await sourceBehind(path, file, start))!;
    await keep(start);
  }
  let place = from;
  const tell = () =>
    cli.out.note(
      isKept
        ? `stopped behind line ${place.lines}; the same command goes on from there`
        : `stopped behind line ${place.lines}`,
    );
  const options = { isRepeat: from !== start, now: cli.io.now };
  try {
    await cli.untilInterrupted(async (signal) => {
      for await (place of importBatches(data, source, from, { ...options, signal })) {
        await keep(place);
        on(place);
      }
    });
    await kept.remove();
    return place;
  } catch (error) {
    tell();
    throw error;
  }
}
