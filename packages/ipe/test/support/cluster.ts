import { vi } from 'vitest';
import { freePort } from '../../src/testkit/brokers.ts';
import { patience } from '../../src/testkit/patience.ts';
import { type NodeProcess, startProcess } from '../../src/testkit/process.ts';
import type { Cleanups } from './scratch.ts';

/** A running member, and what it was started with. */
export interface Started {
  readonly node: NodeProcess;
  readonly address: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly args: readonly string[];
}

/** Starts a founder and joins the others to it, one after the other, as `ipe serve --join` does. */
export async function startCluster(
  cleanups: Cleanups,
  count: number,
  extra: Readonly<Record<string, string>> = {},
): Promise<Started[]> {
  const members: Started[] = [];
  for (let i = 0; i < count; i++) {
    const address = `127.0.0.1:${await freePort()}`;
    const environment = { IPE_CLUSTER__LISTEN: address, IPE_OBSERVABILITY__LOG_LEVEL: 'warn', ...extra };
    const first = members[0];
    const args =
      first === undefined
        ? []
        : ['--join', first.address, '--join-token', (await first.node.control.call('member-invite', {})).token];
    const node = await startProcess(await cleanups.folder(), { args, environment });
    cleanups.add(() => node.kill());
    await untilLoaded(node);
    members.push({ node, address, environment, args });
  }
  return members;
}

/** Resolves once a node that joined has loaded all facts: until then it is neither read nor written. */
async function untilLoaded({ data }: NodeProcess): Promise<void> {
  await vi.waitFor(() => data.get('users.any'), patience);
}
