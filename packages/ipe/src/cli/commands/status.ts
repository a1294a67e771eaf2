import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { duration, shortId } from '../output.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .addHelpText('after', '\nExample:\n  ipe status --json | jq .root')
    .action(async (options: NodeOptions) => {
      const status = await withPlane(cli, options, 'control', ({ control }) => control.status());
      cli.show(options, status, () => {
        const { instance, version, root, commit, uptime, ...rest } = status;
        cli.out.pairs([
          ['instance', String(instance)],
          ['version', String(version)],
          ['up for', typeof uptime === 'number' ? duration(uptime) : '-'],
          ['root', shortId(root as string)],
          ['commit', shortId(commit as string | null)],
        ]);
        for (const [section, value] of Object.entries(rest)) {
          cli.out.line(`\n${cli.out.color.bold(section)}`);
          cli.out.pairs(flatten(value).map(([name, each]) => [`  ${name}`, each] as const));
        }
      });
    });
}

/** Nested facts as dotted names with plain values. */
function flatten(value: unknown, name = ''): [string, string][] {
  if (typeof value !== 'object' || value === null) return [[name || 'value', String(value)]];
  if (Array.isArray(value))
    return [
      [
        name || 'value',
        value.length === 0
          ? '-'
          : value.map((each) => (typeof each === 'object' ? JSON.stringify(each) : String(each))).join(', '),
      ],
    ];
  const pairs = Object.entries(value).flatMap(([key, each]) => flatten(each, name === '' ? key : `${name}.${key}`));
  return pairs.length === 0 ? [[name || 'value', '-']] : pairs;
}
