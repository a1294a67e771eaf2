import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { join } from 'node:path';
import { IpeError } from '@ipe/core';
import { readIfPresent, writePrivate } from './identity.ts';

/** What a join token tells the joiner: whom to trust, where it is, and the proof that it was invited. */
export interface JoinToken {
  readonly fingerprint: string;
  readonly address: string | null;
  readonly secret: string;
}

const prefix = 'ipe_join_';

/** Text of a join token, for a person to carry. */
export function encodeJoinToken(token: JoinToken): string {
  return prefix + Buffer.from(JSON.stringify([token.fingerprint, token.address, token.secret])).toString('base64url');
}

/** @throws IpeError `invalid_params` for anything that is not a join token. */
export function decodeJoinToken(text: string): JoinToken {
  try {
    if (!text.startsWith(prefix)) throw new Error('prefix');
    const [fingerprint, address, secret] = JSON.parse(Buffer.from(text.slice(prefix.length), 'base64url').toString());
    if (!/^[0-9a-f]{64}$/.test(fingerprint) || typeof secret !== 'string') throw new Error('fields');
    if (address !== null && typeof address !== 'string') throw new Error('address');
    return { fingerprint, address, secret };
  } catch (cause) {
    throw new IpeError('invalid_params', 'this is not a join token; `ipe member invite` prints one', { cause });
  }
}

/** What is kept of a secret: enough to recognise it, useless to whoever reads the file. */
function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('base64url');
}

interface Invite {
  readonly hash: string;
  readonly expiresAtMs: number;
}

const fileName = 'invites.json';
/** Enough for any rollout; a bound, so that inviting in a loop cannot grow the file for ever. */
const invitesMax = 1_000;

/** The invitations that are open at this instance, kept in `keys/invites.json`. */
export class Invites {
  readonly #path: string;
  readonly #nowMs: () => number;
  #open: Invite[] = [];

  private constructor(path: string, nowMs: () => number) {
    this.#path = path;
    this.#nowMs = nowMs;
  }

  static async open(directory: string, nowMs: () => number): Promise<Invites> {
    const invites = new Invites(join(directory, fileName), nowMs);
    const text = await readIfPresent(invites.#path);
    if (text !== undefined) invites.#open = JSON.parse(text) as Invite[];
    return invites;
  }

  /** Opens an invitation of `ttlMs`. @throws IpeError `rate_limited` when too many are open. */
  async create(fingerprint: string, address: string | null, ttlMs: number): Promise<string> {
    const nowMs = this.#nowMs();
    const live = this.#open.filter((invite) => invite.expiresAtMs > nowMs);
    if (live.length >= invitesMax) throw new IpeError('rate_limited', `${invitesMax} invitations are open already`);
    const secret = randomBytes(32).toString('base64url');
    this.#open = [...live, { hash: hashOf(secret), expiresAtMs: nowMs + ttlMs }];
    await this.#save();
    return encodeJoinToken({ fingerprint, address, secret });
  }

  /**
   * Uses up the invitation that `secret` opens.
   * @returns how to open it again, where nobody was let in after all
   * @throws IpeError `unauthenticated` when none matches: unknown, expired or used.
   */
  async redeem(secret: string): Promise<() => Promise<void>> {
    const hash = Buffer.from(hashOf(secret));
    const nowMs = this.#nowMs();
    const found = this.#open.find(
      (invite) => timingSafeEqual(Buffer.from(invite.hash), hash) && invite.expiresAtMs > nowMs,
    );
    if (!found) {
      throw new IpeError('unauthenticated', 'the join token is unknown, expired or used; ask for a new one');
    }
    this.#open = this.#open.filter((invite) => invite !== found);
    await this.#save();
    return async () => {
      this.#open = [...this.#open, found];
      await this.#save();
    };
  }

  async #save(): Promise<void> {
    await writePrivate(this.#path, `${JSON.stringify(this.#open)}\n`);
  }
}
