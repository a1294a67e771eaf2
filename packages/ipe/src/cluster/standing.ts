import { IpeError, isIpeError } from '@ipe/core';
import type { Accepted } from '@ipe/core/replica';
import type { Identity } from './identity.ts';
import { dialPinned, type MemberCandidate } from './join.ts';
import type { KeyRing, SignedSecret } from './key-ring.ts';
import type { LinkHandler, PeerLink } from './link.ts';
import type { MemberDirectory, SignedMember } from './members.ts';

/** What a certificate that was evicted may ask: how it stands, and to be taken back. */
export const standingRequest = 'standing';
export const returnRequest = 'return';

const timeoutMs = 5_000;

/** What a member that was taken back comes home with. */
export interface Readmitted {
  readonly record: SignedMember;
  readonly members: readonly SignedMember[];
  readonly secrets: readonly SignedSecret[];
}

/** Tells an evicted member that it is one: it was away when it happened. */
export function standingHandler(directory: MemberDirectory): LinkHandler {
  return async (_, { fingerprint }) => {
    const signed = directory.list().find(({ body }) => body.fingerprint === fingerprint);
    return Buffer.from(JSON.stringify(signed ?? null));
  };
}

/**
 * Takes a member back whose lease had run out. One that an operator sent away needs a join token.
 * `sign` is done by the holder of the cluster key, or asked of it.
 */
export function returnHandler(options: {
  readonly directory: MemberDirectory;
  readonly ring: Pick<KeyRing, 'after'>;
  readonly sign: (candidate: MemberCandidate) => Promise<SignedMember>;
}): LinkHandler {
  return async (body, { fingerprint }) => {
    const { directory, ring, sign } = options;
    const held = directory.list().find((signed) => signed.body.fingerprint === fingerprint)?.body;
    // Taken back already: the answer was lost.
    const isBack = held?.state === 'active' && held.lastAccepted !== undefined;
    if (held === undefined || !(isBack || held.evictedBy === 'lease'))
      throw new IpeError('forbidden', 'only a member whose lease ran out returns by itself; ask for a join token');
    const { address, closed } = readReturn(body);
    const { id, origin, signingKey } = held;
    const record = await sign({ id, origin, fingerprint, signingKey, address, closed });
    return Buffer.from(JSON.stringify({ record, members: directory.list(), secrets: ring.after(1) }));
  };
}

/** Asks a peer how this instance stands. @returns undefined where the peer takes it for an active member */
export async function askStanding(link: PeerLink): Promise<SignedMember | undefined> {
  try {
    const answer = await link.request(standingRequest, new Uint8Array(), { timeoutMs });
    return (JSON.parse(Buffer.from(answer).toString('utf8')) as SignedMember | null) ?? undefined;
  } catch {
    return undefined;
  }
}

/**
 * Asks the members, one after the other, to be taken back.
 * @param closed by namespace and source, what counts of what this instance wrote before; it writes no more under those
 * @throws IpeError what the last of them said; `unavailable` when none answers
 */
export async function requestReturn(options: {
  readonly directory: MemberDirectory;
  readonly identity: Identity;
  readonly listenAddress: string | null;
  readonly closed: Accepted;
}): Promise<Readmitted> {
  const { directory, identity, listenAddress, closed } = options;
  const body = Buffer.from(JSON.stringify({ address: listenAddress, closed }));
  let failure: IpeError | undefined;
  for (const { body: member } of directory.list()) {
    if (member.state !== 'active' || member.address === null || member.origin === identity.origin) continue;
    try {
      const link = await dialPinned(member.address, member.fingerprint, identity, timeoutMs);
      try {
        const answer = await link.request(returnRequest, body, { timeoutMs });
        return JSON.parse(Buffer.from(answer).toString('utf8')) as Readmitted;
      } finally {
        link.close();
      }
    } catch (error) {
      failure = isIpeError(error) ? error : new IpeError('unavailable', String(error), { cause: error });
    }
  }
  throw failure ?? new IpeError('unavailable', 'no member is known that could take this instance back');
}

function readReturn(body: Uint8Array): { readonly address: string | null; readonly closed: Accepted } {
  try {
    const { address, closed } = JSON.parse(Buffer.from(body).toString('utf8')) as Record<string, unknown>;
    const isAddress = address === null || typeof address === 'string';
    if (isAddress && typeof closed === 'object' && closed !== null) return { address, closed: closed as Accepted };
  } catch {
    // Falls through to the error that says so.
  }
  throw new IpeError('invalid_params', 'a request to return holds `address` and `closed`');
}
