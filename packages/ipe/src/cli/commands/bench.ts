import type { Client } from '@ipe/client';
import type { Plane } from '@ipe/client/protocol';
import { Argument, type Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { UsageError } from '../failure.ts';
import { type LoadResult, runLoad } from '../load.ts';
import { startProgress } from '../progress.ts';
import { type RequestOptions, readAccessRequest } from '../request.ts';
import { wholeNumber } from '../values.ts';

interface Options extends NodeOptions, RequestOptions {
  readonly seconds: number;
  readonly inFlight: number;
  readonly keys: number;
  readonly bytes: number;
  readonly path?: string;
}

const kinds = ['put', 'get', 'evaluate'] as const;
type Kind = (typeof kinds)[number];

/** Facts written here expire by themselves. */
const ttlSeconds = 600;

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .addArgument(new Argument('[kinds...]', 'what to measure').choices(kinds))
    .option('--seconds <number>', 'how long each', wholeNumber('--seconds'), 5)
    .option('--in-flight <number>', 'operations under way at once', wholeNumber('--in-flight'), 64)
    .option('--keys <number>', 'how many facts', wholeNumber('--keys'), 10_000)
    .option('--bytes <number>', 'size of a fact', wholeNumber('--bytes'), 200)
    .option('--path <path>', 'what `evaluate` asks')
    .option('-s, --subject <type:id>', 'for `evaluate`')
    .option('-a, --action <name>', 'for `evaluate`')
    .option('-r, --resource <type:id>', 'for `evaluate`')
    .option('-p, --property <name=value>', 'for `evaluate`; may be repeated', (text, before: string[] = []) => [
      ...before,
      text,
    ])
    .option('-i, --input <file>', 'the question for `evaluate`, as JSON')
    .addHelpText(
      'after',
      `
Loads a running node over one pipelined session. Facts are written below \`bench.\` and expire after ten minutes. Client
and node share the machine, so take the figures as a check of this installation; \`npm run bench\` measures properly.

Examples:
  ipe bench put get --in-flight 512
  ipe bench evaluate --path api.rate_limit -s user:alice -a call -r endpoint:/x`,
    )
    .action(async (asked: Kind[], options: Options) => {
      const wanted =
        asked.length === 0 ? kinds.filter((kind) => kind !== 'evaluate' || options.path !== undefined) : asked;
      const results: Record<string, LoadResult> = {};
      await cli.untilInterrupted(async (signal) => {
        for (const kind of wanted) results[kind] = await measure(cli, kind, options, signal);
      });
      cli.show(options, results, () =>
        cli.out.table(
          ['WHAT', 'A SECOND', 'P50 MS', 'P99 MS', 'P99.9 MS', 'MAX MS'],
          Object.entries(results).map(([kind, { perSecond, p50Ms, p99Ms, p999Ms, maxMs }]) => [
            kind,
            Math.round(perSecond).toLocaleString('en-US'),
            ...[p50Ms, p99Ms, p999Ms, maxMs].map((ms) => ms.toFixed(2)),
          ]),
        ),
      );
    });
}

async function measure(cli: Cli, kind: Kind, options: Options, signal: AbortSignal): Promise<LoadResult> {
  const plane: Plane = kind === 'evaluate' ? 'evaluation' : 'data';
  const prepare = await operationOf(cli, kind, options);
  const progress = await startProgress(cli, `${kind}, ${options.inFlight} under way`);
  try {
    return await withPlane(cli, options, plane, async (client) => {
      const session = await client.session({ maxInFlight: options.inFlight });
      const load = { seconds: options.seconds, inFlight: options.inFlight, signal };
      const result = await runLoad(load, prepare(session));
      await session.close();
      return result;
    });
  } finally {
    progress.done();
  }
}

type Operation = (index: number) => Promise<unknown>;
type Session = Awaited<ReturnType<Client['session']>>;

async function operationOf(cli: Cli, kind: Kind, options: Options): Promise<(session: Session) => Operation> {
  const key = (index: number) => `bench.k${index % options.keys}`;
  if (kind === 'get')
    return ({ data }) =>
      (index) =>
        data.get(key(index));
  if (kind === 'put') {
    const value = 'x'.repeat(options.bytes);
    return ({ data }) =>
      (index) =>
        data.put(key(index), value, { ttl: ttlSeconds });
  }
  const { path } = options;
  if (path === undefined) throw new UsageError('`evaluate` needs --path, and a question');
  const request = await readAccessRequest(cli, options);
  return ({ evaluation }) =>
    () =>
      evaluation.evaluate(path, request);
}
