import { connect } from 'node:tls';
import { IpeError, isIpeError } from '@ipe/core';
import { type Accepted, acceptedOnReturn } from '@ipe/core/replica';
import { parseAddress } from './address.ts';
import type { Identity, SigningKey } from './identity.ts';
import { decodeJoinToken, type Invites } from './invites.ts';
import type { KeyRing, SignedSecret } from './key-ring.ts';
import type { ClusterKeys } from './keys.ts';
import { type LinkHandler, PeerLink } from './link.ts';
import { type MemberDirectory, type MemberRecord, type SignedMember, signMember } from './members.ts';
import { peerFingerprint } from './trust.ts';

/** Name of the one request that a certificate without a record may send. */
export const joinRequest = 'join';

interface JoinBody {
  readonly secret: string;
  readonly id: string;
  readonly origin: string;
  readonly signingKey: string;
  readonly address: string | null;
  readonly closed?: Accepted;
}

/** What a joiner comes home with. */
export interface Joined {
  readonly keys: ClusterKeys;
  readonly record: SignedMember;
  readonly members: readonly SignedMember[];
  /** Secrets that seal batches, besides the cluster's first. */
  readonly secrets: readonly SignedSecret[];
}

/** Who is to be admitted. */
export interface MemberCandidate
  extends Pick<MemberRecord, 'id' | 'origin' | 'fingerprint' | 'signingKey' | 'address'> {
  /** Of an instance that was a member before: the sources under which it writes no more, and what counts of them. */
  readonly closed?: Accepted;
}

/** The part of joining that only the holder of the cluster key can do: sign a record for a proven certificate. */
export function admit(
  clusterKey: SigningKey,
  directory: MemberDirectory,
  candidate: MemberCandidate,
  nowMs: number,
): SignedMember {
  const held = directory.byOrigin(candidate.origin);
  if (held?.state === 'active' && held.fingerprint !== candidate.fingerprint) {
    // Two directories with one origin would mint the same dots for different writes, which no vector can tell apart.
    throw new IpeError(
      'conflict',
      `origin \`${candidate.origin}\` belongs to \`${held.id}\` already: a copied state directory cannot join; start with an empty one`,
      { details: { origin: candidate.origin, member: held.id } },
    );
  }
  const record: MemberRecord = {
    v: 1,
    origin: candidate.origin,
    id: candidate.id,
    fingerprint: candidate.fingerprint,
    signingKey: candidate.signingKey,
    address: candidate.address,
    state: 'active',
    sequence: (held?.sequence ?? 0) + 1,
    issuedAtMs: nowMs,
    ...lastAcceptedOf(held, candidate),
  };
  const signed = signMember(clusterKey, record);
  directory.put(signed);
  return signed;
}

function lastAcceptedOf(held: MemberRecord | undefined, { origin, closed = {} }: MemberCandidate) {
  const lastAccepted = acceptedOnReturn(held, origin, closed);
  return Object.keys(lastAccepted).length > 0 ? { lastAccepted } : {};
}

/**
 * Answers join requests: checks the single-use secret, has the record signed, hands over keys and members.
 * `sign` is `admit` on the holder of the cluster key, and a request to that holder on other members.
 */
export function joinHandler(options: {
  readonly invites: Invites;
  readonly keys: ClusterKeys;
  readonly directory: MemberDirectory;
  readonly ring: Pick<KeyRing, 'after'>;
  readonly sign: (candidate: MemberCandidate) => SignedMember | Promise<SignedMember>;
}): LinkHandler {
  return async (body, { fingerprint }) => {
    const request = readJoinBody(body);
    const reopen = await options.invites.redeem(request.secret);
    const { id, origin, signingKey, address, closed } = request;
    const candidate = { id, origin, signingKey, address, fingerprint, ...(closed && { closed }) };
    const record = await letIn(() => options.sign(candidate), reopen);
    const answer = {
      record,
      members: options.directory.list(),
      secrets: options.ring.after(1),
      clusterPublicKey: options.keys.publicKey,
      clusterSecret: Buffer.from(options.keys.secret).toString('base64url'),
    };
    return Buffer.from(JSON.stringify(answer));
  };
}

