import type { Command } from 'commander';
import { applyFolder, printApplied } from '../apply.ts';
import type { Cli } from '../cli.ts';
import { longWorkSeconds, type NodeOptions, onNode, withPlane } from '../connect.ts';
import { renderProblem } from '../failure.ts';
import { startProgress } from '../progress.ts';
import { given } from '../values.ts';

interface Options extends NodeOptions {
  readonly prefix?: string;
  readonly prune?: boolean;
  readonly message?: string;
  readonly ref?: string;
  readonly dryRun?: boolean;
}

export function define(command: Command, cli: Cli): void {
  onNode(command, longWorkSeconds)
    .argument('[folder]', 'folder of policies, or one `*.policy.yaml`', '.')
    .option('--prefix <path>', 'put them below this directory of the policy tree')
    .option('--prune', 'remove policies (below the prefix) that the folder does not hold')
    .option('-m, --message <text>', 'what changed and why')
    .option('--ref <ref>', 'on this ref in place of main')
    .option('--dry-run', 'say what would change, change nothing')
    .addHelpText(
      'after',
      `
Everything compiles and every test passes, or nothing changes.

Examples:
  ipe apply policies/ -m "allow deployments on Sundays"
  ipe apply policies/ --prune --dry-run`,
    )
    .action(async (folder: string, options: Options) => {
      const progress = await startProgress(cli, `applying ${folder}`);
      const { prefix, prune, message, ref, dryRun } = options;
      const result = await withPlane(cli, options, 'control', ({ control }) =>
        applyFolder(cli, control, folder, given({ prefix, prune, message, ref, dryRun })),
      ).finally(() => progress.done());
      cli.show(options, result, () => {
        for (const warning of result.warnings) for (const line of renderProblem(warning)) cli.out.note(line);
        printApplied(cli, result);
      });
    });
}
