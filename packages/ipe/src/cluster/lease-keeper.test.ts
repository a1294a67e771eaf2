import type { Accepted, LeaseVerdict } from '@ipe/core/replica';
import { afterEach, describe, expect, test } from 'vitest';
import { type Mesh, startMesh } from '../testkit/mesh.ts';
import type { Identity } from './identity.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import { Membership } from './membership.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Known {
  verdict: LeaseVerdict;
  held: Accepted;
  /** Who may hold alone what counts of another. */
  alone?: readonly string[];
}

/** The keeper of a mesh's first member, what it knows being the test's to say. */
async function keeperOf(mesh: Mesh, known: Known, { holdsKey = true } = {}) {
  const membership = await Membership.open({
    keysFolder: mesh.keysFolder,
    identity: mesh.identities[0]!,
    address: null,
    now: () => 5_000,
  });
  for (const signed of mesh.directories[0]!.list()) membership.directory.put(signed);
  const warnings: string[] = [];
  const keys = holdsKey ? membership.keys : { publicKey: membership.keys.publicKey, secret: membership.keys.secret };
  const keeper = new LeaseKeeper({
    membership: {
      directory: membership.directory,
      keys,
      evict: membership.evict.bind(membership),
      accept: membership.accept.bind(membership),
    },
    leaseMs: 1_000,
    replication: {
      judgeLeases: () => known.verdict,
      heldOf: () => known.held,
      mayHoldAlone: (origin) => known.alone?.includes(origin) === true,
    },
    log: { warn: (_, message) => void warnings.push(message) },
  });
  cleanups.push(async () => {
    keeper.close();
    await membership.close();
  });
  return { keeper, membership, warnings };
}

async function mesh(): Promise<Mesh> {
  const made = await startMesh(3);
  cleanups.push(() => made.close());
  return made;
}

describe('leases of members', () => {
  test('the holder of the cluster key evicts who is overdue, naming what is held of it', async () => {
    const three = await mesh();
    const { origin } = three.identities[2]!;
    const held = { users: { [`${origin}:000000000001`]: 4 } };
    const known: Known = { verdict: { lapsed: [origin], isCutOff: false }, held };
    const { keeper, membership } = await keeperOf(three, known);
    keeper.keep();
    expect(membership.directory.byOrigin(origin)).toMatchObject({
      state: 'evicted',
      evictedBy: 'lease',
      lastAccepted: held,
      issuedAtMs: 5_000,
    });
    expect(membership.directory.cuts().get(origin)).toEqual({ accepted: held, isClosed: true });
    expect(membership.directory.byOrigin(three.identities[1]!.origin)?.state).toBe('active');
  });

  test('what another member turns out to hold of an evicted one is accepted, and nothing is ever taken back', async () => {
    const three = await mesh();
    const { origin } = three.identities[2]!;
    const source = `${origin}:000000000001`;
    const known: Known = { verdict: { lapsed: [origin], isCutOff: false }, held: { users: { [source]: 4 } } };
    const { keeper, membership } = await keeperOf(three, known);
    keeper.keep();
    const { sequence } = membership.directory.byOrigin(origin)!;
    known.verdict = { lapsed: [], isCutOff: false };
    keeper.keep();
    expect(membership.directory.byOrigin(origin)!.sequence).toBe(sequence);
    known.held = { users: { [source]: 3 }, groups: { [source]: 1 } };
    keeper.keep();
    expect(membership.directory.byOrigin(origin)!.lastAccepted).toEqual({
      users: { [source]: 4 },
      groups: { [source]: 1 },
    });
  });

  test('elsewhere the eviction waits for the cluster key, and says so', async () => {
    const three = await mesh();
    const { origin, id } = three.identities[2]!;
    const known: Known = { verdict: { lapsed: [origin], isCutOff: false }, held: {} };
    const { keeper, membership, warnings } = await keeperOf(three, known, { holdsKey: false });
    keeper.keep();
    keeper.keep();
    expect(membership.directory.byOrigin(origin)?.state).toBe('active');
    expect(keeper.status()).toEqual({ lapsed: [id], waitsFor: 'the cluster key' });
    expect(warnings).toEqual(['the lease of members has run out; their eviction waits for the cluster key']);
  });

  test('who may alone hold what counts of another is not evicted, and that it waits for it is told', async () => {
    const three = await mesh();
    const [, { origin: other }, { origin, id }] = three.identities as [Identity, Identity, Identity];
    const known: Known = { verdict: { lapsed: [origin], isCutOff: false }, held: {}, alone: [origin] };
    const { keeper, membership, warnings } = await keeperOf(three, known);
    keeper.keep();
    expect(membership.directory.byOrigin(origin)?.state).toBe('active');
    expect(keeper.status()).toEqual({ lapsed: [id], waitsFor: 'its return' });
    expect(warnings).toEqual(['the lease of members has run out; their eviction waits for its return']);
    known.verdict = { lapsed: [origin, other], isCutOff: false };
    keeper.keep();
    expect(membership.directory.byOrigin(other)?.state).toBe('evicted');
    known.alone = [];
    keeper.keep();
    expect(membership.directory.byOrigin(origin)?.state).toBe('evicted');
  });

  test('an instance that is cut off evicts nobody', async () => {
    const three = await mesh();
    const lapsed = three.identities.slice(1).map(({ origin }) => origin);
    const { keeper, membership } = await keeperOf(three, { verdict: { lapsed, isCutOff: true }, held: {} });
    keeper.keep();
    expect(membership.directory.list().every(({ body }) => body.state === 'active')).toBe(true);
    expect(keeper.status().waitsFor).toBe('other members');
  });
});
