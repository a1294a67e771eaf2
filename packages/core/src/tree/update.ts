import { IpeError } from '../errors.ts';
import { type Placement, preparePolicy, rebuildTree } from './build.ts';
import { applyMove, makeCommit } from './commit.ts';
import type { Comparison, PolicySide } from './compare.ts';
import { walkTo } from './directory.ts';
import type { PreparedObject } from './objects.ts';
import { comparePaths, policySegments } from './paths.ts';
import { slices } from './slices.ts';
import { nearestPath } from './snapshot.ts';
import { type Head, mainRef, type StoreState } from './state.ts';
import type { ObjectId, TreeChange, UpdateRequest, UpdateResult } from './types.ts';

/** What stands at a path before an update. */
interface Standing {
  readonly side: PolicySide | null;
  readonly version: ObjectId | null;
}

/** Where an update of `ref` starts. A ref that does not exist yet begins where `main` is. */
export function startingHead(state: StoreState, ref: string): Head {
  const existing = state.heads.get(ref);
  if (existing !== undefined) {
    if (existing.damage !== undefined) throw existing.damage;
    if (existing.kind === 'pin') {
      throw new IpeError('invalid_params', `\`${ref}\` is a pin and does not move; unpin it first`, {
        details: { ref },
      });
    }
    return existing;
  }
  checkRefName(ref);
  return { ...state.head(mainRef), name: ref, kind: 'branch' };
}

/** @throws IpeError `invalid_params` */
export function checkRefName(name: string): void {
  if (
    typeof name === 'string' &&
    /^[a-z0-9][a-z0-9._-]{0,63}$/.test(name) &&
    !/\.\.|\.lock$|\.$|^[0-9a-f]{64}$/.test(name)
  )
    return;
  const rule = 'up to 64 of a-z, 0-9, `.`, `_` and `-`, beginning with a letter or digit';
  throw new IpeError('invalid_params', `\`${String(name).slice(0, 100)}\` cannot name a ref; use ${rule}`, {
    details: { field: 'ref' },
  });
}

/** @throws IpeError `conflict` carrying what is current */
export function checkExpectedRoot(head: Head, expected: ObjectId | undefined): void {
  if (expected === undefined || expected === head.root || expected === head.commit) return;
  const message = `\`${head.name}\` is not at \`${expected}\` any more; read the current root and try again`;
  throw new IpeError('conflict', message, {
    details: { expected, current: head.root, commit: head.commit, ref: head.name },
  });
}

/** Plans and takes an update. Runs in the queue. */
export async function applyUpdate(state: StoreState, request: UpdateRequest): Promise<UpdateResult> {
  const ref = request.ref ?? mainRef;
  const head = startingHead(state, ref);
  checkExpectedRoot(head, request.expectedRoot);
  const changes = await checkChanges(state, request.changes);
  const standing = await standings(state, head, [...changes.keys()]);
  await checkConditions(state, head, changes, standing);

  const objects = new Map<ObjectId, PreparedObject>();
  const programs = new Map<ObjectId, ObjectId>();
  const placements = new Map<string, Placement>();
  const rest = slices(state.breathe, 32);
  for (const [path, change] of changes) {
    await rest();
    const before = standing.get(path)!.side;
    if ('delete' in change) {
      placements.set(path, null);
      continue;
    }
    const policy = preparePolicy(state.objects, change.files);
    if (before?.hash === policy.hash && before.test === policy.test) continue;
    for (const object of policy.objects) objects.set(object.id, object);
    programs.set(policy.hash, policy.program);
    placements.set(path, { hash: policy.hash, test: policy.test });
  }
  // The first update makes a commit even where it changes nothing, so that there always is one to name.
  if (placements.size === 0 && request.allowEmpty !== true && head.commit !== null) return unchanged(head, ref);

  const rebuilt = await rebuildTree(state.objects, head.root, placements, state.breathe);
  // With the first commit the root directory comes to be, also where nothing stands in it.
  const directories = new Map(rebuilt.directories);
  if (head.commit === null && !directories.has('')) directories.set('', { before: head.root, after: rebuilt.root });
  const comparison = await compare(state, placements, standing, directories);
  const made = await makeCommit(state, head, rebuilt.root, comparison, request);
  for (const object of rebuilt.objects) objects.set(object.id, object);
  for (const [id, object] of made.objects) objects.set(id, object);
  return applyMove(state, {
    ref,
    from: head,
    commit: made.id,
    records: [[made.id, made.record]],
    comparison,
    objects,
    programs,
    reused: rebuilt.reused,
    dryRun: request.dryRun === true,
  });
}

