import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Authority, createAuthority } from '../testkit/authority.ts';
import { type Identity, loadIdentity } from './identity.ts';
import { type ClusterKeys, createClusterKeys } from './keys.ts';
import { MemberDirectory, signMember } from './members.ts';
import { Peers, type PeerTimers } from './peers.ts';
import type { PeerTls } from './trust.ts';

let folder: string;
let keys: ClusterKeys;
let authority: Authority;
let identities: Identity[];
const opened: Peers[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ipe-trust-'));
  keys = await createClusterKeys(folder);
  authority = await createAuthority('acme');
  identities = await Promise.all(
    ['one', 'two', 'three'].map((id) => loadIdentity(join(folder, id), { id, nowMs: Date.now() })),
  );
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((peers) => peers.close()));
  await rm(folder, { recursive: true, force: true });
});

const record = (i: number, extra: { readonly state?: 'evicted'; readonly id?: string } = {}) => {
  const { id, origin, fingerprint, signing } = identities[i]!;
  return signMember(keys.key!, {
    v: 1,
    id,
    origin,
    fingerprint,
    signingKey: signing.publicKey,
    address: null,
    state: 'active',
    sequence: extra.state === undefined ? 1 : 2,
    issuedAtMs: 0,
    ...extra,
  });
};

/** A member that knows all three. */
async function member(
  i: number,
  tls?: PeerTls,
  seeds: string[] = [],
  records = [record(0), record(1), record(2)],
  timers?: PeerTimers,
) {
  const directory = new MemberDirectory(keys.publicKey);
  for (const each of records) directory.put(each);
  const listen = seeds.length === 0 ? { listen: '127.0.0.1:0' } : {};
  const options = { identity: identities[i]!, directory, seeds, ...listen };
  const peers = new Peers({ ...options, ...(tls && { tls }), ...(timers && { timers }) });
  opened.push(peers);
  peers.handle('whoami', (_, { fingerprint }) => Buffer.from(directory.active(fingerprint)!.id));
  const { address } = await peers.start();
  return { peers, directory, address: address! };
}

/** Who the first says that the other is. */
async function whoIs(dialler: Peers): Promise<string> {
  if (dialler.links().length === 0) await once(dialler, 'up');
  return Buffer.from(await dialler.links()[0]!.request('whoami', new Uint8Array(0))).toString();
}

test.each(['dns', 'cn'] as const)(
  'members with certificates of the authority that name them (%s) are linked',
  async (how) => {
    const first = await member(0, await authority.issue('one', how));
    const { peers } = await member(1, await authority.issue('two', how), [first.address]);
    expect(await whoIs(peers)).toBe('two');
  },
);

test('a cluster changes over one member at a time: those that only know the authority show their own certificates', async () => {
  const first = await member(0, { ca: authority.ca });
  const second = await member(1, await authority.issue('two'), [first.address]);
  expect(await whoIs(second.peers)).toBe('two');
  const third = await member(2, { ca: authority.ca }, [first.address]);
  expect(await whoIs(third.peers)).toBe('three');
});

test("without an authority, one of its certificates is a stranger's", async () => {
  const plain = await member(0);
  await member(1, await authority.issue('two'), [plain.address]);
  const [, why] = await once(plain.peers, 'refused');
  expect(why).toBe('not on record');
});

test("a certificate of the authority that names nobody, an evicted member, or several is refused, and so is a stranger's", async () => {
  const other = await createAuthority('acme');
  const twice = [record(0), record(1), record(2, { id: 'two' })];
  const evicted = [record(0), record(1, { state: 'evicted' }), record(2)];
  const all = [record(0), record(1), record(2)];
  const cases = [
    { certificate: await authority.issue('four'), records: all, why: /names no active member/ },
    { certificate: await authority.issue('two'), records: evicted, why: /names no active member/ },
    { certificate: await authority.issue('two'), records: twice, why: /names several members/ },
    { certificate: await other.issue('two'), records: all, why: /not of the configured authority/ },
  ];
  const own = await authority.issue('one');
  for (const { certificate, records, why } of cases) {
    const first = await member(0, own, [], records);
    const refused = once(first.peers, 'refused');
    await member(1, { ...certificate, ca: authority.ca }, [first.address]);
    expect((await refused)[1]).toMatch(why);
    expect(first.peers.links()).toEqual([]);
  }
});

test('new certificates are taken while running, and an authority that is given up is trusted no more', async () => {
  const first = await member(0, await authority.issue('one'));
  const second = await member(1, await authority.issue('two'), [first.address]);
  expect(await whoIs(second.peers)).toBe('two');
  const next = await createAuthority('acme the second');
  const down = once(second.peers, 'down');
  first.peers.useTls(await next.issue('one'));
  await down;
  const [, why] = await once(second.peers, 'refused');
  expect(why).toMatch(/not of the configured authority/);
  const up = once(second.peers, 'up');
  second.peers.useTls(await next.issue('two'));
  await up;
  expect(await whoIs(second.peers)).toBe('two');
  const broken = { ...(await next.issue('two')), key: (await next.issue('two')).key };
  expect(() => second.peers.useTls(broken)).toThrow();
  expect(await whoIs(second.peers)).toBe('two');
});

test('a peer that took the connection is waited for while it is too busy to answer', async () => {
  const first = await member(0);
  const door = createServer().listen(0, '127.0.0.1');
  await once(door, 'listening');
  const address = `127.0.0.1:${(door.address() as AddressInfo).port}`;
  const taken: Socket[] = [];
  door.on('connection', (socket) => taken.push(socket));

  const running = new Map<NodeJS.Timeout, { callback: () => void; delayMs: number }>();
  let onHandshake = () => {};
  const waitsForHandshake = new Promise<void>((resolve) => {
    onHandshake = resolve;
  });
  const timers: PeerTimers = {
    setTimeout: (callback: () => void, delayMs: number) => {
      const timer = setTimeout(callback, delayMs).unref();
      running.set(timer, { callback, delayMs });
      if (delayMs > 5_000) onHandshake();
      return timer;
    },
    clearTimeout: (timer: unknown) => {
      clearTimeout(timer as NodeJS.Timeout);
      running.delete(timer as NodeJS.Timeout);
    },
    random: () => 0,
  };
  const { peers } = await member(1, undefined, [address], undefined, timers);
  await waitsForHandshake;
  for (const { callback, delayMs } of [...running.values()]) if (delayMs <= 5_000) callback();

  if (taken.length === 0) await once(door, 'connection');
  const [host, port] = first.address.split(':') as [string, string];
  const far = connect(Number(port), host);
  taken[0]!.pipe(far).pipe(taken[0]!);
  expect(await whoIs(peers)).toBe('two');
  expect(taken).toHaveLength(1);
  await peers.close();
  far.destroy();
  door.close();
});
