import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { readMetrics, type Sample } from '../metrics.ts';
import { bytes, duration, shortId } from '../output.ts';
import { wholeNumber } from '../values.ts';

interface Options extends NodeOptions {
  readonly interval: number;
  readonly once?: boolean;
}

/** Clears the screen and goes to its upper left corner. */
const clearScreen = '\u001b[2J\u001b[H';

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .option('--interval <seconds>', 'look again after so long', wholeNumber('--interval'), 2)
    .option('--once', 'print the rates of one interval and end')
    .addHelpText(
      'after',
      '\nWhat a node is busy with: requests a second by plane and method, decisions, memory. With --json a line an interval.\n\nExample:\n  ipe top --interval 5',
    )
    .action(async (options: Options) => {
      await cli.untilInterrupted((signal) =>
        withPlane(cli, options, 'control', async (client) => {
          let before = await readMetrics(client);
          while (!signal.aborted) {
            await sleep(options.interval * 1000, undefined, { signal }).catch(() => {});
            if (signal.aborted) return;
            const [now, status] = [await readMetrics(client), await client.control.status()];
            const rates = ratesOf(before, now);
            before = now;
            if (options.json) cli.out.raw(`${JSON.stringify({ at: cli.io.now() / 1000, rates, status })}\n`);
            else {
              if (cli.io.stdoutIsTerminal && !options.once) cli.out.raw(clearScreen);
              print(cli, rates, status);
            }
            if (options.once) return;
          }
        }),
      );
    });
}

interface Rate {
  readonly name: string;
  readonly labels: string;
  readonly perSecond: number;
}

/** Counters that moved, the busiest first. */
function ratesOf(before: readonly Sample[], now: readonly Sample[]): Rate[] {
  const old = new Map(before.map((sample) => [`${sample.name}{${sample.labels}}`, sample]));
  return now
    .filter(({ name }) => name.startsWith('ipe_') && name.endsWith('_total'))
    .map(({ name, labels, value, atMs }) => {
      const last = old.get(`${name}{${labels}}`);
      const seconds = last === undefined ? 0 : (atMs - last.atMs) / 1000;
      return { name, labels, perSecond: seconds > 0 ? (value - last!.value) / seconds : 0 };
    })
    .filter(({ perSecond }) => perSecond > 0)
    .sort((a, b) => b.perSecond - a.perSecond);
}

function print(cli: Cli, rates: readonly Rate[], status: Readonly<Record<string, unknown>>): void {
  const {
    instance,
    version,
    uptime,
    root,
    policies,
    memory_bytes: memory,
  } = status as {
    readonly [field: string]: string;
  } & { readonly uptime: number; readonly memory_bytes: number };
  cli.out.line(
    `${cli.out.color.bold(instance)}  ${version}  up ${duration(uptime)}  root ${shortId(root)}  ${policies} policies  ${bytes(memory)}`,
  );
  cli.out.line();
  if (rates.length === 0) cli.out.line(cli.out.color.dim('idle'));
  else
    cli.out.table(
      ['A SECOND', 'COUNTER', 'OF'],
      rates.map(({ name, labels, perSecond }) => [perSecond.toFixed(perSecond < 10 ? 1 : 0).padStart(8), name, labels]),
    );
}
