import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dataFamilies } from '@ipe/core/replica';
import { dataLayouts, openPlainStore, openSealedStore } from '../stores/index.ts';
import { DataNode, type DataNodeOptions } from './data-node.ts';

/** A data plane on a store of its own, and how to remove both. */
export interface BackedNode {
  readonly node: DataNode;
  destroy(): Promise<void>;
}

/** Every store that facts can be kept in: the same cases run on each. */
export const dataBackends: Readonly<Record<string, (options?: DataNodeOptions) => Promise<BackedNode>>> = {
  memory: async (options) => {
    const node = await DataNode.open(options);
    return { node, destroy: () => node.close() };
  },
  RocksDB: (options = {}) => onDisk(options, (directory) => openPlainStore({ directory, families: dataFamilies })),
  'sealed RocksDB': (options = {}) =>
    onDisk(options, async (directory, keyPath) => {
      await writeFile(keyPath, 'ab'.repeat(32), { mode: 0o600 });
      return await openSealedStore({ directory, families: dataFamilies }, { keyPath, layouts: dataLayouts });
    }),
};

async function onDisk(
  options: DataNodeOptions,
  open: (directory: string, keyPath: string) => ReturnType<NonNullable<DataNodeOptions['openKv']>>,
): Promise<BackedNode> {
  const root = await mkdtemp(join(tmpdir(), 'ipe-data-'));
  const node = await DataNode.open({ ...options, openKv: () => open(join(root, 'data'), join(root, 'data.key')) });
  return {
    node,
    destroy: async () => {
      await node.close();
      await rm(root, { recursive: true, force: true });
    },
  };
}
