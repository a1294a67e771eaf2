import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { bytes, duration, shortId } from '../output.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .addHelpText('after', '\nExample:\n  ipe status --json | jq .root')
    .action(async (options: NodeOptions) => {
      const [status, { refs }] = await withPlane(cli, options, 'control', ({ control }) =>
        Promise.all([control.status(), control.call('refs', {})]),
      );
      cli.show(options, status, () => {
        const { instance, version, root, commit, uptime, ...rest } = status;
        const isPlain = (value: unknown) => typeof value !== 'object' || value === null;
        cli.out.pairs([
          ['instance', String(instance)],
          ['version', String(version)],
          ['up for', typeof uptime === 'number' ? duration(uptime) : '-'],
          ['root', shortId(root as string)],
          ['commit', shortId(commit as string | null)],
          ...refs
            .filter(({ name }) => name !== 'main')
            .map((ref) => [`${ref.kind} ${ref.name}`, shortId(ref.commit)] as const),
          ...Object.entries(rest).flatMap(([name, value]) =>
            isPlain(value) ? [[label(name), shown(name, value)] as const] : [],
          ),
        ]);
        for (const [name, value] of Object.entries(rest)) {
          if (isPlain(value) || isEmpty(value)) continue;
          cli.out.line(`\n${cli.out.color.bold(label(name))}`);
          const { pairs, tables } = flatten(value);
          cli.out.pairs(pairs.map(([key, each]) => [`  ${key}`, each] as const));
          for (const [title, rows] of tables) {
            if (title !== '') cli.out.line(`\n  ${label(title)}`);
            printRows(cli, rows);
          }
        }
      });
    });
}

const label = (name: string) => name.replaceAll('_', ' ');

function shown(name: string, value: unknown): string {
  if (value === null) return '-';
  return name.endsWith('bytes') && typeof value === 'number' ? bytes(value) : String(value);
}

function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

/** Whether a value is a list of things with fields, which are read best in columns. */
function isTable(value: unknown): value is readonly object[] {
  return Array.isArray(value) && value.length > 0 && value.every((each) => typeof each === 'object' && each !== null);
}

/** Rows of like things as a table of their plain fields. */
function printRows(cli: Cli, rows: readonly object[]): void {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const used = columns.filter((column) =>
    rows.some((row) => !['object', 'undefined'].includes(typeof (row as Record<string, unknown>)[column])),
  );
  cli.out.table(
    used.map((column) => `  ${label(column).toUpperCase()}`),
    rows.map((row) => used.map((column) => `  ${cell(cli, column, (row as Record<string, unknown>)[column])}`)),
  );
}

function cell(cli: Cli, column: string, value: unknown): string {
  if (value === null || value === undefined) return '-';
  if (typeof value === 'object') return JSON.stringify(value);
  if (column.endsWith('_at') && typeof value === 'number') {
    const isPast = value * 1000 <= cli.io.now();
    return isPast ? `${cli.out.age(value)} ago` : cli.out.until(value);
  }
  return shown(column, value);
}

interface Flattened {
  readonly pairs: readonly (readonly [name: string, value: string])[];
  readonly tables: readonly (readonly [title: string, rows: readonly object[]])[];
}

/** Nested facts as dotted names with plain values, and the lists of things with fields among them as tables. */
function flatten(value: unknown, name = ''): Flattened {
  if (isTable(value)) return { pairs: [], tables: [[name, value]] };
  const plain = (text: string): Flattened => ({ pairs: [[name || 'value', text]], tables: [] });
  if (Array.isArray(value)) return plain(value.length === 0 ? '-' : value.join(', '));
  if (typeof value !== 'object' || value === null) return plain(shown(name, value));
  const parts = Object.entries(value).map(([key, each]) => flatten(each, name === '' ? key : `${name}.${key}`));
  if (parts.length === 0) return plain('-');
  return { pairs: parts.flatMap(({ pairs }) => pairs), tables: parts.flatMap(({ tables }) => tables) };
}
