import { cutsAt, Digests, decodeCell, liveKey } from '../../replica/index.ts';
import { type Instance, tombstoneGraceMs } from './instance.ts';
import { digestHash, isRecord } from './state-repair.ts';

/** Whether nothing that is stored at an instance is damaged, and its digests equal those of others. */
export function isRepaired(instance: Instance, instances: readonly Instance[]): boolean {
  const { disk, replica, repair } = instance;
  return (
    repair.isSound &&
    disk.rows('log').every(([, row]) => isRecord(row, replica)) &&
    digestProblems([instance, ...instances]).length === 0
  );
}

/** What is wrong with the digests of instances at rest: each must be that of its rows, and that of every other. */
export function digestProblems(instances: readonly Instance[]): string[] {
  const problems = new Set<string>();
  const readMs = Math.max(...instances.map(({ replica, wallMs }) => replica.readMs(wallMs)));
  const cuts = cutsAt(readMs, tombstoneGraceMs);
  const first = new Map<string, string>();
  for (const instance of instances) {
    const { holdings, repair, replica } = instance;
    for (const { name } of replica.report()) {
      if (!holdings.isWhole(name)) continue;
      const root = String(repair.digests.view(name, cuts)?.root);
      if (root !== counted(instance, name)?.view(name, cuts)?.root.toString())
        problems.add('the digest of an instance is not that of its rows');
      const other = first.get(name) ?? root;
      first.set(name, other);
      if (other !== root) problems.add('the digests of two instances differ');
    }
  }
  return [...problems];
}

/** Digests of a namespace counted from its rows; undefined where one is damaged. */
function counted({ disk, replica }: Instance, namespace: string): Digests | undefined {
  const digests = new Digests(digestHash, []);
  const walk = digests.begin(namespace);
  for (const [bytes, row] of disk.rows('live', liveKey(`${namespace}.`))) {
    try {
      walk.add(String.fromCharCode(...bytes), decodeCell(row, replica.sources, replica.strategyOf(namespace)));
    } catch {
      return undefined;
    }
  }
  walk.end();
  return digests;
}
