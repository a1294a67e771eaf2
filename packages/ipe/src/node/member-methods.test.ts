import type { Accepted } from '@ipe/core/replica';
import { afterEach, describe, expect, test } from 'vitest';
import type { CallContext } from '../api/method.ts';
import { Membership } from '../cluster/membership.ts';
import { startMesh } from '../testkit/mesh.ts';
import { memberHandlers } from './member-methods.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** The methods of a mesh's first member, and the origin of its third. @param alone who may alone hold what counts */
async function methods(alone: (origin: string) => boolean) {
  const mesh = await startMesh(3);
  cleanups.push(() => mesh.close());
  const membership = await Membership.open({
    keysFolder: mesh.keysFolder,
    identity: mesh.identities[0]!,
    address: null,
    now: () => 5_000,
  });
  cleanups.push(() => membership.close());
  for (const signed of mesh.directories[0]!.list()) membership.directory.put(signed);
  const held: Accepted = { users: { a: 4 } };
  const handlers = memberHandlers({
    membership,
    peers: mesh.peers[0]!,
    replication: {
      status: () => ({ lag: [] }) as never,
      heldOf: () => held,
      mayHoldAlone: alone,
      heardAges: () => new Map(),
    },
    address: null,
  });
  const evict = async (params: object) => await handlers['evict']!(params, {} as CallContext);
  return { evict, membership, held, ...mesh.identities[2]! };
}

describe('evicting by an operator', () => {
  test('is refused where it may give up acknowledged writes, and changes nothing then; `force` gives them up', async () => {
    const { evict, membership, held, id, origin } = await methods(() => true);
    await expect(evict({ member: id })).rejects.toMatchObject({
      reason: 'conflict',
      state: 'unchanged',
      message: expect.stringContaining('force'),
    });
    expect(membership.directory.byOrigin(origin)?.state).toBe('active');
    expect(await evict({ member: id, force: true })).toMatchObject({ member: { origin, state: 'evicted' } });
    expect(membership.directory.byOrigin(origin)).toMatchObject({ evictedBy: 'operator', lastAccepted: held });
  });

  test('needs no force where others hold everything', async () => {
    const { evict, membership, id, origin } = await methods((each) => each === 'another');
    await evict({ member: id });
    expect(membership.directory.byOrigin(origin)?.state).toBe('evicted');
  });
});
