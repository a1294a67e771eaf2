import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { bytes } from '../output.ts';
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
  const { namespaces } = await withPlane(cli, options, 'data', ({ data }) => data.call('stats', {}));
  cli.show(options, namespaces, () => {
    if (namespaces.length === 0) return cli.out.note('there are no facts yet; write one with: ipe data put');
    cli.out.table(
      ['NAMESPACE', 'ENTRIES', 'TOMBSTONES', 'SIZE', 'STRATEGY'],
      namespaces.map(({ namespace, entries, tombstones, bytes: size, strategy }) => [
        namespace,
        String(entries),
        String(tombstones),
        bytes(size),
        strategy,
      ]),
    );
  });
}
