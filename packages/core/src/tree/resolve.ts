import { fromHex, toHex } from '../bytes/index.ts';
import { IpeError } from '../errors.ts';
import { type Commit, decodeCommit, isObjectId } from '../git/index.ts';
import { versionOf } from './commits.ts';
import { nearest } from './paths.ts';
import { fromAscii, metadataKeys, prefixRange } from './rows.ts';
import { emptyHead, mainRef, type StoreState } from './state.ts';
import type { ObjectId, Revision } from './types.ts';

/** Fewest characters of an id that are looked up. */
const shortestPrefix = 4;

/**
 * Finds what a text names: a ref by its name, else an object by its id or the beginning of it.
 * @throws IpeError `not_found` with the nearest ref; `invalid_params` where several ids begin so
 */
export async function resolveRevision(state: StoreState, text: string): Promise<Revision> {
  if (typeof text !== 'string' || text === '' || text.length > 256) {
    throw new IpeError('invalid_params', 'a revision is the name of a ref, or a root, commit or version id');
  }
  if (state.refsDamage !== undefined) throw state.refsDamage;
  if (text === 'main' || state.heads.has(text)) {
    const { commit, root } = state.head(text);
    return { kind: 'ref', name: text, commit, root };
  }
  const prefix = text.toLowerCase();
  const found = /^[0-9a-f]{4,64}$/.test(prefix) ? await candidates(state, prefix) : [];
  if (found.length === 1) return found[0]!;
  if (found.length > 1) {
    const names = found.map((each) => `${each.name.slice(0, 12)} (${each.kind})`);
    const message = `\`${text}\` is the beginning of several ids: ${names.join(', ')}; give more of it`;
    throw new IpeError('invalid_params', message, { details: { candidates: found.map((each) => each.name) } });
  }
  const near = nearest(text, state.heads.keys());
  const hint = near === undefined ? '' : `; did you mean \`${near}\`?`;
  const short = prefix.length < shortestPrefix ? `; give at least ${shortestPrefix} characters of an id` : '';
  const details = near === undefined ? { revision: text } : { revision: text, nearest: near };
  throw new IpeError('not_found', `no ref, root, commit or version \`${text.slice(0, 100)}\`${hint}${short}`, {
    details,
  });
}

async function candidates(state: StoreState, prefix: string): Promise<Revision[]> {
  const found: Revision[] = [];
  const { root: current, commit: newest } = state.heads.get(mainRef) ?? emptyHead;
  if (current.startsWith(prefix)) found.push({ kind: 'root', name: current, commit: newest, root: current });
  for await (const [key, value] of state.kv.entries('metadata', { ...prefixRange(`root/${prefix}`), limit: 8 })) {
    const root = fromAscii(key).slice('root/'.length);
    const commit = value.length === 64 ? fromAscii(value) : '';
    if (!isObjectId(commit)) continue;
    if (root !== current && !state.condemned.has(commit)) found.push({ kind: 'root', name: root, commit, root });
  }
  for (const [id, commit] of await commitsFrom(state, prefix)) {
    const version = versionOf(commit);
    const rootCommit = version?.commit ?? id;
    // A root that retention gave up is gone already, although its objects still wait for their deletion; and a commit
    // that no record is kept of was brought in and belongs to no ref yet.
    if (state.condemned.has(rootCommit)) continue;
    if ((await state.kv.get('metadata', metadataKeys.commit(rootCommit))) === undefined) continue;
    if (version === undefined) {
      found.push({ kind: 'commit', name: id, commit: id, root: commit.tree });
    } else {
      const made = await state.objects.find(rootCommit);
      const root = made === undefined ? undefined : decodeCommit(state.primitives, made.body).tree;
      if (root !== undefined) found.push({ kind: 'version', name: id, commit: rootCommit, root });
    }
  }
  return found;
}

/** Commits, root or version, whose id begins so; at most 8 of at most 4,096 objects looked at. */
async function commitsFrom(state: StoreState, prefix: string): Promise<[ObjectId, Commit][]> {
  const gte = fromHex(prefix.padEnd(64, '0'));
  const lte = fromHex(prefix.padEnd(64, 'f'));
  const found: [ObjectId, Commit][] = [];
  for await (const [key, stored] of state.kv.entries('objects', { gte, lte, limit: 4096 })) {
    const id = toHex(key);
    const object = state.objects.decode(id, stored);
    if (object.type !== 'commit') continue;
    found.push([id, decodeCommit(state.primitives, object.body)]);
    if (found.length === 8) break;
  }
  return found;
}
