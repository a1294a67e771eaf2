import { IpeError } from '@ipe/core';
import { openMemoryKv } from '@ipe/core/store';
import { type PolicyFamily, type PolicyStore, policyFamilies, type StoreCopy } from '@ipe/core/tree';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Statement } from '../cluster/statement.ts';
import { createNodeCompiler } from '../policies/node-compiler.ts';
import type { PolicyCompiler } from '../policies/types.ts';
import { openPolicyRepository } from '../repository/index.ts';
import { type Mesh, startMesh } from '../testkit/mesh.ts';
import { checkPolicies } from './check-policies.ts';
import { type MemoryFile, noMemory, type SyncMemory } from './memory.ts';
import { PolicySync, type PolicySyncOptions } from './policy-sync.ts';
import { checkRoot, isTerm, type RootRecord, signRoot, signTerm, type TermRecord } from './records.ts';

const author = { name: 'ada', email: 'ada@example.org' };

let mesh: Mesh;
let compiler: PolicyCompiler;
let nowMs: number;
const opened: PolicySync[] = [];

beforeEach(async () => {
  mesh = await startMesh(2);
  compiler = createNodeCompiler('0');
  nowMs = 1_760_000_000_000;
});
afterEach(async () => {
  for (const sync of opened.splice(0)) await sync.close();
  await mesh.close();
  await compiler.close();
});

function memoryOf(start: SyncMemory = noMemory): MemoryFile & { held: SyncMemory } {
  const file = {
    held: start,
    load: async () => file.held,
    save: async (memory: SyncMemory) => {
      file.held = memory;
    },
  };
  return file;
}

const openStore = () => openPolicyRepository(openMemoryKv<PolicyFamily>({ families: policyFamilies }));

/** Member `i` of the mesh; the first holds the cluster key. Nothing is fetched unless a test asks: no timer runs. */
async function member(i: number, store: PolicyStore, extra: Partial<PolicySyncOptions> = {}): Promise<PolicySync> {
  const sync = await PolicySync.start({
    store,
    peers: mesh.peers[i]!,
    directory: mesh.directories[i]!,
    identity: mesh.identities[i]!,
    ...(i === 0 && { clusterKey: mesh.keys.key! }),
    configuredRole: i === 0 ? 'origin' : 'follower',
    memory: memoryOf(),
    checkPolicies: (from, to) => checkPolicies(store, compiler, from, to),
    now: () => nowMs,
    every: () => () => {},
    ...extra,
  });
  opened.push(sync);
  return sync;
}

/** Puts policies as the node's own writer does: compiled here. */
async function put(store: PolicyStore, texts: Readonly<Record<string, string>>): Promise<string> {
  const compiled = await compiler.compile(
    Object.entries(texts).map(([path, expression]) => ({
      path,
      source: `validations:\n  - expression: ${JSON.stringify(expression)}\n    message: refused\n`,
    })),
  );
  nowMs += 1000;
  const { commit } = await store.update({
    changes: compiled.map(({ path, files }) => ({ path, files: files! })),
    author,
    message: 'put',
    timeMs: nowMs,
  });
  return commit;
}

const many = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`d${i % 10}.p${i}`, `${i} >= 0`]));

async function pair(extra: Partial<PolicySyncOptions> = {}) {
  const stores = [await openStore(), await openStore()] as const;
  const origin = await member(0, stores[0]);
  await origin.promote(mesh.identities[0]!.id);
  const follower = await member(1, stores[1], extra);
  return { origin, follower, from: stores[0], to: stores[1] };
}

/** Resolves once a store holds a root, told by the store itself. */
async function untilRoot(store: PolicyStore, root: string): Promise<void> {
  await new Promise<void>((resolve) => {
    const stop = store.watch(() => settle());
    const settle = () => {
      if (store.current().root !== root) return;
      stop();
      resolve();
    };
    settle();
  });
}

