import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { duration } from '../output.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .addHelpText(
      'after',
      '\nHEARD is when any member last heard it; BEHIND counts records that the member has and this node lacks, AHEAD the other way round.\n\nExample:\n  ipe member ls',
    )
    .action(async (options: NodeOptions) => {
      const { members } = await withPlane(cli, options, 'control', ({ control }) => control.call('members', {}));
      const sum = (lag: (typeof members)[number]['lag'], side: 'behind' | 'ahead') =>
        String(Object.values(lag).reduce((total, row) => total + row[side], 0));
      cli.show(options, { members }, () =>
        cli.out.table(
          ['ID', 'STATE', 'LINK', 'HEARD', 'ADDRESS', 'BEHIND', 'AHEAD', 'ORIGIN'],
          members.map((member) => [
            member.id,
            member.state,
            member.linked ? cli.out.color.green('up') : '-',
            member.heard === null ? '-' : `${duration(member.heard)} ago`,
            member.peer ?? '-',
            sum(member.lag, 'behind'),
            sum(member.lag, 'ahead'),
            member.origin,
          ]),
        ),
      );
    });
}
