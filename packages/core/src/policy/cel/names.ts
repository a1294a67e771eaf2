import type { Node } from './ast.ts';
import type { Environment } from './environment.ts';

/** `a.b.c` of a chain of plain selections on a name; null for anything else. A leading dot is kept. */
export function qualifiedName(node: Node): string | null {
  if (node.kind === 'ident') return node.name;
  if (node.kind !== 'select') return null;
  const operand = qualifiedName(node.operand);
  return operand === null ? null : `${operand}.${node.field}`;
}

/** The first name of a chain of selections; null when it does not begin with a name. */
export function firstName(node: Node): string | null {
  let at = node;
  while (at.kind === 'select') at = at.operand;
  return at.kind === 'ident' ? at.name : null;
}

/**
 * The names that `name` may stand for inside a container, innermost first: in `a.b`, `x` is `a.b.x`, then `a.x`, then
 * `x`. A leading dot means the last alone. Source: cel-spec, langdef.md, "Name Resolution".
 */
export function candidates(container: string, name: string): readonly string[] {
  if (name.startsWith('.')) return [name.slice(1)];
  if (container === '') return [name];
  const found: string[] = [];
  for (let prefix = container; ; prefix = prefix.slice(0, prefix.lastIndexOf('.'))) {
    found.push(`${prefix}.${name}`);
    if (!prefix.includes('.')) return [...found, name];
  }
}

/** Position of the root variable that `name` stands for; -1 for none. */
export function rootIndex(env: Environment, name: string): number {
  for (const candidate of candidates(env.container, name)) {
    const index = env.roots.findIndex((root) => root.name === candidate);
    if (index !== -1) return index;
  }
  return -1;
}

/** Of `known`, the name nearest to `name`, when it is near enough to be a slip of the finger. */
export function nearest(name: string, known: Iterable<string>): string | null {
  const most = Math.max(1, Math.floor(name.length / 3));
  let best: string | null = null;
  let least = most + 1;
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase(), least);
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

/** Optimal string alignment distance; any number of at least `limit` once it reaches that. */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let cost = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        cost = Math.min(cost, beforeLast[j - 2]! + 1);
      row.push(cost);
    }
    if (Math.min(...row) >= limit) return limit;
    beforeLast = last;
    last = row;
  }
  return last[b.length]!;
}
