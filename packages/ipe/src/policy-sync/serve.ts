import { IpeError } from '@ipe/core';
import type { PolicyStore, StoreCopy } from '@ipe/core/tree';
import type { Peers } from '../cluster/peers.ts';
import type { HeadMessage } from './records.ts';
import {
  decodeIds,
  decodeJson,
  encodeIds,
  encodeJson,
  encodeObject,
  names,
  pieceBytesMax,
  pieceIdsMax,
} from './wire.ts';

/** What a follower is told before it asks for objects. */
export interface PlanMessage extends HeadMessage {
  readonly plan: string;
  readonly count: number;
  readonly shallow: readonly string[];
  /** Commit that the plan builds on; null: everything. */
  readonly base: string | null;
}

interface Held {
  readonly copy: StoreCopy;
  readonly ids: ReadonlySet<string>;
  readonly fingerprint: string;
  timer: NodeJS.Timeout;
}

const idleMs = 60_000;
const plansPerPeerMax = 2;
const idsPerChunk = 2048;
const haveMax = 64;

/**
 * Answers followers: a plan is a copy of the store since a commit both sides have, held from collection until it is done
 * with or idle. Objects outside a plan are served to nobody.
 * @param headNow  the record for what `main` is now, where this instance may vouch for it
 * @returns releases all plans
 */
export function servePolicies(peers: Peers, store: PolicyStore, headNow: () => Promise<HeadMessage>): () => void {
  const plans = new Map<string, Held>();
  let lastPlan = 0;

  const drop = (id: string): void => {
    const held = plans.get(id);
    if (held === undefined) return;
    plans.delete(id);
    clearTimeout(held.timer);
    held.copy.release();
  };
  const hold = (copy: StoreCopy, fingerprint: string): string => {
    const own = [...plans].filter(([, each]) => each.fingerprint === fingerprint);
    for (const [id] of own.slice(0, Math.max(0, own.length + 1 - plansPerPeerMax))) drop(id);
    const id = String(++lastPlan);
    const timer = setTimeout(() => drop(id), idleMs).unref();
    plans.set(id, { copy, ids: new Set(copy.ids()), fingerprint, timer });
    return id;
  };
  const held = (id: unknown, fingerprint: string): Held => {
    const found = plans.get(String(id));
    if (found === undefined || found.fingerprint !== fingerprint) {
      throw new IpeError('not_found', `there is no plan \`${String(id).slice(0, 40)}\`; ask for a new one`);
    }
    found.timer.refresh();
    return found;
  };

  /** Since the first commit of `have` that is known here; from the beginning where retention gave them all up. */
  const plan = async (have: readonly unknown[]): Promise<{ copy: StoreCopy; base: string | null }> => {
    for (const commit of have.slice(0, haveMax)) {
      if (typeof commit !== 'string' || !/^[0-9a-f]{64}$/.test(commit) || !(await store.has(commit))) continue;
      try {
        return { copy: await store.copy({ since: commit, mainOnly: true }), base: commit };
      } catch {
        // Retention has given up what lies between: an older one is no better, but may be another branch of history.
      }
    }
    return { copy: await store.copy({ mainOnly: true }), base: null };
  };

  peers.handle(names.head, async () => encodeJson(await headNow()));
  peers.handle(names.plan, async (body, { fingerprint }) => {
    const { have } = (decodeJson(body) ?? {}) as { have?: unknown };
    for (let attempt = 0; attempt < 5; attempt++) {
      const { copy, base } = await plan(Array.isArray(have) ? have : []);
      const head = await headNow().catch((error: unknown) => {
        copy.release();
        throw error;
      });
      if (head.head !== null && head.head.body.rootCommit === copy.commit) {
        const id = hold(copy, fingerprint);
        return encodeJson({ ...head, plan: id, count: copy.count, shallow: copy.shallow, base } satisfies PlanMessage);
      }
      copy.release();
    }
    throw new IpeError('unavailable', 'the root moves too fast to be copied; ask again');
  });
  peers.handle(names.ids, (body, { fingerprint }) => {
    const { ids } = held((decodeJson(body) as { plan?: unknown } | null)?.plan, fingerprint);
    return (async function* () {
      const all = [...ids];
      for (let at = 0; at < all.length; at += idsPerChunk) yield encodeIds(all.slice(at, at + idsPerChunk));
    })();
  });
  peers.handle(names.objects, (body, { fingerprint }) => {
    const length = body[0] ?? 0;
    const { copy, ids } = held(Buffer.from(body.subarray(1, 1 + length)).toString('utf8'), fingerprint);
    const wanted = decodeIds(body.subarray(1 + length));
    if (wanted.length > pieceIdsMax) throw new IpeError('too_large', `at most ${pieceIdsMax} objects at a time`);
    return (async function* () {
      let sent = 0;
      for await (const object of copy.objects(wanted.filter((id) => ids.has(id)))) {
        yield encodeObject(object);
        sent += object.body.length;
        if (sent >= pieceBytesMax) return;
      }
    })();
  });
  peers.handle(names.done, async (body, { fingerprint }) => {
    const { plan: id } = (decodeJson(body) ?? {}) as { plan?: unknown };
    if (plans.get(String(id))?.fingerprint === fingerprint) drop(String(id));
    return undefined;
  });
  return () => {
    for (const id of [...plans.keys()]) drop(id);
  };
}