describe('two stores over a link', () => {
  test('are equal after a sync, history included', async () => {
    const { follower, from, to } = await pair();
    await put(from, { 'a.b': 'true', c: '1 < 2' });
    await put(from, { 'a.b': 'false' });
    await follower.syncNow();
    expect(to.current().commit).toBe(from.current().commit);
    expect(await to.current().getSubtree('')).toEqual(await from.current().getSubtree(''));
    expect(await to.history('a.b')).toEqual(await from.history('a.b'));
    expect((await to.verify()).problems).toEqual([]);
    expect(follower.describe()).toMatchObject({ role: 'follower', term: 1, in_sync: true, behind: 0 });
  });

  test('a move of the root at the origin reaches the follower unasked', async () => {
    const { from, to } = await pair();
    await put(from, { a: 'true' });
    await untilRoot(to, from.current().root);
  });

  test('ten changes in a large tree send what changed, not the tree', async () => {
    const { follower, from, to } = await pair();
    await put(from, many(400));
    await follower.syncNow();
    const before = to.current().root;
    const fetched: number[] = [];
    const stop = to.watch(() => fetched.push(1));
    const sent = countServed(from);
    await put(from, Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`d${i}.p${i}`, 'false'])));
    await untilRoot(to, from.current().root);
    stop();
    expect(to.current().root).not.toBe(before);
    expect(fetched).toHaveLength(1);
    // Ten policies of a tree, two files and a version each at most, ten directories, the root, the commit.
    expect(sent()).toBeLessThanOrEqual(10 * 6 + 2);
    expect(sent()).toBeGreaterThan(10);
  });

  test('content that came back to what the follower has does not stop it from following on', async () => {
    const { follower, from, to } = await pair();
    await put(from, { a: 'true' });
    await follower.syncNow();
    await put(from, { a: 'false' });
    await put(from, { a: 'true' });
    await follower.syncNow();
    await put(from, { b: 'true' });
    await follower.syncNow();
    expect(to.current().commit).toBe(from.current().commit);
  });

  test('a follower whose base the origin has trimmed catches up, and follows on', async () => {
    const { follower, from, to } = await pair();
    await put(from, { a: 'true' });
    await follower.syncNow();
    await follower.close();
    for (let i = 0; i < 4; i++) {
      nowMs += 86_400_000;
      await put(from, { [`later.n${i}`]: `${i} > 0` });
    }
    await from.collect({ nowMs, retentionMs: 3_600_000, graceMs: 1 });
    await from.collect({ nowMs: nowMs + 86_400_000, retentionMs: 3_600_000 + 86_400_000, graceMs: 1 });
    const again = await member(1, to, {
      memory: memoryOf({ ...noMemory, term: signTerm(mesh.keys.key!, termOf(0)) }),
    });
    await again.syncNow();
    expect(to.current().root).toBe(from.current().root);
    await put(from, { 'later.again': 'true' });
    await again.syncNow();
    expect(to.current().root).toBe(from.current().root);
    expect((await to.verify()).problems).toEqual([]);
  });

  test('an object damaged on its way is not kept and nothing of the root is served', async () => {
    const { follower, from, to } = await pair();
    damageServed(from);
    await put(from, { a: 'true' });
    await expect(follower.syncNow()).rejects.toMatchObject({ reason: 'corrupt' });
    expect(to.current().commit).toBe(null);
    expect(follower.describe()).toMatchObject({ verified: null, in_sync: false });
  });

  test('a program that is not what its source says is refused', async () => {
    const { follower, from, to } = await pair();
    const [good, other] = await compiler.compile(
      ['true', 'false'].map((expression, i) => ({
        path: `p${i}`,
        source: `validations:\n  - expression: "${expression}"\n`,
      })),
    );
    await from.update({
      changes: [{ path: 'p', files: { ...good!.files!, program: other!.files!.program } }],
      author,
      message: 'lie',
      timeMs: nowMs,
    });
    await expect(follower.syncNow()).rejects.toThrow(/program of `p`/);
    expect(to.current().commit).toBe(null);
  });

  test('a transfer that breaks off goes on where it stopped', async () => {
    const { follower, from, to } = await pair();
    const calls = interruptServed(from, 3);
    await put(from, many(400));
    await expect(follower.syncNow()).rejects.toMatchObject({ reason: 'unavailable' });
    expect(to.current().commit).toBe(null);
    const sent = calls.resume();
    await follower.syncNow();
    const copy = await from.copy();
    copy.release();
    expect(to.current().root).toBe(from.current().root);
    expect(sent()).toBeGreaterThan(0);
    expect(sent()).toBeLessThan(copy.count - 500);
  });

  test('a promoted follower takes over, and the origin before follows it', async () => {
    const { origin, follower, from, to } = await pair();
    await put(from, { a: 'true' });
    await follower.syncNow();
    await origin.promote(mesh.identities[1]!.id);
    expect(origin.role).toBe('follower');
    await put(to, { b: 'true' });
    await untilRoot(from, to.current().root);
    expect(follower.role).toBe('origin');
    await expect(follower.promote(mesh.identities[1]!.id)).rejects.toMatchObject({ reason: 'forbidden' });
  });
});

const termOf = (i: number, term = 1): TermRecord => ({ v: 1, term, origin: mesh.identities[i]!.origin, issuedAtMs: 0 });

