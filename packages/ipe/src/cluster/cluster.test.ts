import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isIpeError } from '@ipe/core';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { encodeFrame, type Frame, FrameReader, frameKinds } from './frames.ts';
import { type Identity, loadIdentity } from './identity.ts';
import { Invites } from './invites.ts';
import { admit, joinCluster, joinHandler, joinRequest } from './join.ts';
import { createClusterKeys, loadClusterKeys } from './keys.ts';
import type { LinkHandler, PeerLink } from './link.ts';
import { MemberDirectory, type MemberRecord, signMember } from './members.ts';
import { Peers } from './peers.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'ipe-cluster-'));
  cleanups.push(() => rm(path, { recursive: true }));
  return path;
}

const nowMs = Date.parse('2026-01-01T00:00:00Z');

/** A founding member that listens and admits, and a way to let others join. */
async function founder() {
  const directory = await folder();
  const identity = await loadIdentity(directory, { nowMs: Date.now() });
  const keys = await createClusterKeys(directory);
  const members = new MemberDirectory(keys.publicKey);
  const invites = await Invites.open(directory, () => nowMs);
  const sign = (candidate: Parameters<typeof admit>[2]) => admit(keys.key!, members, candidate, nowMs);
  const strangers = new Map<string, LinkHandler>([
    [joinRequest, joinHandler({ invites, keys, directory: members, ring: { after: () => [] }, sign })],
  ]);
  const peers = new Peers({ identity, directory: members, listen: '127.0.0.1:0', strangers });
  const { address } = await peers.start();
  sign(candidateOf(identity, address!));
  cleanups.push(() => peers.close());
  return { identity, keys, members, invites, peers, address: address!, directory };
}

const candidateOf = (identity: Identity, address: string | null) => ({
  id: identity.id,
  origin: identity.origin,
  signingKey: identity.signing.publicKey,
  fingerprint: identity.fingerprint,
  address,
});

async function joiner(first: Awaited<ReturnType<typeof founder>>) {
  const directory = await folder();
  const identity = await loadIdentity(directory, { nowMs: Date.now() });
  const token = await first.invites.create(first.identity.fingerprint, first.address, 60_000);
  const joined = await joinCluster({ token, identity, listenAddress: null });
  const members = new MemberDirectory(joined.keys.publicKey);
  for (const record of joined.members) members.put(record);
  const peers = new Peers({ identity, directory: members });
  cleanups.push(() => peers.close());
  return { identity, joined, members, peers, token };
}

describe('identity', () => {
  test('is made once and read back the same', async () => {
    const directory = await folder();
    const made = await loadIdentity(directory, { nowMs });
    const read = await loadIdentity(directory, { nowMs: nowMs + 1 });
    expect(read.fingerprint).toBe(made.fingerprint);
    expect(read.origin).toBe(made.origin);
    expect(read.signing.publicKey).toBe(made.signing.publicKey);
  });

  test('is never remade when a part of it is missing: the error names the file', async () => {
    const directory = await folder();
    await loadIdentity(directory, { nowMs });
    await rm(join(directory, 'signing.key'));
    await expect(loadIdentity(directory, { nowMs })).rejects.toThrow(/signing\.key missing/);
  });

  test('a cluster key that does not belong to the public key is refused', async () => {
    const directory = await folder();
    await createClusterKeys(directory);
    const other = await createClusterKeys(await folder());
    await writeFile(join(directory, 'cluster.pub'), other.publicKey);
    await expect(loadClusterKeys(directory)).rejects.toThrow(/is not the key of/);
  });
});

describe('frames', () => {
  test('any frames come back whole however the bytes are cut', () => {
    const frames = fc.array(
      fc.record({
        kind: fc.constantFrom(...Object.values(frameKinds)),
        id: fc.nat(0xffffffff),
        name: fc.string({ unit: fc.constantFrom(...'abc.-'), maxLength: 20 }),
        body: fc.uint8Array({ maxLength: 200 }),
      }),
      { maxLength: 6 },
    );
    fc.assert(
      fc.property(frames, fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (sent, cuts) => {
        const bytes = Buffer.concat(sent.map((frame) => encodeFrame(frame as Frame)));
        const reader = new FrameReader();
        const got: Frame[] = [];
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const size = cuts[i % cuts.length]!;
          got.push(...reader.push(bytes.subarray(at, at + size)));
          at += size;
        }
        expect(got.map((frame) => ({ ...frame, body: [...frame.body] }))).toEqual(
          sent.map((frame) => ({ ...frame, body: [...frame.body] })),
        );
      }),
    );
  });

  test('a frame over the limit is refused at its length, before its bytes arrive', () => {
    const reader = new FrameReader(100);
    expect(() => reader.push(Buffer.from([0, 0, 1, 0]))).toThrow(/over the limit of 100/);
  });
});

describe('member records', () => {
  test('enter the directory only with the signature of the cluster key, newest sequence first', async () => {
    const keys = await createClusterKeys(await folder());
    const forger = await createClusterKeys(await folder());
    const directory = new MemberDirectory(keys.publicKey);
    const record: MemberRecord = {
      v: 1,
      origin: '00112233445566aa',
      id: 'a',
      fingerprint: 'ab'.repeat(32),
      signingKey: 'x',
      address: null,
      state: 'active',
      sequence: 2,
      issuedAtMs: 1,
    };
    expect(directory.put(signMember(forger.key!, record))).toBe(false);
    const signed = signMember(keys.key!, record);
    expect(directory.put({ ...signed, body: { ...record, address: '127.0.0.1:1' } })).toBe(false);
    expect(directory.put(signed)).toBe(true);
    expect(directory.put(signMember(keys.key!, { ...record, sequence: 1, id: 'old' }))).toBe(false);
    expect(directory.put(signMember(keys.key!, { ...record, sequence: 3, state: 'evicted' }))).toBe(true);
    expect(directory.active(record.fingerprint)).toBeUndefined();
  });
});

