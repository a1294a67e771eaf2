import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { bytes, shortId } from '../output.ts';
import { given } from '../values.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('[member]', 'fetch from this one, such as another follower (default: the origin)')
    .addHelpText(
      'after',
      `
A follower syncs by itself, at once when the origin's policies change and every few seconds besides. This does
it now and waits, or takes another way where the origin is out of reach: what the origin signed is verified
whoever hands it on. \`ipe status\` shows how a follower stands, under policy sync.

Examples:
  ipe member sync
  ipe member sync ipe-3f2a91`,
    )
    .action(async (member: string | undefined, options: NodeOptions) => {
      const result = await withPlane(cli, options, 'control', ({ control }) =>
        control.call('sync-from-peer', given({ peer: member })),
      );
      cli.show(options, result, () => {
        const got = result.objects === 0 ? 'nothing was missing' : `${result.objects} objects, ${bytes(result.bytes)}`;
        cli.out.line(`at root ${shortId(result.root)} as ${result.from} has it: ${got}`);
      });
    });
}