describe('root records', () => {
  const id = (digit: string) => digit.repeat(64);
  const record = (changes: Partial<RootRecord> = {}): RootRecord => ({
    v: 1,
    term: 2,
    sequence: 5,
    rootCommit: id('5'),
    root: id('a'),
    previous: id('4'),
    timeMs: 0,
    origin: mesh.identities[0]!.origin,
    ...changes,
  });
  const check = (signed: unknown, last?: RootRecord) =>
    checkRoot(signed, { term: termOf(0, 2), signingKey: mesh.identities[0]!.signing.publicKey, last });
  const sign = (changes: Partial<RootRecord> = {}, by = 0) => signRoot(mesh.identities[by]!.signing, record(changes));

  test('that the origin of the term signed are taken in order', () => {
    expect(check(sign())).toEqual(record());
    expect(check(sign({ sequence: 6, rootCommit: id('6'), previous: id('5') }), record()).sequence).toBe(6);
    expect(check(sign(), record({ term: 1, sequence: 99 }))).toEqual(record());
  });

  test('that are forged, altered or malformed are refused', () => {
    const forged: unknown[] = [
      sign({}, 1),
      sign({ origin: mesh.identities[1]!.origin }, 1),
      { ...sign(), body: record({ root: id('b') }) },
      { body: record() } as Statement<RootRecord>,
      { ...sign(), signature: '' },
      sign({ sequence: 0 }),
      sign({ rootCommit: 'main' }),
      null,
      'x',
      {},
    ];
    for (const each of forged)
      expect(() => check(each)).toThrow(expect.objectContaining({ reason: 'unauthenticated' }));
  });

  test('of another term, replayed, or beside the one verified are refused', () => {
    const last = record();
    for (const each of [
      sign({ term: 1 }),
      sign({ term: 3 }),
      sign({ sequence: 4, rootCommit: id('4'), previous: id('3') }),
      sign({ rootCommit: id('6') }),
      sign({ sequence: 6, rootCommit: id('6'), previous: id('3') }),
    ])
      expect(() => check(each, last)).toThrow(expect.objectContaining({ reason: 'conflict' }));
    expect(check(sign(), last)).toEqual(last);
  });

  test('of an evicted or unknown origin are refused', () => {
    const term = termOf(0, 2);
    expect(() => checkRoot(sign(), { term, signingKey: undefined, last: undefined })).toThrow(/signature/);
  });

  test('terms hold only with the signature of the cluster key', () => {
    const signed = signTerm(mesh.keys.key!, termOf(0));
    expect(isTerm(mesh.keys.publicKey, signed)).toBe(true);
    expect(isTerm(mesh.keys.publicKey, { ...signed, body: termOf(1) })).toBe(false);
    expect(isTerm(mesh.keys.publicKey, signTerm(mesh.identities[0]!.signing, termOf(0)))).toBe(false);
  });

  test('an origin that was rolled back is refused by its follower until it is promoted', async () => {
    const { origin, follower, from, to } = await pair();
    await put(from, { a: 'true' });
    await put(from, { b: 'true' });
    await follower.syncNow();
    const held = to.current().root;
    await origin.close();
    const old = await openStore();
    await put(old, { a: 'true' });
    const restored = await member(0, old, {
      memory: memoryOf({ ...noMemory, term: signTerm(mesh.keys.key!, termOf(0)) }),
    });
    await expect(follower.syncNow()).rejects.toMatchObject({ reason: 'conflict' });
    expect(to.current().root).toBe(held);
    await restored.promote(mesh.identities[0]!.id);
    await follower.syncNow();
    expect(to.current().root).toBe(old.current().root);
  });
});

/** Replaces what a store's copies yield. */
function tapCopies(store: PolicyStore, tap: (objects: StoreCopy['objects']) => StoreCopy['objects']): void {
  const copy = store.copy.bind(store);
  store.copy = async (options) => {
    const made = await copy(options);
    return { ...made, objects: tap(made.objects) };
  };
}

function countServed(store: PolicyStore): () => number {
  let sent = 0;
  tapCopies(
    store,
    (objects) =>
      async function* (ids) {
        for await (const object of objects(ids)) {
          sent++;
          yield object;
        }
      },
  );
  return () => sent;
}

function damageServed(store: PolicyStore): void {
  tapCopies(
    store,
    (objects) =>
      async function* (ids) {
        for await (const object of objects(ids)) {
          if (object.type !== 'blob') yield object;
          else yield { ...object, body: object.body.with(0, object.body[0]! ^ 1) };
        }
      },
  );
}

/** Ends the service after some requests, until resumed. @returns how many objects were sent since */
function interruptServed(store: PolicyStore, requests: number): { resume(): () => number } {
  let left = requests;
  let sent = 0;
  tapCopies(
    store,
    (objects) =>
      async function* (ids) {
        if (left-- <= 0) throw unavailable();
        for await (const object of objects(ids)) {
          sent++;
          yield object;
        }
      },
  );
  return {
    resume: () => {
      left = Infinity;
      sent = 0;
      return () => sent;
    },
  };
}

const unavailable = () => new IpeError('unavailable', 'the link was cut');
