import type { Decision } from '@ipe/client/protocol';
import { type Command, Option } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { printExplanation } from '../explanation.ts';
import { UsageError } from '../failure.ts';
import { decideLocally } from '../local-decision.ts';
import { type RequestOptions, readAccessRequest } from '../request.ts';
import { given } from '../values.ts';

interface Options extends NodeOptions, RequestOptions {
  readonly policies?: string;
  readonly data?: string;
  readonly explain?: boolean;
  readonly receipt?: 'plain' | 'signed' | 'full' | true;
  readonly exitCode?: boolean;
  readonly now?: number;
  readonly root?: string;
}

/** Exit codes with `--exit-code`. */
const exitCodes = { allow: 0, deny: 3, not_applicable: 4 } as const;

/** `ipe eval` */
export function define(command: Command, cli: Cli): void {
  defineQuestion(command, cli, false)
    .option('--explain', 'show how every expression came out')
    .addHelpText(
      'after',
      `
Examples:
  ipe eval prod.deployment --subject user:alice --action deploy --resource deployment:d1 -p resource.environment=production
  ipe eval prod.deployment.approval --input request.json --explain
  ipe eval prod --input - --policies policies/ --data facts.yaml --exit-code < request.json`,
    );
}

/** `ipe explain`: the same question, with how every expression came out. */
export function defineExplain(command: Command, cli: Cli): void {
  defineQuestion(command, cli, true).addHelpText(
    'after',
    `
Examples:
  ipe explain prod.deployment --subject user:alice --action deploy --resource deployment:d1 -p resource.environment=production
  ipe explain prod --input request.json --policies policies/ --data facts.yaml`,
  );
}

function defineQuestion(command: Command, cli: Cli, isExplained: boolean): Command {
  return onNode(command)
    .argument('<path>', 'policy, or directory: then every policy below it is asked and any deny denies')
    .option('-s, --subject <type:id>', 'who, such as user:alice')
    .option('-a, --action <name>', 'does what, such as deploy')
    .option('-r, --resource <type:id>', 'to what, such as deployment:d1')
    .option(
      '-p, --property <name=value>',
      'such as resource.environment=production or context.ip=10.0.0.1; may be repeated',
      collect,
    )
    .option('-i, --input <file>', 'the question as JSON, whole or in part, or `-`')
    .option('--policies <folder>', 'ask the policies of a folder, without a node')
    .option('--data <file>', 'facts for --policies: YAML or JSON, keys to values')
    .option('--now <time>', 'decide as if at this time (Unix seconds or ISO 8601)', time)
    .option('--root <root>', 'decide at this root, commit or ref')
    .addOption(
      new Option('--receipt [kind]', 'show the receipt: everything that the decision depended on').choices([
        'plain',
        'signed',
        'full',
      ]),
    )
    .option('--exit-code', 'exit with 0 on allow, 3 on deny, 4 on not_applicable')
    .action(async (path: string, given: Options) => {
      const options = isExplained ? { ...given, explain: true } : given;
      const request = await readAccessRequest(cli, options);
      const decision =
        options.policies === undefined
          ? await ask(cli, path, request, options)
          : await askLocally(cli, path, request, options);
      cli.show(options, decision, () => print(cli, path, decision, options));
      if (options.exitCode) cli.exitCode = exitCodes[decision.decision];
    });
}

function ask(
  cli: Cli,
  path: string,
  request: Awaited<ReturnType<typeof readAccessRequest>>,
  options: Options,
): Promise<Decision> {
  if (options.data !== undefined)
    throw new UsageError('--data goes with --policies; write facts of a node with `ipe data put`');
  const { explain, now, root } = options;
  return withPlane(cli, options, 'evaluation', ({ evaluation }) =>
    evaluation.evaluate(path, {
      ...request,
      ...given({ explain, now, root, receipt: options.receipt === true ? 'plain' : options.receipt }),
    }),
  );
}

function askLocally(
  cli: Cli,
  path: string,
  request: Awaited<ReturnType<typeof readAccessRequest>>,
  options: Options,
): Promise<Decision> {
  for (const name of ['root', 'receipt'] as const)
    if (options[name] !== undefined) throw new UsageError(`--${name} needs a node; leave --policies out`);
  return decideLocally(cli, {
    folder: options.policies!,
    path,
    request,
    ...given({ facts: options.data, now: options.now, explain: options.explain }),
  });
}

function print(cli: Cli, path: string, decision: Decision, options: Options): void {
  const { color } = cli.out;
  const verdict = {
    allow: color.green('allow'),
    deny: color.red('deny'),
    not_applicable: color.yellow('not applicable'),
  }[decision.decision];
  cli.out.line(`${color.bold(verdict)}  ${path}`);
  const line = (mark: string, { path: policy, reason, message }: Decision['reasons'][number]) =>
    cli.out.line(`  ${mark} ${message}  ${color.dim(`${reason ?? ''} ${policy}`.trim())}`);
  for (const reason of decision.reasons) line(color.red('✗'), reason);
  for (const warning of decision.warnings) line(color.yellow('!'), warning);
  for (const error of decision.errors) line(color.red('error'), error);
  if (decision.explain !== undefined) printExplanation(cli, decision.explain);
  if (options.receipt && decision.receipt) cli.out.line(JSON.stringify(decision.receipt, null, 2));
}

function collect(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), text];
}

function time(text: string): number {
  const seconds = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Date.parse(text) / 1000;
  if (Number.isNaN(seconds)) throw new UsageError(`--now takes Unix seconds or ISO 8601, not \`${text}\``);
  return seconds;
}
