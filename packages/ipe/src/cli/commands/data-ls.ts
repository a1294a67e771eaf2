import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { wholeNumber } from '../values.ts';
import { listEntries } from './data-query.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('[prefix]', 'a namespace, or a namespace and segments; absent: the namespaces')
    .option('--limit <number>', 'at most so many', wholeNumber('--limit'), 1000)
    .addHelpText('after', '\nExamples:\n  ipe data ls\n  ipe data ls approvals')
    .action(async (prefix: string | undefined, options: NodeOptions & { limit: number }) => {
      if (prefix === undefined) return listNamespaces(cli, options);
      const pattern = prefix.includes('*') ? prefix : `${prefix.replace(/\.$/, '')}.*`;
      await listEntries(cli, options, { pattern, limit: options.limit });
    });
}

async function listNamespaces(cli: Cli, options: NodeOptions): Promise<void> {
  const stats = await withPlane(cli, options, 'data', ({ data }) => data.call('stats', {}));
  cli.show(options, stats['namespaces'], (namespaces) => {
    const rows = Object.entries((namespaces ?? {}) as Record<string, Record<string, unknown>>);
    if (rows.length === 0) return cli.out.note('there are no facts yet; write one with: ipe data put');
    cli.out.table(
      ['NAMESPACE', 'ENTRIES', 'TOMBSTONES'],
      rows.map(([name, row]) => [name, String(row['entries'] ?? '-'), String(row['tombstones'] ?? '-')]),
    );
  });
}
