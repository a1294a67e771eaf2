import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { IpeError, isIpeError } from '@ipe/core';
import { type Accepted, evictedState } from '@ipe/core/replica';
import { type Identity, readIfPresent, writePrivate } from './identity.ts';
import { Invites } from './invites.ts';
import { admit, joinCluster, joinHandler, joinRequest, type MemberCandidate } from './join.ts';
import { KeyRing } from './key-ring.ts';
import { type ClusterKeys, createClusterKeys, loadClusterKeys, saveClusterKeys } from './keys.ts';
import type { LinkHandler } from './link.ts';
import { MemberDirectory, type MemberRecord, type SignedMember, signMember } from './members.ts';
import type { Peers } from './peers.ts';
import {
  askStanding,
  type Readmitted,
  requestReturn,
  returnHandler,
  returnRequest,
  standingHandler,
  standingRequest,
} from './standing.ts';

/** How an instance comes to be, or to stay, a member. */
export interface MembershipOptions {
  /** Folder `keys/` of the state directory. */
  readonly keysFolder: string;
  readonly identity: Identity;
  /** Where peers are to dial; null: nowhere, this instance dials. */
  readonly address: string | null;
  /** Set on `serve --join`; used only while this instance belongs to no cluster. */
  readonly join?: { readonly token: string; readonly address?: string };
  /** Set where this instance was evicted and may return: what counts of what it wrote before. */
  readonly returning?: Accepted;
  readonly now: () => number;
}

const membersFile = 'members.json';
/** Together a minute; whoever runs the node starts it again after that. */
const returnAttemptsMax = 60;
const returnDelayMs = 1_000;
const admitName = 'member.admit';

/**
 * This instance's place in its cluster: the keys it holds, the members it knows, and how others are admitted and
 * evicted. Records reach other members as facts, which whoever composes the node carries; a copy under `keys/` lets an
 * instance find its peers before it has loaded any fact.
 */
export class Membership {
  readonly keys: ClusterKeys;
  readonly directory: MemberDirectory;
  /** The secrets that seal batches. */
  readonly ring: KeyRing;
  readonly #options: MembershipOptions;
  readonly #invites: Invites;
  #peers: Peers | undefined;
  #saving: Promise<void> = Promise.resolve();

  private constructor(
    options: MembershipOptions,
    keys: ClusterKeys,
    ring: KeyRing,
    directory: MemberDirectory,
    invites: Invites,
  ) {
    this.ring = ring;
    this.#options = options;
    this.keys = keys;
    this.directory = directory;
    this.#invites = invites;
  }

  /**
   * Loads the membership, joins with a token, or founds a cluster of one.
   * @throws IpeError as `joinCluster` does; `corrupt` for damaged keys
   */
  static async open(options: MembershipOptions): Promise<Membership> {
    const { keysFolder, identity, address, now } = options;
    const invites = await Invites.open(keysFolder, now);
    const held = await loadClusterKeys(keysFolder);
    if (held !== undefined) {
      const directory = new MemberDirectory(held.publicKey);
      for (const record of await readMembers(keysFolder)) directory.put(record);
      const readmitted = options.returning && (await readmit(options, directory, options.returning));
      for (const record of readmitted === undefined ? [] : [...readmitted.members, readmitted.record])
        directory.put(record);
      const ring = await KeyRing.open(keysFolder, held, readmitted?.secrets);
      const membership = new Membership(options, held, ring, directory, invites);
      if (readmitted !== undefined) await membership.#saveMembers();
      membership.#ensureOwnRecord();
      return membership;
    }
    if (options.join !== undefined) {
      const joined = await joinCluster({
        token: options.join.token,
        ...(options.join.address !== undefined && { address: options.join.address }),
        identity,
        listenAddress: address,
      });
      const directory = new MemberDirectory(joined.keys.publicKey);
      for (const record of [...joined.members, joined.record]) directory.put(record);
      if (directory.active(identity.fingerprint) === undefined) {
        throw new IpeError(
          'unauthenticated',
          'the member that admitted this instance gave a record that does not verify',
        );
      }
      const ring = await KeyRing.open(keysFolder, joined.keys, joined.secrets);
      const membership = new Membership(options, joined.keys, ring, directory, invites);
      await membership.#saveMembers();
      await saveClusterKeys(keysFolder, joined.keys);
      return membership;
    }
    const keys = await createClusterKeys(keysFolder);
    const ring = await KeyRing.open(keysFolder, keys);
    const membership = new Membership(options, keys, ring, new MemberDirectory(keys.publicKey), invites);
    membership.#ensureOwnRecord();
    await membership.#saveMembers();
    return membership;
  }

