import { IpeError } from '@ipe/core';
import type { Caller } from '../api/method.ts';

/** Whether `caller` may read or write a data namespace. Names that start with `_` are IPE's own and open to nobody. */
export function mayAccess(caller: Caller, namespace: string, verb: 'read' | 'write'): boolean {
  if (namespace.startsWith('_')) return false;
  if (caller.kind === 'admin') return true;
  if (caller.kind !== 'service') return false;
  if (caller.namespaces !== undefined && !caller.namespaces.includes(namespace)) return false;
  if (caller.verbs !== undefined && !caller.verbs.includes(verb)) return false;
  return verb === 'read' || caller.mayWrite === undefined || caller.mayWrite(namespace);
}

/**
 * Refuses a call that touches a namespace its token is not for. Every data-plane method calls it for each namespace it
 * reads or writes, before anything else is looked at.
 * @throws IpeError `forbidden`, naming the namespace and the verb.
 */
export function requireAccess(caller: Caller, namespace: string, verb: 'read' | 'write'): void {
  if (mayAccess(caller, namespace, verb)) return;
  const why = namespace.startsWith('_')
    ? 'names that start with `_` are reserved'
    : `the token of \`${caller.name}\` does not allow it`;
  throw new IpeError('forbidden', `may not ${verb} namespace \`${namespace}\`: ${why}`, {
    details: { namespace, verb },
  });
}
