import { IpeError } from '@ipe/core';
import { objectId } from '@ipe/core/git';
import type { PolicyStore, TransferObject } from '@ipe/core/tree';
import type { PeerLink } from '../cluster/link.ts';
import { nodePrimitives } from '../repository/primitives.ts';
import type { PlanMessage } from './serve.ts';
import { decodeIds, decodeJson, decodeObjects, encodeIds, encodeJson, names, pieceIdsMax } from './wire.ts';

export interface Pulled {
  readonly objects: number;
  /** Bytes received: ids and objects with their framing. */
  readonly bytes: number;
}

const pieceIdsFirst = 128;
const timeoutMs = 30_000;
/** Ids that one plan may name: far above what the store's own limits allow. */
const idsMax = 20_000_000;

/** Commits by which the origin finds what both have: what was verified last, and a few of `main` further and further apart. */
export async function haveOf(store: PolicyStore, verified: string | undefined): Promise<string[]> {
  const have = verified !== undefined && (await store.has(verified)) ? [verified] : [];
  return [...new Set([...have, ...(await store.landmarks())])];
}

/** Asks for a plan. Nothing of it is believed before its head was checked. */
export async function askPlan(link: PeerLink, have: readonly string[], signal: AbortSignal): Promise<PlanMessage> {
  const answer = await link.request(names.plan, encodeJson({ have }), { signal, timeoutMs });
  return decodeJson(answer) as PlanMessage;
}

/**
 * Fetches the objects of a plan that are not here yet, piece by piece; each is rehashed and durable before the next piece is asked for.
 * They lie in the store unnamed, so nothing serves them, and a transfer that breaks off goes on where it stopped.
 * @throws IpeError `corrupt` where a peer sends what was not asked for: that piece is not kept
 */
export async function pullObjects(
  link: PeerLink,
  store: PolicyStore,
  plan: string,
  { signal, progress }: { readonly signal: AbortSignal; readonly progress: (done: number, all: number) => void },
): Promise<Pulled> {
  let bytes = 0;
  const ids: string[] = [];
  let tooMany = false;
  await link.requestStream(
    names.ids,
    encodeJson({ plan }),
    (chunk) => {
      bytes += chunk.length;
      if (ids.length + chunk.length / 32 > idsMax) tooMany = true;
      else for (const id of decodeIds(chunk.subarray(0, chunk.length - (chunk.length % 32)))) ids.push(id);
    },
    { signal, timeoutMs },
  );
  if (tooMany) throw new IpeError('too_large', `the peer's tree has more than ${idsMax} objects`);
  let objects = 0;
  // Small pieces first: over a slow line something is kept soon, and progress shows.
  let size = pieceIdsFirst;
  for (let at = 0; at < ids.length; at += size, size = Math.min(2 * size, pieceIdsMax)) {
    const piece = ids.slice(at, at + size);
    let missing = new Set(await store.missing(piece));
    while (missing.size > 0) {
      const received = await askPiece(link, plan, missing, signal);
      bytes += received.bytes;
      const left = checkPiece(received.objects, missing);
      await store.ingest({ objects: each(received.objects), heads: [] });
      objects += received.objects.length;
      missing = left;
    }
    progress(at + piece.length, ids.length);
  }
  return { objects, bytes };
}

async function askPiece(
  link: PeerLink,
  plan: string,
  missing: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<{ objects: TransferObject[]; bytes: number }> {
  const name = Buffer.from(plan);
  const body = Buffer.concat([Buffer.from([name.length]), name, encodeIds(missing)]);
  const answer = Buffer.from(await link.request(names.objects, body, { signal, timeoutMs }));
  return { objects: decodeObjects(answer), bytes: answer.length };
}

/** Rehashes a piece. @returns what is still missing of it */
function checkPiece(objects: readonly TransferObject[], asked: ReadonlySet<string>): Set<string> {
  if (objects.length === 0) throw new IpeError('corrupt', 'the peer lacks objects of its own plan');
  const left = new Set(asked);
  for (const { type, body } of objects) {
    const id = objectId(nodePrimitives, type, body);
    if (!left.delete(id)) {
      throw new IpeError('corrupt', `the peer sent a ${type} that hashes to \`${id}\`, which was not asked for`, {
        details: { object: id },
      });
    }
  }
  return left;
}

async function* each(objects: readonly TransferObject[]): AsyncGenerator<TransferObject> {
  yield* objects;
}