/** Whoever is not let in, such as while no holder of the cluster key is in reach, may try the same token again. */
async function letIn(
  sign: () => SignedMember | Promise<SignedMember>,
  reopen: () => Promise<void>,
): Promise<SignedMember> {
  try {
    return await sign();
  } catch (error) {
    await reopen();
    throw error;
  }
}

/**
 * Joins the cluster of the member at `address` (default: the one in the token).
 * @throws IpeError `unauthenticated` when the token is not accepted or another certificate answers; `unavailable` when
 *   nobody does. Nothing is stored either way: the caller keeps what is returned.
 */
export async function joinCluster(options: {
  readonly token: string;
  readonly address?: string;
  readonly identity: Identity;
  /** Where this instance's own peer listener will answer; null when it only dials. */
  readonly listenAddress: string | null;
  /** Set where this instance was a member before; see `MemberCandidate`. */
  readonly closed?: Accepted;
  readonly timeoutMs?: number;
}): Promise<Joined> {
  const token = decodeJoinToken(options.token);
  const address = options.address ?? token.address;
  if (address === null) {
    throw new IpeError('invalid_params', 'the join token names no address; give one with `--join HOST:PORT`');
  }
  const { identity, timeoutMs = 10_000 } = options;
  const link = await dialPinned(address, token.fingerprint, identity, timeoutMs);
  try {
    const body: JoinBody = {
      secret: token.secret,
      id: identity.id,
      origin: identity.origin,
      signingKey: identity.signing.publicKey,
      address: options.listenAddress,
      ...(options.closed && { closed: options.closed }),
    };
    const answer = await link.request(joinRequest, Buffer.from(JSON.stringify(body)), { timeoutMs });
    const { record, members, secrets, clusterPublicKey, clusterSecret } = JSON.parse(Buffer.from(answer).toString());
    return {
      record,
      members,
      secrets,
      keys: { publicKey: clusterPublicKey, secret: Buffer.from(clusterSecret, 'base64url') },
    };
  } finally {
    link.close();
  }
}

/** A link to whoever answers at an address, if its certificate is the one. */
export function dialPinned(address: string, pinned: string, identity: Identity, timeoutMs: number): Promise<PeerLink> {
  const { host, port } = parseAddress(address);
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => {
      socket.destroy();
      reject(
        isIpeError(error)
          ? error
          : new IpeError('unavailable', `no member answers at \`${address}\`: ${error.message}`, { cause: error }),
      );
    };
    const socket = connect({
      host,
      port,
      cert: identity.certificatePem,
      key: identity.privateKeyPem,
      minVersion: 'TLSv1.3',
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
    });
    const timer = setTimeout(() => fail(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    socket.once('error', fail);
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      socket.off('error', fail);
      if (peerFingerprint(socket) !== pinned) {
        fail(
          new IpeError(
            'unauthenticated',
            `the instance at \`${address}\` is not the one that issued the join token: its certificate differs`,
          ),
        );
        return;
      }
      resolve(new PeerLink(socket, { fingerprint: pinned, handlers: new Map() }));
    });
    socket.once('close', () => clearTimeout(timer));
  });
}

function readJoinBody(body: Uint8Array): JoinBody {
  let value: Partial<JoinBody> | null;
  try {
    value = JSON.parse(Buffer.from(body).toString('utf8'));
  } catch (cause) {
    throw new IpeError('parse_error', 'the join request is not JSON', { cause });
  }
  const { secret, id, origin, signingKey, address, closed } = value ?? {};
  if (
    typeof secret !== 'string' ||
    typeof id !== 'string' ||
    id.length > 253 ||
    typeof origin !== 'string' ||
    !/^[0-9a-f]{16}$/.test(origin) ||
    typeof signingKey !== 'string' ||
    (address !== null && typeof address !== 'string')
  ) {
    throw new IpeError('invalid_params', 'a join request holds `secret`, `id`, `origin`, `signingKey` and `address`');
  }
  return { secret, id, origin, signingKey, address, ...(typeof closed === 'object' && { closed }) };
}
