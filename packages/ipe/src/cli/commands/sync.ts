import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { shortId } from '../output.ts';
import { startProgress } from '../progress.ts';
import { given } from '../values.ts';

interface Options extends NodeOptions {
  readonly branch?: string;
  readonly directory?: string;
  readonly prefix?: string;
  readonly dryRun?: boolean;
  readonly allowEmpty?: boolean;
}

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<repository>', 'local path or URL that git understands')
    .option('--branch <branch>', "which branch (default: the repository's own)")
    .option('--directory <folder>', 'folder inside the repository that holds the policies')
    .option('--prefix <path>', 'mirror below this directory of the policy tree')
    .option('--dry-run', 'say what would change, change nothing')
    .option('--allow-empty', 'remove every policy of the mirror when the repository holds none')
    .addHelpText(
      'after',
      `
Everything compiles and every test passes, or nothing changes.

Examples:
  ipe sync https://example.com/policies.git --branch main --directory policies
  ipe sync . --directory examples/policies --dry-run`,
    )
    .action(async (repository: string, options: Options) => {
      // The node has a working directory of its own, so a path is made absolute here.
      const location =
        /^[a-z][a-z0-9+.-]*:|^[^/]+@[^/]+:/i.test(repository) && !existsSync(cli.path(repository))
          ? repository
          : cli.path(repository);
      const { branch, directory, prefix, dryRun, allowEmpty } = options;
      const progress = await startProgress(cli, `syncing ${repository}`);
      const result = await withPlane(cli, { timeout: 600, ...options }, 'control', ({ control }) =>
        control.call('sync-from-git', {
          repository: location,
          ...given({ branch, directory, prefix, dry_run: dryRun, allow_empty: allowEmpty }),
        }),
      ).finally(() => progress.done());
      cli.show(options, result, () => {
        const { color } = cli.out;
        const counts = [
          color.green(`${result.policies_added} added`),
          color.yellow(`${result.policies_updated} updated`),
          color.red(`${result.policies_removed} removed`),
        ].join(', ');
        cli.out.line(`${options.dryRun ? 'would sync' : 'synced'} commit ${shortId(result.commit)}: ${counts}`);
        cli.out.line(`root ${shortId(result.root)}`);
      });
    });
}
