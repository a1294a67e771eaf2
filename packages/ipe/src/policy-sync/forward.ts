import { IpeError } from '@ipe/core';
import type { CallContext, Handlers, PlaneService } from '../api/method.ts';
import type { MemberDirectory } from '../cluster/members.ts';
import type { Peers } from '../cluster/peers.ts';
import type { PolicySync } from './policy-sync.ts';
import { decodeJson, encodeJson, names } from './wire.ts';

/** Writes that the origin can do for a follower's caller. */
const forwarded = ['put-policy', 'delete-policy', 'apply', 'restore', 'promote', 'rollback-to-commit'];
/** Writes that need what is beside the instance asked: repositories, uploads. */
const localOnly = ['sync-from-git', 'restore-backup'];

const forwardTimeoutMs = 60_000;
/** A little below what one frame may hold. */
const forwardBytesMax = 15 * 1024 * 1024;

/** Puts the answer of who is not the origin before every method and route that writes policies. */
export function followWrites(service: PlaneService, sync: PolicySync, forwardWrites: boolean): PlaneService {
  const handlers: Record<string, Handlers[string]> = { ...service.handlers };
  for (const method of [...forwarded, ...localOnly]) {
    const own = handlers[method];
    if (own === undefined) continue;
    const mayForward = forwardWrites && forwarded.includes(method);
    handlers[method] = (params, context) => {
      if (sync.role === 'origin') return own(params, context);
      if (!mayForward || sync.role === 'unsettled') throw notHere(sync, method);
      return forward(sync, method, params, context);
    };
  }
  const routes = service.routes?.map((route) => ({
    ...route,
    handle: (...args: Parameters<typeof route.handle>) => {
      if (sync.role !== 'origin' && route.method !== 'GET') throw notHere(sync);
      return route.handle(...args);
    },
  }));
  const missing = () => {
    if (sync.role === 'origin') return service.missing();
    if (sync.role === 'unsettled') return ['an origin of policies: see `policy_sync.problem` in the status'];
    return sync.hasVerified ? [] : ['first sync of policies from the origin'];
  };
  return { ...service, handlers, missing, ...(routes !== undefined && { routes }) };
}

/** Does the writes of followers here, as the admin that asked there; each is told to `onWrite`. */
export function serveWrites(
  peers: Peers,
  directory: MemberDirectory,
  sync: PolicySync,
  handlers: Handlers,
  onWrite: (write: ForwardedWrite) => void,
): void {
  peers.handle(names.write, async (body, { fingerprint, signal }) => {
    if (sync.role !== 'origin') throw notHere(sync);
    const { method, params, by } = (decodeJson(body) ?? {}) as { method?: unknown; params?: unknown; by?: unknown };
    const handler = typeof method === 'string' && forwarded.includes(method) ? handlers[method] : undefined;
    if (handler === undefined) throw new IpeError('method_not_found', 'followers cannot ask for this method');
    const follower = directory.active(fingerprint)?.id ?? fingerprint.slice(0, 12);
    const name = `${String(by).slice(0, 200)} at ${follower}`;
    const told = { method: String(method), params, by: name, follower };
    try {
      const result = await handler(params, { caller: { kind: 'admin', tokenId: `peer:${follower}`, name }, signal });
      onWrite({ ...told, outcome: 'ok' });
      return encodeJson(result ?? null);
    } catch (error) {
      onWrite({ ...told, outcome: error instanceof IpeError ? error.reason : 'internal' });
      throw error;
    }
  });
}

/** A write that came from a follower, for the audit log. */
export interface ForwardedWrite {
  readonly method: string;
  readonly params: unknown;
  /** Who asked, and where. */
  readonly by: string;
  readonly follower: string;
  /** `ok`, or the reason of the refusal. */
  readonly outcome: string;
}

async function forward(sync: PolicySync, method: string, params: unknown, context: CallContext): Promise<unknown> {
  const link = sync.originLink();
  const body = encodeJson({ method, params, by: context.caller.name });
  if (body.length > forwardBytesMax) {
    throw new IpeError(
      'too_large',
      'the request is too large to be handed on; send it to the origin itself, or in parts',
    );
  }
  const limits = { signal: context.signal, timeoutMs: forwardTimeoutMs };
  const result = decodeJson(await link.request(names.write, body, limits));
  // Whoever wrote here reads here: the write stands at the origin whether or not this succeeds.
  await sync.syncNow().catch(() => {});
  return result;
}

function notHere(sync: PolicySync, method?: string): IpeError {
  const origin = sync.origin;
  const where = origin === undefined ? 'the origin' : `the origin \`${origin.id}\``;
  return new IpeError(
    'unavailable',
    sync.problem ??
      `this instance follows: ${localOnly.includes(method ?? '') ? `\`${method}\` is for` : 'write policies at'} ${where}`,
    {
      state: 'unchanged',
      details: { origin: origin?.id ?? null, address: origin?.address ?? null },
    },
  );
}
