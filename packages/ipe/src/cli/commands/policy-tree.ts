import type { TreeNode } from '@ipe/client/protocol';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { type Branch, shortId } from '../output.ts';
import { given, wholeNumber } from '../values.ts';

interface Options extends NodeOptions {
  readonly root?: string;
  readonly depth?: number;
}

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('[path]', 'start at this directory', '')
    .option('--depth <levels>', 'go down so many levels', wholeNumber('--depth'))
    .option('--root <root>', 'at this root, commit or ref')
    .addHelpText('after', '\nExample:\n  ipe policy tree prod --depth 2')
    .action(async (path: string, options: Options) => {
      const nodes: TreeNode[] = [];
      await withPlane(cli, options, 'control', async ({ control }) => {
        let cursor: string | undefined;
        do {
          const page = await control.call(
            'get-subtree',
            given({ path, depth: options.depth, root: options.root, limit: 1000, cursor }),
          );
          nodes.push(...page.nodes);
          cursor = page.cursor;
        } while (cursor !== undefined);
      });
      cli.show(options, nodes, () => {
        cli.out.line(path === '' ? '.' : path);
        cli.out.tree(branches(cli, nodes, path));
      });
    });
}

/** Depth-first rows as a tree; the row of `top` itself is left out. */
function branches(cli: Cli, nodes: readonly TreeNode[], top: string): Branch[] {
  const byPath = new Map<string, Branch & { children: Branch[] }>();
  const roots: Branch[] = [];
  for (const node of nodes) {
    if (node.path === top) continue;
    const name = node.path.slice(node.path.lastIndexOf('.') + 1);
    const label =
      node.kind === 'directory' ? cli.out.color.bold(name) : `${name}  ${cli.out.color.dim(shortId(node.hash))}`;
    const branch = { label, children: [] };
    byPath.set(node.path, branch);
    const parent = byPath.get(node.path.slice(0, Math.max(0, node.path.lastIndexOf('.'))));
    (parent?.children ?? roots).push(branch);
  }
  return roots;
}
