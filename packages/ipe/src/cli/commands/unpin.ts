import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<name>', 'pin or branch, as `ipe refs` lists it')
    .addHelpText(
      'after',
      `
Drops the name. What only it reached is collected once retention and grace have passed.
A branch such as staging is dropped likewise; main cannot be.

Example:
  ipe unpin release-1`,
    )
    .action(async (name: string, options: NodeOptions) => {
      const result = await withPlane(cli, options, 'control', ({ control }) => control.call('unpin', { name }));
      cli.show(options, result, () => cli.out.line(`${result.name} is dropped`));
    });
}