describe('joining', () => {
  test('a token lets one instance in, which then links by its certificate', async () => {
    const first = await founder();
    const second = await joiner(first);
    expect(first.members.active(second.identity.fingerprint)?.id).toBe(second.identity.id);
    expect(Buffer.from(second.joined.keys.secret)).toEqual(Buffer.from(first.keys.secret));
    const up = once(first.peers, 'up');
    await second.peers.start();
    const [link] = (await up) as [PeerLink];
    expect(link.fingerprint).toBe(second.identity.fingerprint);
  });

  test('a token is good once', async () => {
    const first = await founder();
    const { token } = await joiner(first);
    const identity = await loadIdentity(await folder(), { nowMs: Date.now() });
    await expect(joinCluster({ token, identity, listenAddress: null })).rejects.toThrow(/unknown, expired or used/);
  });

  test('a token is not sent to an instance with another certificate', async () => {
    const first = await founder();
    const impostor = await founder();
    const token = await first.invites.create(first.identity.fingerprint, impostor.address, 60_000);
    const identity = await loadIdentity(await folder(), { nowMs: Date.now() });
    await expect(joinCluster({ token, identity, listenAddress: null })).rejects.toThrow(/its certificate differs/);
    expect(JSON.parse(await readFile(join(first.directory, 'invites.json'), 'utf8'))).toHaveLength(1);
  });

  test('a copied state directory with another certificate cannot take the origin of a member', async () => {
    const first = await founder();
    const second = await joiner(first);
    const stranger = await loadIdentity(await folder(), { nowMs: Date.now() });
    const token = await first.invites.create(first.identity.fingerprint, first.address, 60_000);
    const copied = { ...stranger, origin: second.identity.origin };
    await expect(joinCluster({ token, identity: copied, listenAddress: null })).rejects.toThrow(/belongs to/);
  });

  test('a token that let nobody in is still good', async () => {
    const first = await founder();
    const second = await joiner(first);
    const stranger = await loadIdentity(await folder(), { nowMs: Date.now() });
    const token = await first.invites.create(first.identity.fingerprint, first.address, 60_000);
    const copied = { ...stranger, origin: second.identity.origin };
    await expect(joinCluster({ token, identity: copied, listenAddress: null })).rejects.toThrow();
    const joined = await joinCluster({ token, identity: stranger, listenAddress: null });
    expect(joined.record.body).toMatchObject({ origin: stranger.origin, state: 'active' });
  });
});

describe('links', () => {
  async function linked(handlers: Record<string, LinkHandler>) {
    const first = await founder();
    for (const [name, handler] of Object.entries(handlers)) first.peers.handle(name, handler);
    const second = await joiner(first);
    const both = Promise.all([once(second.peers, 'up'), once(first.peers, 'up')]);
    await second.peers.start();
    const [[link]] = (await both) as [[PeerLink], unknown];
    return { first, second, link };
  }

  test('requests are answered with bytes, with streams, and with the registry error that was thrown', async () => {
    const { link } = await linked({
      echo: (body) => Promise.resolve(body),
      count: async function* () {
        for (let i = 0; i < 3; i++) yield Buffer.from([i]);
      },
    });
    expect(Buffer.from(await link.request('echo', Buffer.from('hello'))).toString()).toBe('hello');
    expect([...(await link.request('count', new Uint8Array()))]).toEqual([0, 1, 2]);
    const error = await link.request('absent', new Uint8Array()).catch((thrown) => thrown);
    expect(isIpeError(error) && error.reason).toBe('method_not_found');
  });

  test('a request given up tells the peer, and one under way when the link closes is rejected', async () => {
    let cancelled: Promise<unknown> | undefined;
    const { link, first } = await linked({
      wait: (_, { signal }) => {
        cancelled = once(signal, 'abort');
        return cancelled.then(() => new Uint8Array());
      },
    });
    const controller = new AbortController();
    const given = link.request('wait', new Uint8Array(), { signal: controller.signal });
    const ready = link.request('absent', new Uint8Array()).catch(() => {});
    await ready;
    controller.abort();
    await expect(given).rejects.toThrow(/given up/);
    await cancelled;
    const pending = link.request('wait', new Uint8Array());
    first.peers.links()[0]!.close();
    await expect(pending).rejects.toThrow(/peer link closed/);
  });

  test('a link that is lost comes back by itself', async () => {
    const { second, link } = await linked({});
    const again = once(second.peers, 'up');
    link.close();
    const [next] = (await again) as [PeerLink];
    expect(next).not.toBe(link);
    expect(second.peers.links()).toEqual([next]);
  });

  test('an evicted member loses its link, and a new one opens nothing but joining', async () => {
    const { first, second } = await linked({ echo: (body) => Promise.resolve(body) });
    const down = once(second.peers, 'down');
    const again = once(second.peers, 'up');
    const record = first.members.byOrigin(second.identity.origin)!;
    first.members.put(signMember(first.keys.key!, { ...record, state: 'evicted', sequence: record.sequence + 1 }));
    await down;
    const [link] = (await again) as [PeerLink];
    await expect(link.request('echo', new Uint8Array())).rejects.toThrow(/no peer handler/);
    expect(first.peers.link(second.identity.fingerprint)).toBeUndefined();
  });
});
