import { existsSync } from 'node:fs';
import type { Mirror, SyncResult } from '@ipe/client/protocol';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { longWorkSeconds, type NodeOptions, onNode, withPlane } from '../connect.ts';
import { UsageError } from '../failure.ts';
import { shortId } from '../output.ts';
import { startProgress } from '../progress.ts';
import { given } from '../values.ts';

interface Options extends NodeOptions {
  readonly branch?: string;
  readonly directory?: string;
  readonly prefix?: string;
  readonly dryRun?: boolean;
  readonly allowEmpty?: boolean;
  readonly force?: boolean;
  readonly resume?: boolean;
  readonly detach?: boolean;
  readonly rollback?: string;
  readonly status?: boolean;
}

export function define(command: Command, cli: Cli): void {
  onNode(command, longWorkSeconds)
    .argument('[repository]', 'local path or URL that git understands (default: the only mirror there is)')
    .option('--branch <branch>', "which branch or tag (default: the repository's own)")
    .option('--directory <folder>', 'folder inside the repository that holds the policies')
    .option('--prefix <path>', 'mirror below this directory of the policy tree')
    .option('--dry-run', 'show what would change and which tests would turn, change nothing')
    .option('--allow-empty', 'remove every policy of the mirror when the repository holds none')
    .option('--force', 'take over what a configured mirror owns')
    .option('--rollback <commit>', 'go to an earlier commit of the mirror and stay there until --resume')
    .option('--resume', 'follow the branch again after a rollback')
    .option('--detach', 'forget the mirror; its policies stay')
    .option('--status', 'how the mirrors stand: commits, pins, failures, drift')
    .addHelpText(
      'after',
      `
Everything compiles and every test passes, or nothing changes. What a mirror brought
is changed in its repository; direct writes there need --force and are shown as drift.

Examples:
  ipe sync https://example.com/policies.git --branch main --directory policies
  ipe sync . --directory examples/policies --dry-run
  ipe sync --rollback 4f2a91c && ipe sync --resume`,
    )
    .action(async (repository: string | undefined, options: Options) => {
      if (options.status) return showStatus(cli, repository, options);
      if (repository === undefined && !options.rollback && !options.resume && !options.detach && options.branch)
        throw new UsageError('name the repository that the branch is of');
      const progress = await startProgress(cli, repository === undefined ? 'syncing' : `syncing ${repository}`);
      const result = await run(cli, repository, options).finally(() => progress.done());
      cli.show(options, result, () => print(cli, result));
    });
}

function run(cli: Cli, repository: string | undefined, options: Options): Promise<SyncResult> {
  const { branch, directory, prefix, force, resume, detach, rollback } = options;
  const location = repository === undefined ? {} : { repository: locate(cli, repository) };
  const shared = { ...location, ...given({ dry_run: options.dryRun, allow_empty: options.allowEmpty }) };
  return withPlane(cli, options, 'control', ({ control }) =>
    rollback === undefined
      ? control.call('sync-from-git', { ...shared, ...given({ branch, directory, prefix, force, resume, detach }) })
      : control.call('rollback-to-commit', { ...shared, commit: rollback }),
  );
}

/** The node has a working directory of its own, so a path is made absolute here; URLs and ids of mirrors are kept. */
function locate(cli: Cli, repository: string): string {
  if (existsSync(cli.path(repository))) return cli.path(repository);
  const isElsewhere = /^[a-z][a-z0-9+.-]*:|^[^/]+@[^/]+:|^[0-9a-f]{12}$/i.test(repository);
  return isElsewhere ? repository : cli.path(repository);
}

function print(cli: Cli, result: SyncResult): void {
  const { color } = cli.out;
  if ('detached' in result) {
    cli.out.line(`detached ${String(result.detached)}: its policies stay, and may be written directly`);
    return;
  }
  const isDry = result.status === 'dry-run';
  const counts = [
    color.green(`${result.policies_added} added`),
    color.yellow(`${result.policies_updated} updated`),
    color.red(`${result.policies_removed} removed`),
  ].join(', ');
  const { policies, tests } = result;
  const what = isDry ? 'would sync' : result.status === 'up-to-date' ? 'up to date with' : 'synced';
  cli.out.line(
    `${what} commit ${shortId(result.commit)} of ${result.branch}: ${counts} (${policies} policies, ${tests} tests)`,
  );
  for (const { path } of result.changes.filter(({ change }) => change === 'removed'))
    cli.out.line(color.red(`  ${isDry ? 'would remove' : 'removed'} ${path}`));
  for (const path of result.drift_reverted)
    cli.out.line(`  ${isDry ? 'would put back' : 'put back'} ${path}, changed here`);
  for (const test of result.changed_tests ?? []) {
    const paint = test.after === 'passed' ? color.green : color.red;
    cli.out.line(paint(`  test "${test.name}" of ${test.path} (${test.suite}): ${test.before} -> ${test.after}`));
  }
  for (const { source_patch, test_patch } of result.patches ?? []) {
    if (source_patch !== undefined) cli.out.raw(source_patch);
    if (test_patch !== undefined) cli.out.raw(test_patch);
  }
  cli.out.line(`root ${shortId(result.root)}`);
  if (result.pinned) cli.out.line('the mirror stays here until `ipe sync --resume`');
}

async function showStatus(cli: Cli, repository: string | undefined, options: Options): Promise<void> {
  const params = repository === undefined ? {} : { repository: locate(cli, repository) };
  const result = await withPlane(cli, options, 'control', ({ control }) => control.call('get-sync-status', params));
  cli.show(options, result, () => {
    const mirrors = result.mirrors ?? [];
    if (mirrors.length === 0) cli.out.line('no repository is mirrored');
    for (const mirror of mirrors) printMirror(cli, mirror);
  });
}

function printMirror(cli: Cli, mirror: Mirror): void {
  const { color } = cli.out;
  const paint = mirror.status === 'synced' ? color.green : mirror.status === 'failed' ? color.red : color.yellow;
  cli.out.line(`${mirror.repository}  ${paint(mirror.status)}`);
  cli.out.line(`  mirror ${mirror.mirror}, owns ${mirror.owned.join(', ') || 'nothing'}`);
  if (mirror.commit !== null)
    cli.out.line(`  commit ${shortId(mirror.commit)}${mirror.branch === null ? '' : ` of ${mirror.branch}`}`);
  if (mirror.pin !== null)
    cli.out.line(`  held at ${shortId(mirror.pin.commit)} by ${mirror.pin.by} until \`ipe sync --resume\``);
  if (mirror.behind && mirror.seen_commit !== null) cli.out.line(`  newer commit seen: ${shortId(mirror.seen_commit)}`);
  if (mirror.error !== null) cli.out.line(color.red(`  ${mirror.error.message}`));
  for (const path of mirror.drift) cli.out.line(color.yellow(`  drift: ${path}`));
}
