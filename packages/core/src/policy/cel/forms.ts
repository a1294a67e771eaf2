import type { Node } from './ast.ts';
import type { Environment } from './environment.ts';

/**
 * The shapes in which an expression may use what is not a value: `data`, `staleness_ms` and `variables`. Checker, cost
 * and planner share this reading, so that what one accepts the others run.
 */
export type Form =
  /** `data.<ns>` on its own: means something only inside a larger form. */
  | { readonly kind: 'namespace'; readonly namespace: string }
  /** `data.<ns>[key]`, `data.<ns>.key`; optional for `[?key]` and `.?key`. */
  | { readonly kind: 'fact'; readonly namespace: string; readonly key: FactKey; readonly optional: boolean }
  /** `key in data.<ns>`, `has(data.<ns>.key)` */
  | { readonly kind: 'fact-test'; readonly namespace: string; readonly key: FactKey }
  /** `staleness_ms.<ns>` */
  | { readonly kind: 'staleness'; readonly namespace: string }
  /** `variables.<name>`; `index` is -1 when there is none of that name. */
  | { readonly kind: 'variable'; readonly name: string; readonly index: number }
  /** One of the three names used in any other way. */
  | { readonly kind: 'misuse'; readonly name: 'data' | 'staleness_ms' | 'variables' };

/** A key written out, or an expression that gives it. */
export type FactKey = { readonly literal: string } | { readonly node: Node };

/** Whether a name is bound by a macro around the node, and thereby hides the form. */
export type IsLocal = (name: string) => boolean;

/** The form that `node` is, or null when it is an ordinary expression. */
export function formOf(node: Node, env: Environment, isLocal: IsLocal): Form | null {
  switch (node.kind) {
    case 'ident':
      return specialName(node, env, isLocal) === null ? null : misuse(node, env, isLocal);
    case 'select':
    case 'has':
      return memberForm(node.operand, { literal: node.field }, node.kind === 'has' ? 'test' : 'read', env, isLocal);
    case 'call':
      return callForm(node, env, isLocal);
    default:
      return null;
  }
}

function callForm(node: Extract<Node, { kind: 'call' }>, env: Environment, isLocal: IsLocal): Form | null {
  const [first, second] = node.args;
  if (node.target !== null || first === undefined || second === undefined || node.args.length !== 2) return null;
  switch (node.fn) {
    case '_[_]':
      return memberForm(first, keyOf(second), 'read', env, isLocal);
    case '_?._':
    case '_[?_]':
      return memberForm(first, keyOf(second), 'optional', env, isLocal);
    case '@in': {
      const container = formOf(second, env, isLocal);
      if (container?.kind !== 'namespace') return null;
      return { kind: 'fact-test', namespace: container.namespace, key: keyOf(first) };
    }
    default:
      return null;
  }
}

function keyOf(node: Node): FactKey {
  return node.kind === 'literal' && typeof node.value === 'string' ? { literal: node.value } : { node };
}

function memberForm(
  operand: Node,
  key: FactKey,
  use: 'read' | 'optional' | 'test',
  env: Environment,
  isLocal: IsLocal,
): Form | null {
  const special = specialName(operand, env, isLocal);
  if (special === 'data') {
    return use === 'read' && 'literal' in key
      ? { kind: 'namespace', namespace: key.literal }
      : misuse(operand, env, isLocal);
  }
  if (special !== null) {
    if (use !== 'read' || !('literal' in key)) return misuse(operand, env, isLocal);
    if (special === 'staleness_ms') return { kind: 'staleness', namespace: key.literal };
    const index = env.variables.findIndex((variable) => variable.name === key.literal);
    return { kind: 'variable', name: key.literal, index };
  }
  const container = operand.kind === 'select' || operand.kind === 'call' ? formOf(operand, env, isLocal) : null;
  if (container?.kind !== 'namespace') return null;
  const { namespace } = container;
  return use === 'test'
    ? { kind: 'fact-test', namespace, key }
    : { kind: 'fact', namespace, key, optional: use === 'optional' };
}

/** Which of the three names `node` is, unless a macro variable or a root of that name hides it. */
function specialName(node: Node, env: Environment, isLocal: IsLocal): 'data' | 'staleness_ms' | 'variables' | null {
  if (!env.facts || node.kind !== 'ident' || isLocal(node.name)) return null;
  const name = node.name.startsWith('.') ? node.name.slice(1) : node.name;
  return name === 'data' || name === 'staleness_ms' || name === 'variables' ? name : null;
}

function misuse(node: Node, env: Environment, isLocal: IsLocal): Form | null {
  const name = specialName(node, env, isLocal);
  return name === null ? null : { kind: 'misuse', name };
}
