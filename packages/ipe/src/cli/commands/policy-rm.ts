import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { shortId } from '../output.ts';
import { given } from '../values.ts';

interface Options extends NodeOptions {
  readonly message?: string;
  readonly ifVersion?: string;
  readonly ref?: string;
  readonly force?: boolean;
}

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<path>')
    .option('-m, --message <text>', 'why')
    .option('--if-version <version>', 'only this version')
    .option('--ref <ref>', 'on this ref in place of main')
    .option('--force', 'also below a mirrored repository, until its next sync')
    .addHelpText(
      'after',
      '\nIts history stays; `ipe policy history` shows it.\n\nExample:\n  ipe policy rm prod.deployment.approval -m "moved"',
    )
    .action(async (path: string, options: Options) => {
      const { message, ifVersion, ref, force } = options;
      const result = await withPlane(cli, options, 'control', ({ control }) =>
        control.call('delete-policy', given({ path, message, expected_version: ifVersion, ref, force })),
      );
      cli.show(options, result, () => cli.out.line(`removed ${path}, root ${shortId(result.root)}`));
    });
}
