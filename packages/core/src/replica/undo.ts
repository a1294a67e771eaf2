import type { Cell } from './cell.ts';
import type { Namespace } from './namespaces.ts';
import type { Counter, Members } from './state.ts';
import type { Write } from './write.ts';

/**
 * Writes that put a key back to what it was before others were applied: ordinary ones, which come after those, so that
 * every instance ends the same. Of values that stood side by side the latest is put back.
 * @param before the key without what is to be undone @param after the key with it
 */
export function undoing(namespace: Namespace, key: string, before: Cell, after: Cell, nowMs: number): Write[] {
  const target = { namespace: namespace.name, key };
  switch (namespace.strategy.kind) {
    case 'counter':
      return undoingCount(target, before, after);
    case 'set':
      return undoingMembers(target, before, after);
    default: {
      // Expired all the same: absent is what readers saw.
      const seen = before.seenAt(nowMs);
      const value = seen?.kind === 'siblings' ? seen.siblings.find(({ json, bytes }) => json ?? bytes) : seen;
      if (value === undefined) return [{ op: 'delete', ...target, ...anySiblings(after, nowMs) }];
      const { json, bytes } = value;
      const ttlMs = value.expiresMs === 0 ? undefined : value.expiresMs - nowMs;
      return [{ op: 'put', ...target, json, bytes, ttlMs, ...anySiblings(after, nowMs) }];
    }
  }
}

/** Siblings are overwritten only by a write that says it knows of them. */
function anySiblings(after: Cell, nowMs: number): { readonly ifMatch?: string } {
  return after.seenAt(nowMs)?.kind === 'siblings' ? { ifMatch: '*' } : {};
}

function undoingCount(target: { namespace: string; key: string }, before: Cell, after: Cell): Write[] {
  const [was, is] = [before.state as Counter | undefined, after.state as Counter | undefined];
  const amount = totalOf(was) - totalOf(is);
  return amount === 0 ? [] : [{ op: 'add', ...target, amount, windowMs: is?.windowMs }];
}

const totalOf = (state: Counter | undefined) =>
  (state?.totals ?? []).reduce((sum, { plus, minus }) => sum + plus - minus, 0);

function undoingMembers(target: { namespace: string; key: string }, before: Cell, after: Cell): Write[] {
  const [was, is] = [presentIn(before), presentIn(after)];
  const added = [...was].filter((member) => !is.has(member));
  const removed = [...is].filter((member) => !was.has(member));
  return [
    ...(added.length > 0 ? [{ op: 'set-add', ...target, members: added } as const] : []),
    ...(removed.length > 0 ? [{ op: 'set-remove', ...target, members: removed } as const] : []),
  ];
}

function presentIn(cell: Cell): Set<string> {
  const state = cell.state as Members | undefined;
  return new Set(
    (state?.members ?? []).filter(({ live }) => live.some(({ present }) => present)).map(({ member }) => member),
  );
}
