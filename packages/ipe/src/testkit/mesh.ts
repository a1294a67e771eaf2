import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Identity, loadIdentity } from '../cluster/identity.ts';
import { type ClusterKeys, createClusterKeys } from '../cluster/keys.ts';
import { MemberDirectory, signMember } from '../cluster/members.ts';
import { Peers } from '../cluster/peers.ts';

/** Instances of one cluster in this process, each linked to every other over real mutual TLS on loopback. */
export interface Mesh {
  readonly peers: readonly Peers[];
  readonly identities: readonly Identity[];
  readonly directories: readonly MemberDirectory[];
  /** The holder of the cluster key's keys. */
  readonly keys: ClusterKeys;
  /** Where those keys are. */
  readonly keysFolder: string;
  close(): Promise<void>;
}

/** Makes `count` members and resolves when all links are up. */
export async function startMesh(count: number): Promise<Mesh> {
  const folder = await mkdtemp(join(tmpdir(), 'ipe-mesh-'));
  const keys = await createClusterKeys(folder);
  const identities = await Promise.all(
    Array.from({ length: count }, (_, i) => loadIdentity(join(folder, String(i)), { nowMs: Date.now() })),
  );
  const directories = identities.map(() => new MemberDirectory(keys.publicKey));
  const peers = identities.map(
    (identity, i) => new Peers({ identity, directory: directories[i]!, listen: '127.0.0.1:0' }),
  );
  const linked = peers.map((each) => untilLinks(each, count - 1));
  for (const [i, each] of peers.entries()) {
    const { address } = await each.start();
    const { id, origin, fingerprint, signing } = identities[i]!;
    const record = signMember(keys.key!, {
      v: 1,
      origin,
      id,
      fingerprint,
      signingKey: signing.publicKey,
      address: address!,
      state: 'active',
      sequence: 1,
      issuedAtMs: 0,
    });
    for (const directory of directories) directory.put(record);
  }
  await Promise.all(linked);
  return {
    peers,
    identities,
    directories,
    keys,
    keysFolder: folder,
    close: async () => {
      await Promise.all(peers.map((each) => each.close()));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function untilLinks(peers: Peers, count: number): Promise<void> {
  while (peers.links().length < count) await once(peers, 'up');
}