async function checkChanges(state: StoreState, list: readonly TreeChange[]): Promise<Map<string, TreeChange>> {
  const changes = new Map<string, TreeChange>();
  const rest = slices(state.breathe, 1024);
  for (const change of list) {
    await rest();
    policySegments(change.path);
    if (changes.has(change.path)) {
      const message = `\`${change.path}\` is changed twice in one update; send one change for each path`;
      throw new IpeError('invalid_params', message, { details: { path: change.path } });
    }
    changes.set(change.path, change);
  }
  return changes;
}

/** What stands at the paths now: from the index where the head is the current root, else from its trees. */
async function standings(state: StoreState, head: Head, paths: readonly string[]): Promise<Map<string, Standing>> {
  const found = new Map<string, Standing>();
  if (head.commit === state.live.commit) {
    const rest = slices(state.breathe, 1024);
    for (const path of paths) {
      await rest();
      const node = state.live.find(path);
      found.set(path, node?.kind === 'policy' ? { side: node, version: node.version } : nothing);
    }
    return found;
  }
  const sides = new Map<string, { before: PolicySide | null; after: null }>();
  for (const path of paths) {
    const node = await walkTo(state.objects, head.root, path);
    if (node?.kind === 'policy') sides.set(path, { before: node, after: null });
    else found.set(path, nothing);
  }
  const states = await state.statesAt(head.commit, { policies: sides, directories: new Map() });
  for (const [path, { before }] of sides) {
    found.set(path, { side: before, version: states.policies.get(path)?.version ?? null });
  }
  return found;
}

const nothing: Standing = { side: null, version: null };

async function checkConditions(
  state: StoreState,
  head: Head,
  changes: ReadonlyMap<string, TreeChange>,
  standing: ReadonlyMap<string, Standing>,
): Promise<void> {
  const rest = slices(state.breathe, 1024);
  for (const [path, change] of changes) {
    await rest();
    const { version } = standing.get(path)!;
    const expected = change.expectedVersion;
    if (expected !== undefined && expected !== version) {
      const message =
        expected === null
          ? `a policy is at \`${path}\` already, at version \`${version}\``
          : `\`${path}\` is not at version \`${expected}\` any more; read it and try again`;
      throw new IpeError('conflict', message, {
        details: { path, expected, current: version, root: head.root, commit: head.commit },
      });
    }
    if ('delete' in change && version === null) {
      const near = await nearestPath(state.snapshot(head), path);
      const hint = near === undefined ? '' : `; did you mean \`${near}\`?`;
      const details = near === undefined ? { path } : { path, nearest: near };
      throw new IpeError('not_found', `no policy is at \`${path}\`${hint}`, { details });
    }
  }
}

async function compare(
  state: StoreState,
  placements: ReadonlyMap<string, Placement>,
  standing: ReadonlyMap<string, Standing>,
  directories: Comparison['directories'],
): Promise<Comparison> {
  const rest = slices(state.breathe, 1024);
  const policies = new Map<string, { before: PolicySide | null; after: PolicySide | null }>();
  for (const [path, placement] of [...placements].sort(([a], [b]) => comparePaths(a, b))) {
    await rest();
    const after = placement === null ? null : { hash: placement.hash, test: placement.test };
    policies.set(path, { before: standing.get(path)!.side, after });
  }
  return { policies, directories };
}

/** The answer to a move that moves nothing. */
export function unchanged(head: Head, ref: string): UpdateResult {
  const { root, commit } = head;
  const nothingDone = { changed: [], reusedObjects: 0, newObjects: 0 };
  return { ref, root, commit: commit!, previousRoot: root, previousCommit: commit, ...nothingDone };
}