  /** This instance's own record. */
  get own(): MemberRecord | undefined {
    return this.directory.byOrigin(this.#options.identity.origin);
  }

  /** What a certificate without an active record may call: joining, how it stands, and returning. */
  get strangers(): ReadonlyMap<string, LinkHandler> {
    const { directory, ring } = this;
    const sign = (candidate: MemberCandidate) => this.#admit(candidate);
    return new Map([
      [joinRequest, joinHandler({ invites: this.#invites, keys: this.keys, directory, ring, sign })],
      [standingRequest, standingHandler(directory)],
      [returnRequest, returnHandler({ directory, ring, sign })],
    ]);
  }

  /** Ties the membership to the links: before they start. */
  bind(peers: Peers): void {
    this.#peers = peers;
    peers.handle(admitName, async (body) => {
      const candidate = JSON.parse(Buffer.from(body).toString('utf8')) as MemberCandidate;
      return Buffer.from(JSON.stringify(await this.#admitHere(candidate)));
    });
    peers.on('up', (link) => {
      // It may be that we were evicted while we were away: then the peer takes us for a stranger, and says so.
      void askStanding(link).then((signed) => {
        if (signed?.body.origin === this.#options.identity.origin) this.directory.put(signed);
      });
    });
    this.directory.onChange(() => {
      this.#saving = this.#saving.then(() => this.#saveMembers()).catch(() => {});
    });
  }

  /** Opens an invitation. @returns the join token, shown once */
  async invite(address: string | null, ttlMs: number): Promise<string> {
    return await this.#invites.create(this.#peers?.fingerprint ?? this.#options.identity.fingerprint, address, ttlMs);
  }

  /** Origin of a member given by id or origin. @throws IpeError `not_found` */
  originOf(idOrOrigin: string): string {
    return this.#member(idOrOrigin).origin;
  }

  #member(idOrOrigin: string): MemberRecord {
    const held = this.directory
      .list()
      .map(({ body }) => body)
      .find(({ id, origin }) => id === idOrOrigin || origin === idOrOrigin);
    if (held === undefined) throw new IpeError('not_found', `no member \`${idOrOrigin}\``);
    return held;
  }

  /**
   * Signs a member out. Its links end everywhere as the record spreads, and batches are sealed with a new key.
   * @param accepted what counts of it, by namespace and source: later records are refused
   * @throws IpeError `forbidden` where the cluster key is not here; `not_found` for an unknown member
   */
  evict(idOrOrigin: string, accepted: Accepted, evictedBy: 'lease' | 'operator'): SignedMember {
    const held = this.#member(idOrOrigin);
    if (held.origin === this.#options.identity.origin) {
      throw new IpeError('invalid_params', 'an instance cannot evict itself: ask another member');
    }
    const signed = this.#sign(evictedState(held, accepted, evictedBy));
    // What is published from now on is not for it to read.
    this.ring.rotate(this.#clusterKey(), this.#options.now());
    return signed;
  }

  /**
   * Accepts more of an evicted member: what another member turned out to hold of it.
   * @throws IpeError `forbidden` where the cluster key is not here
   */
  accept(evicted: MemberRecord, lastAccepted: Accepted): SignedMember {
    return this.#sign({ ...evicted, lastAccepted, sequence: evicted.sequence + 1 });
  }

  #sign(record: MemberRecord): SignedMember {
    const signed = signMember(this.#clusterKey(), { ...record, issuedAtMs: this.#options.now() });
    this.directory.put(signed);
    return signed;
  }

  async close(): Promise<void> {
    await this.#saving;
    await this.ring.close();
  }

  /** The own record, new or with a new address: only the holder of the cluster key can write it. */
  #ensureOwnRecord(): void {
    const { identity, address, now } = this.#options;
    const held = this.directory.byOrigin(identity.origin);
    const isRight = held?.state === 'active' && held.fingerprint === identity.fingerprint && held.address === address;
    if (isRight || this.keys.key === undefined) return;
    if (held?.state === 'evicted') return;
    admit(
      this.keys.key,
      this.directory,
      {
        id: identity.id,
        origin: identity.origin,
        fingerprint: identity.fingerprint,
        signingKey: identity.signing.publicKey,
        address,
      },
      now(),
    );
  }

  async #admit(candidate: MemberCandidate): Promise<SignedMember> {
    if (this.keys.key !== undefined) return await this.#admitHere(candidate);
    const body = Buffer.from(JSON.stringify(candidate));
    for (const link of this.#peers?.links() ?? []) {
      try {
        const answer = await link.request(admitName, body, { timeoutMs: 5_000 });
        const signed = JSON.parse(Buffer.from(answer).toString('utf8')) as SignedMember;
        this.directory.put(signed);
        return signed;
      } catch {
        // Not the holder, or out of reach: another may be.
      }
    }
    throw new IpeError('unavailable', 'no member in reach holds the cluster key, which admits new members');
  }

  /** Holds back the return of members until what the others hold of them is known; set where that can be told. */
  isCutFinal: (evicted: MemberRecord) => boolean | Promise<boolean> = () => true;

  async #admitHere(candidate: MemberCandidate): Promise<SignedMember> {
    const held = this.directory.byOrigin(candidate.origin);
    if (held?.state === 'evicted' && !(await this.isCutFinal(held)))
      throw new IpeError(
        'unavailable',
        `\`${held.id}\` may return once every active member knows of its eviction; try again`,
      );
    return admit(this.#clusterKey(), this.directory, candidate, this.#options.now());
  }

  #clusterKey() {
    if (this.keys.key === undefined) {
      throw new IpeError('forbidden', 'the cluster key is not on this instance; ask the member that holds it');
    }
    return this.keys.key;
  }

  async #saveMembers(): Promise<void> {
    await writePrivate(join(this.#options.keysFolder, membersFile), `${JSON.stringify(this.directory.list())}\n`);
  }
}

/**
 * Asks to be taken back: as it is where only the lease had run out, else with the join token. One that was given when
 * this instance first joined is still in its command, and used.
 */
async function readmit(options: MembershipOptions, directory: MemberDirectory, closed: Accepted): Promise<Readmitted> {
  const { identity, address: listenAddress, join: token } = options;
  const unasked = () => patiently(() => requestReturn({ directory, identity, listenAddress, closed }));
  if (token === undefined) return await unasked();
  if (directory.byOrigin(identity.origin)?.evictedBy === 'lease') {
    try {
      return await unasked();
    } catch {
      // Sent away by an operator since, or the members have other addresses: what the token is for.
    }
  }
  return await patiently(() => joinCluster({ ...token, identity, listenAddress, closed }));
}

async function patiently(request: () => Promise<Readmitted>): Promise<Readmitted> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await request();
    } catch (error) {
      // The members may be restarting too, or still hear each other out.
      if (attempt === returnAttemptsMax || !isIpeError(error) || error.reason !== 'unavailable') throw error;
      await setTimeout(returnDelayMs);
    }
  }
}

/** The records kept under `keys/`. */
export async function readMembers(keysFolder: string): Promise<SignedMember[]> {
  const text = await readIfPresent(join(keysFolder, membersFile));
  return text === undefined ? [] : (JSON.parse(text) as SignedMember[]);
}
