import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { shortId } from '../output.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<name>', 'such as release-1')
    .argument('[root]', 'root, commit, version or ref to keep', 'main')
    .addHelpText(
      'after',
      `
A pin names one root for good: it never moves, and what it names is kept from \`ipe gc\`.

Examples:
  ipe pin release-1
  ipe pin before-the-audit 3f2a9c`,
    )
    .action(async (name: string, root: string, options: NodeOptions) => {
      const pin = await withPlane(cli, options, 'control', ({ control }) => control.call('pin', { name, root }));
      cli.show(options, pin, () =>
        cli.out.line(`${pin.name} is commit ${shortId(pin.commit)}, root ${shortId(pin.root)}`),
      );
    });
}
