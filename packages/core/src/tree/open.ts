import { IpeError, isIpeError } from '../errors.ts';
import { loadIndex } from './load-index.ts';
import { decodeRef, fromAscii, metadataKeys, prefixRange, refsDigest, type StoredRef, storeFormat } from './rows.ts';
import { emptyHead, type Head, StoreState } from './state.ts';
import { TreePolicyStore } from './store.ts';
import { emptyRoot, type ObjectId, type PolicyStore, type PolicyStoreOptions } from './types.ts';

/**
 * Opens the policy store that lives in a `Kv`: reads the refs and verifies their root commits. That takes the same
 * whatever the size of the tree: the path index is loaded and verified afterwards, beside other work (`ready`). Until
 * then reads are answered from the trees, each object verified as it is read, and writes wait.
 *
 * An index that does not fit the tree is built anew from the history. A commit or directory that is damaged does not
 * keep the store from opening: what needs it answers `corrupt`, everything else works, and `status().damaged` names it.
 *
 * @throws IpeError `unavailable` for a store written by a newer version; `corrupt` for a damaged ref
 */
export async function openPolicyStore(options: PolicyStoreOptions): Promise<PolicyStore> {
  const state = new StoreState(options);
  await checkFormat(state);
  const refs = await readRefs(state);
  for (const [name, ref] of refs) state.heads.set(name, await readHead(state, name, ref));
  await checkRefs(state, refs);
  for (const [id, since] of await readCondemned(state)) state.condemned.set(id, since);
  return new TreePolicyStore(state, loadIndex(state));
}

async function checkFormat(state: StoreState): Promise<void> {
  const bytes = await state.kv.get('metadata', metadataKeys.format);
  if (bytes === undefined) return;
  const format = Number(fromAscii(bytes));
  if (Number.isInteger(format) && format >= 1 && format <= storeFormat) return;
  const message = `the policy store has format \`${fromAscii(bytes).slice(0, 20)}\`, and this version reads up to ${storeFormat}; start a newer IPE`;
  throw new IpeError('unavailable', message, { details: { format: fromAscii(bytes), supported: storeFormat } });
}

export async function readRefs(state: StoreState): Promise<Map<string, StoredRef>> {
  const refs = new Map<string, StoredRef>();
  for await (const [key, value] of state.kv.entries('metadata', prefixRange('ref/'))) {
    const name = fromAscii(key).slice('ref/'.length);
    refs.set(name, decodeRef(name, value));
  }
  return refs;
}

/** Where refs are not those that were written last, none of them can be told to be right: all answer `corrupt`. */
async function checkRefs(state: StoreState, refs: ReadonlyMap<string, StoredRef>): Promise<void> {
  const stored = await state.kv.get('metadata', metadataKeys.refs);
  if (stored === undefined && refs.size === 0) return;
  if (stored !== undefined && fromAscii(stored) === fromAscii(refsDigest(state.primitives, refs))) return;
  const message = 'the refs do not match their digest: one is lost or damaged; restore the store from a backup';
  const damage = new IpeError('corrupt', message, { details: { object: 'refs', problem: 'damaged' } });
  state.refsDamage = damage;
  for (const head of [emptyHead, ...state.heads.values()])
    state.heads.set(head.name, { ...head, commit: null, damage });
}

export async function readHead(state: StoreState, name: string, { commit, kind }: StoredRef): Promise<Head> {
  try {
    const { tree, author } = await state.records.commit(commit);
    return { name, kind, commit, root: tree, timeMs: author.timeSeconds * 1000 };
  } catch (error) {
    if (!isIpeError(error)) throw error;
    return { name, kind, commit, root: emptyRoot, timeMs: 0, damage: error };
  }
}

export async function readCondemned(state: StoreState): Promise<Map<ObjectId, number>> {
  const condemned = new Map<ObjectId, number>();
  for await (const [key, value] of state.kv.entries('metadata', prefixRange('condemned/')))
    condemned.set(fromAscii(key).slice('condemned/'.length), Number(fromAscii(value)));
  return condemned;
}
