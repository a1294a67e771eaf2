import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { UsageError } from '../failure.ts';
import { given } from '../values.ts';

interface Options extends NodeOptions {
  readonly namespace?: string;
}

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('[action]', '`release` lets a write take part now, `discard` forgets it')
    .argument('[id]', 'of the write, as the list shows it')
    .option('--namespace <name>', 'list one namespace only')
    .addHelpText(
      'after',
      `
Three kinds of writes are listed. Parked: what a member that returned after its eviction alone had written to a key that
may have been deleted meanwhile. Held: records whose time lies more than an hour ahead; they are applied when the clock
reaches them. Superseded: conditional writes that were accepted and then lost a merge; nothing is to be done about them
here.

Examples:
  ipe data conflicts --json
  ipe data conflicts release users:8d2c41f09b3a77e5:0000a1b2c3d4:12:0
  ipe data conflicts discard users:8d2c41f09b3a77e5:0000a1b2c3d4:13`,
    )
    .action(async (action: string | undefined, id: string | undefined, options: Options) => {
      if (action !== undefined) return await decide(cli, action, id, options);
      const { namespace } = options;
      const found = await withPlane(cli, options, 'control', ({ control }) =>
        control.call('conflicts', given({ namespace })),
      );
      cli.show(options, found, () => {
        const rows = [
          ...found.parked.map(({ id: name, key, op, written_at }) => [
            'parked',
            name,
            key,
            op,
            cli.out.age(written_at),
          ]),
          ...found.held.map(({ id: name, keys, due_at }) => ['held', name, keys.join(' '), '-', cli.out.until(due_at)]),
          ...found.superseded.map(({ key, timestamp }) => [
            'superseded',
            '-',
            String(key),
            '-',
            cli.out.age(timestamp as number),
          ]),
        ];
        cli.out.table(['KIND', 'ID', 'KEY', 'OP', 'WHEN'], rows);
      });
    });
}

async function decide(cli: Cli, action: string, id: string | undefined, options: Options): Promise<void> {
  if (action !== 'release' && action !== 'discard')
    throw new UsageError(`expected \`release\` or \`discard\`, not \`${action}\``);
  if (id === undefined) throw new UsageError(`which write? \`ipe data conflicts ${action} <id>\``);
  const result = await withPlane(cli, options, 'control', ({ control }) => control.call(`conflict-${action}`, { id }));
  cli.show(options, result, () => cli.out.line(`${action === 'release' ? 'released' : 'discarded'} ${id}`));
}
