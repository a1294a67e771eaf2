import type { ControlPlane } from '@ipe/client';
import type { ApplyResult, PolicyChange } from '@ipe/client/protocol';
import { IpeError } from '@ipe/core';
import { readPolicyDirectory } from '../gitops/directory.ts';
import type { Cli } from './cli.ts';
import { given } from './values.ts';

export interface ApplyFolderOptions {
  /** Directory of the policy tree under which the folder goes; default the root. */
  readonly prefix?: string;
  /** Removes policies below the prefix that the folder does not hold. */
  readonly prune?: boolean;
  readonly message?: string;
  readonly ref?: string;
  readonly dryRun?: boolean;
}

/**
 * Makes a node hold the policies of a folder, in one commit; what is there already is not written again.
 *
 * @throws IpeError `policy_invalid` for mistakes in names, IpeClientError for what the node found in the policies
 */
export async function applyFolder(
  cli: Cli,
  control: ControlPlane,
  folder: string,
  options: ApplyFolderOptions = {},
): Promise<ApplyResult> {
  const { policies, problems } = await readPolicyDirectory(cli.path(folder));
  const errors = problems.filter(({ severity }) => severity === 'error');
  if (errors.length > 0)
    throw new IpeError('policy_invalid', `\`${folder}\` has errors`, { details: { problems: errors } });
  const under = options.prefix === undefined || options.prefix === '' ? '' : `${options.prefix}.`;
  const changes: PolicyChange[] = policies.map(({ path, source, test }) => ({
    path: under + path,
    source,
    ...given({ test }),
  }));
  if (options.prune) changes.push(...(await removals(control, options, new Set(changes.map(({ path }) => path)))));
  const { message, ref, dryRun } = options;
  return control.apply(changes, given({ message: message ?? `apply ${folder}`, ref, dry_run: dryRun }));
}

/** Policies that are compared one by one, at most; asking for more costs as much as applying them. */
const comparedMax = 200;

/** Whether a node holds every policy of a folder as it is, so that nothing need be compiled. False where in doubt. */
export async function holdsFolder(cli: Cli, control: ControlPlane, folder: string): Promise<boolean> {
  const { policies, problems } = await readPolicyDirectory(cli.path(folder));
  if (problems.length > 0 || policies.length > comparedMax) return false;
  const same = await Promise.all(
    policies.map(async ({ path, source, test }) => {
      const held = await control.call('get-policy', { path, source: true }).catch(() => undefined);
      return held?.source === source && (held.test ?? undefined) === test;
    }),
  );
  return same.every(Boolean);
}

async function removals(
  control: ControlPlane,
  options: ApplyFolderOptions,
  kept: ReadonlySet<string>,
): Promise<PolicyChange[]> {
  const gone: PolicyChange[] = [];
  let cursor: string | undefined;
  do {
    const page = await control.call(
      'list-policies',
      given({ prefix: options.prefix, root: options.ref, limit: 1000, cursor }),
    );
    for (const { path } of page.policies) if (!kept.has(path)) gone.push({ path, delete: true });
    cursor = page.cursor;
  } while (cursor !== undefined);
  return gone;
}

/** What an apply did, for people. */
export function printApplied(cli: Cli, result: ApplyResult): void {
  const { color } = cli.out;
  const marks = { added: color.green('+'), changed: color.yellow('~'), removed: color.red('-') };
  for (const { change, path } of result.changed) cli.out.line(`${marks[change]} ${path}`);
  const verb = result.dry_run ? 'would change' : 'changed';
  const count = result.changed.length;
  cli.out.line(
    count === 0
      ? 'nothing to change'
      : `${verb} ${count} ${count === 1 ? 'policy' : 'policies'}, ${result.tests} tests passed, root ${result.root.slice(0, 12)}`,
  );
}
