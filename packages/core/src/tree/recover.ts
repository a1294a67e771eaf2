import { describeMove, type Move, movedStates } from './commit.ts';
import { compareRoots } from './compare.ts';
import { loadIndex } from './load-index.ts';
import { readCondemned, readHead, readRefs } from './open.ts';
import { commitsSince } from './refs.ts';
import { emptyHead, type Head, mainRef, type StoreState } from './state.ts';
import type { UpdateEvent } from './types.ts';

/**
 * Takes writes again after one failed for want of room: opens the `Kv` again and goes on from what it holds. That may be
 * one batch more than memory knows, which was refused and yet is there: its refs and index are taken over as a start
 * would, and watchers are told. Runs in the queue. Does nothing where no write failed.
 *
 * @throws IpeError `unavailable` while there is no room, and for good where the disk failed otherwise; `corrupt` where
 *   something is missing by then. Nothing is written until it succeeds.
 */
export async function recoverStore(state: StoreState): Promise<void> {
  if (state.failed === undefined && state.refused === undefined) return;
  // From here on nothing is written to a store that takes writes and yet may differ from memory.
  state.failed ??= state.refused;
  await state.kv.recover();
  await state.kv.sync();
  const heads = await storedHeads(state);
  const condemned = await readCondemned(state);
  const from = state.heads.get(mainRef) ?? emptyHead;
  const to = heads.get(mainRef) ?? emptyHead;
  const hasMoved = to.commit !== from.commit;
  const event = hasMoved ? await describeMissed(state, from, to) : undefined;
  state.condemned.clear();
  for (const [id, since] of condemned) state.condemned.set(id, since);
  state.heads.clear();
  for (const [name, head] of heads) state.heads.set(name, head);
  if (hasMoved) {
    state.loaded = undefined;
    await loadIndex(state);
  }
  state.failed = undefined;
  state.refused = undefined;
  if (event !== undefined) state.notify(event);
}

async function storedHeads(state: StoreState): Promise<Map<string, Head>> {
  const heads = new Map<string, Head>();
  for (const [name, ref] of await readRefs(state)) {
    const known = state.heads.get(name);
    const isSame = known?.commit === ref.commit && known.kind === ref.kind;
    const head = isSame ? known : await readHead(state, name, ref);
    if (head.damage !== undefined) throw head.damage;
    heads.set(name, head);
  }
  return heads;
}

/** The event of an update of `main` that is there although it was refused. */
async function describeMissed(state: StoreState, from: Head, to: Head): Promise<UpdateEvent | undefined> {
  const records = to.commit === null ? undefined : await commitsSince(state, to.commit, from);
  if (to.commit === null || records === undefined) return undefined;
  const comparison = await compareRoots(state.objects, from.root, to.root, state.breathe);
  const move: Move = { ref: mainRef, from, commit: to.commit, records, comparison, objects: new Map(), reused: 0 };
  const changed = await describeMove(state, move, await movedStates(state, move));
  return { ref: mainRef, root: to.root, commit: to.commit, previousRoot: from.root, changed };
}
