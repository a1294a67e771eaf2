import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { given } from '../values.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<path>', 'policy or directory; one that does not exist is proved absent')
    .option('--root <root>', 'root, commit or ref')
    .addHelpText(
      'after',
      '\nThe proof is JSON; `verifyProof` of @ipe/core checks it against the root alone, offline.\n\nExample:\n  ipe prove prod.deployment.approval > proof.json',
    )
    .action(async (path: string, options: NodeOptions & { root?: string }) => {
      const proof = await withPlane(cli, options, 'control', ({ control }) =>
        control.call('prove', given({ path, root: options.root })),
      );
      cli.out.json(proof);
    });
}
