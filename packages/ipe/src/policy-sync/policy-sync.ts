import { IpeError, isIpeError, nearest } from '@ipe/core';
import type { PolicyStore } from '@ipe/core/tree';
import type { Identity, SigningKey } from '../cluster/identity.ts';
import type { PeerLink } from '../cluster/link.ts';
import type { MemberDirectory, MemberRecord } from '../cluster/members.ts';
import type { Peers } from '../cluster/peers.ts';
import type { MemoryFile, SyncMemory } from './memory.ts';
import { askPlan, haveOf, pullObjects } from './pull.ts';
import {
  checkRoot,
  type HeadMessage,
  isTerm,
  type RootRecord,
  signRoot,
  signTerm,
  type TermRecord,
} from './records.ts';
import { servePolicies } from './serve.ts';
import { decodeJson, encodeJson, names } from './wire.ts';

/**
 * `origin` takes policy writes and `follower` pulls them. `unsettled` is meant to be origin and named by no term: it decides with
 * the policies it has, and neither takes writes nor follows until somebody says which.
 */
export type SyncRole = 'origin' | 'follower' | 'unsettled';

export interface PolicySyncOptions {
  readonly store: PolicyStore;
  readonly peers: Peers;
  readonly directory: MemberDirectory;
  readonly identity: Pick<Identity, 'id' | 'origin' | 'signing'>;
  /** Present where terms can be signed. */
  readonly clusterKey?: SigningKey;
  /** `[control_plane] role`; absent: whoever founded the cluster is its origin, and who joined follows. */
  readonly configuredRole?: 'origin' | 'follower' | undefined;
  readonly memory: MemoryFile;
  /** Throws where a policy that differs between `from` and `to` is not what its source compiles to. */
  readonly checkPolicies: (from: string, to: string) => Promise<void>;
  /** Unix milliseconds. */
  readonly now: () => number;
  /** Calls back until stopped. */
  readonly every: (callback: () => void, intervalMs: number) => () => void;
  readonly onRole?: (role: SyncRole) => void;
  readonly onSynced?: (result: SyncedFrom) => void;
  readonly onError?: (error: unknown) => void;
}

/** What one sync did. */
export interface SyncedFrom {
  /** Id of the member that was asked. */
  readonly from: string;
  readonly root: string;
  readonly commit: string | null;
  /** Fetched over the link, and bytes received for them. */
  readonly objects: number;
  readonly bytes: number;
}

const intervalMs = 5_000;
const headTimeoutMs = 10_000;

/**
 * One instance's part in keeping policies equal: as origin it signs what `main` is and serves it; as follower it fetches,
 * verifies and takes over. Which it is, the newest term record says.
 */
export class PolicySync {
  readonly #options: PolicySyncOptions;
  #memory: SyncMemory;
  #role: SyncRole;
  readonly #closing = new AbortController();
  readonly #stops: (() => void)[] = [];
  /** Syncs, one after the other; and writes of the memory likewise. */
  #turn: Promise<unknown> = Promise.resolve();
  #saving: Promise<unknown> = Promise.resolve();
  #queued = false;
  #offered: RootRecord | undefined;
  #confirmedMs: number | undefined;
  #lastError: string | null = null;
  /** Objects of the plan that are here, while a transfer runs. */
  #receiving: { readonly done: number; readonly all: number } | null = null;
  #last: SyncedFrom | undefined;

  private constructor(options: PolicySyncOptions, memory: SyncMemory) {
    this.#options = options;
    this.#memory = memory;
    this.#role = roleOf(memory, options);
  }

  /** Takes up the role, registers what peers may ask, and begins to follow. @throws IpeError `corrupt` */
  static async start(options: PolicySyncOptions): Promise<PolicySync> {
    const sync = new PolicySync(options, await options.memory.load());
    const { peers, store, directory, identity } = options;
    sync.#stops.push(servePolicies(peers, store, () => sync.#headNow()));
    peers.handle(names.moved, async (body) => {
      await sync.#heard(decodeJson(body) as HeadMessage);
      return undefined;
    });
    const onUp = (link: PeerLink) => sync.#greet(link);
    peers.on('up', onUp);
    sync.#stops.push(() => peers.off('up', onUp));
    sync.#stops.push(
      store.watch(({ ref }) => {
        if (ref === 'main') void sync.#tellAll();
      }),
    );
    const isAlone = directory.list().every(({ body }) => body.origin === identity.origin || body.state === 'evicted');
    if (sync.#memory.term === null && options.configuredRole !== 'follower' && options.clusterKey && isAlone) {
      await sync.promote(identity.origin);
    }
    for (const link of peers.links()) sync.#greet(link);
    sync.#stops.push(options.every(() => sync.#kick(), intervalMs));
    sync.#kick();
    return sync;
  }

  get role(): SyncRole {
    return this.#role;
  }

  /** Whether a root of an origin was ever verified or signed here. */
  get hasVerified(): boolean {
    return this.#memory.head !== null;
  }

  /** The member that the term names, where there is one and it is known. */
  get origin(): MemberRecord | undefined {
    const term = this.#memory.term?.body;
    return term && this.#options.directory.byOrigin(term.origin);
  }

  /** Why this instance is `unsettled`, and what settles it. */
  get problem(): string | undefined {
    if (this.#role !== 'unsettled') return undefined;
    const term = this.#memory.term?.body;
    const promote = `promote this instance with \`ipe member promote ${this.#options.identity.id}\` where the cluster key is`;
    if (term === undefined) return `no term names an origin of policies yet; ${promote}`;
    const origin = this.origin?.id ?? term.origin;
    return `this instance is configured as origin of policies, and term ${term.term} names \`${origin}\`; ${promote}, or set \`role = "follower"\` in [control_plane] to take over the policies of \`${origin}\``;
  }

  /** Link to the origin. @throws IpeError `unavailable` naming the origin, where it is out of reach */
  originLink(): PeerLink {
    const member = this.origin;
    const link = member && this.#options.peers.link(member.fingerprint);
    if (link !== undefined) return link;
    const who = member === undefined ? 'which is not known yet' : `\`${member.id}\`, which is out of reach`;
    throw new IpeError('unavailable', `policies are taken by the origin, ${who}; decisions go on with what is here`, {
      details: { origin: member?.id ?? null, address: member?.address ?? null },
    });
  }

  /**
   * Names the member that takes policy writes from now on, in a new term signed with the cluster key.
   * @throws IpeError `forbidden` where the cluster key is not here; `not_found` for no active member
   */
  async promote(idOrOrigin: string): Promise<TermRecord & { readonly id: string }> {
    const { clusterKey, directory, now } = this.#options;
    if (clusterKey === undefined) {
      throw new IpeError(
        'forbidden',
        'the cluster key is not on this instance: promote where it is (the founder, unless it was moved); where that is gone, bring its `keys/cluster.key` from a backup into `keys/` here and start again',
      );
    }
    const member = memberOf(directory, idOrOrigin);
    const term = (this.#memory.term?.body.term ?? 0) + 1;
    const record: TermRecord = { v: 1, term, origin: member.origin, issuedAtMs: now() };
    await this.#learn(signTerm(clusterKey, record));
    return { ...record, id: member.id };
  }

  /**
   * Syncs now, after any sync under way.
   * @param peer id of the member to fetch from; default the origin
   * @throws IpeError `unavailable` on the origin itself, or where the member is out of reach; what the verification throws
   */
  syncNow(peer?: string): Promise<SyncedFrom> {
    const run = this.#turn.then(() => this.#sync(peer));
    this.#turn = run.catch(() => {});
    return run;
  }

  /** For `status`. */
  describe(): Readonly<Record<string, unknown>> {
    const { store, now } = this.#options;
    const { term, head } = this.#memory;
    const body = head?.body;
    const behind = this.#offered !== undefined && body !== undefined ? this.#offered.sequence - body.sequence : 0;
    return {
      role: this.#role,
      problem: this.problem ?? null,
      term: term?.body.term ?? null,
      origin: this.origin?.id ?? term?.body.origin ?? null,
      verified: body
        ? {
            term: body.term,
            sequence: body.sequence,
            commit: body.rootCommit,
            root: body.root,
            time: new Date(body.timeMs).toISOString(),
          }
        : null,
      ...(this.#role === 'follower' && {
        in_sync: body !== undefined && body.root === store.current().root && behind <= 0,
        behind: Math.max(0, behind),
        confirmed_seconds_ago: this.#confirmedMs === undefined ? null : (now() - this.#confirmedMs) / 1000,
        origin_linked: this.#isLinked(),
        receiving: this.#receiving,
        last:
          this.#last === undefined
            ? null
            : { from: this.#last.from, objects: this.#last.objects, bytes: this.#last.bytes },
        error: this.#lastError,
      }),
    };
  }

  #isLinked(): boolean {
    const member = this.origin;
    return member !== undefined && this.#options.peers.link(member.fingerprint) !== undefined;
  }

  async close(): Promise<void> {
    this.#closing.abort(new IpeError('unavailable', 'the node is stopping'));
    for (const stop of this.#stops.splice(0)) stop();
    await this.#turn;
    await this.#saving;
  }

  /** What this instance vouches for: as origin its `main` as it is now, else what it verified. */
  async #headNow(): Promise<HeadMessage> {
    if (this.#role !== 'origin') return { term: this.#memory.term, head: this.#memory.head };
    await this.#update((memory) => {
      const { commit, root } = this.#options.store.current();
      const term = memory.term!.body;
      const last = memory.head?.body.term === term.term ? memory.head.body : undefined;
      if (commit === null || term.origin !== this.#options.identity.origin || last?.rootCommit === commit)
        return memory;
      const record: RootRecord = {
        v: 1,
        term: term.term,
        sequence: (last?.sequence ?? 0) + 1,
        rootCommit: commit,
        root,
        previous: last?.rootCommit ?? null,
        timeMs: this.#options.now(),
        origin: term.origin,
      };
      return { ...memory, head: signRoot(this.#options.identity.signing, record) };
    });
    const { term, head } = this.#memory;
    return { term, head: head?.body.term === term?.body.term ? head : null };
  }

  /** Changes the memory; what is told afterwards is on disk first. */
  #update(change: (memory: SyncMemory) => SyncMemory): Promise<void> {
    const run = this.#saving.then(async () => {
      const next = change(this.#memory);
      if (next === this.#memory) return;
      await this.#options.memory.save(next);
      this.#memory = next;
    });
    this.#saving = run.catch(() => {});
    return run;
  }

  /** Takes a newer term in and passes it on. @returns whether it was newer */
  async #learn(signed: unknown): Promise<boolean> {
    const { directory, identity } = this.#options;
    if (!isTerm(directory.clusterPublicKey, signed)) return false;
    let isNewer = false;
    await this.#update((memory) => {
      isNewer = signed.body.term > (memory.term?.body.term ?? 0);
      if (!isNewer) return memory;
      return { ...memory, term: signed, wasOrigin: memory.wasOrigin || signed.body.origin === identity.origin };
    });
    if (!isNewer) return false;
    this.#offered = undefined;
    this.#role = roleOf(this.#memory, this.#options);
    this.#options.onRole?.(this.#role);
    await this.#tellAll();
    return true;
  }

  async #heard(message: HeadMessage | null): Promise<void> {
    if (message?.term) await this.#learn(message.term);
    this.#kick();
  }

  #greet(link: PeerLink): void {
    this.#headNow().then(
      (message) => {
        if (message.term !== null) link.send(names.moved, encodeJson(message));
        this.#kick();
      },
      (error) => this.#options.onError?.(error),
    );
  }

  async #tellAll(): Promise<void> {
    if (this.#memory.term === null) return;
    try {
      const body = encodeJson(await this.#headNow());
      for (const link of this.#options.peers.links()) link.send(names.moved, body);
    } catch (error) {
      this.#options.onError?.(error);
    }
  }

  /** Syncs soon; many reasons at once make one sync. */
  #kick(): void {
    if (this.#role !== 'follower' || this.#queued || this.#closing.signal.aborted) return;
    this.#queued = true;
    void this.#turn.then(() => {
      this.#queued = false;
    });
    this.syncNow().catch((error) => {
      if (!isIpeError(error) || error.reason !== 'unavailable') this.#options.onError?.(error);
    });
  }

  async #sync(peer: string | undefined): Promise<SyncedFrom> {
    if (this.#role !== 'follower') {
      throw new IpeError('unavailable', this.problem ?? 'this instance is the origin: it takes policies from nobody');
    }
    try {
      const result = await this.#syncFrom(peer);
      this.#lastError = null;
      this.#confirmedMs = this.#options.now();
      this.#offered = undefined;
      return result;
    } catch (error) {
      this.#lastError = isIpeError(error) ? error.message : 'internal error';
      throw error;
    }
  }

  async #syncFrom(peer: string | undefined): Promise<SyncedFrom> {
    const { store } = this.#options;
    if (this.#memory.term === null) await this.#askTerm();
    const { link, member } = this.#source(peer);
    const answer = await this.#askHead(link);
    const { signal } = this.#closing;
    const message = decodeJson(answer) as HeadMessage | null;
    const from = member.id;
    const offered = await this.#verify(message);
    const { root, commit } = store.current();
    if (offered === undefined) return { from, root, commit, objects: 0, bytes: answer.length };
    this.#offered = offered;
    if (offered.root === root && (await store.has(offered.rootCommit))) {
      await this.#update((memory) => ({ ...memory, head: message!.head }));
      return { from, root, commit, objects: 0, bytes: answer.length };
    }
    const have = await haveOf(store, this.#memory.head?.body.rootCommit);
    const plan = await askPlan(link, have, signal);
    try {
      const record = await this.#verify(plan);
      if (record === undefined) throw new IpeError('corrupt', 'the peer planned a copy of nothing');
      const progress = (done: number, all: number) => {
        this.#receiving = { done, all };
      };
      const pulled = await pullObjects(link, store, String(plan.plan), { signal, progress });
      const shallow = Array.isArray(plan.shallow) ? plan.shallow : [];
      await this.#adopt(record, shallow);
      await this.#update((memory) => ({ ...memory, head: plan.head }));
      const now = store.current();
      const result = {
        from,
        root: now.root,
        commit: now.commit,
        objects: pulled.objects,
        bytes: pulled.bytes + answer.length,
      };
      this.#last = result;
      this.#options.onSynced?.(result);
      return result;
    } finally {
      this.#receiving = null;
      link.send(names.done, encodeJson({ plan: plan.plan }));
    }
  }

  #askHead(link: PeerLink): Promise<Uint8Array> {
    return link.request(names.head, new Uint8Array(0), { signal: this.#closing.signal, timeoutMs: headTimeoutMs });
  }

  /** A member that was never told who the origin is asks whom it is linked to. */
  async #askTerm(): Promise<void> {
    for (const link of this.#options.peers.links()) {
      try {
        const message = decodeJson(await this.#askHead(link)) as HeadMessage | null;
        if (message?.term) await this.#learn(message.term);
      } catch {
        // Another may know; if none does, the origin stays unknown and the caller is told so.
      }
    }
  }

  #source(peer: string | undefined): { link: PeerLink; member: Pick<MemberRecord, 'id'> } {
    if (peer === undefined) return { link: this.originLink(), member: this.origin! };
    const member = memberOf(this.#options.directory, peer);
    const link = this.#options.peers.link(member.fingerprint);
    if (link === undefined) throw new IpeError('unavailable', `\`${member.id}\` is out of reach`);
    return { link, member };
  }

  /** @returns the record once it holds; undefined where the other side has none yet */
  async #verify(message: HeadMessage | null): Promise<RootRecord | undefined> {
    if (message?.term) await this.#learn(message.term);
    if (this.#role !== 'follower') throw new IpeError('unavailable', 'this instance was promoted meanwhile');
    const term = this.#memory.term?.body;
    if (!message?.head || term === undefined) return undefined;
    const member = this.#options.directory.byOrigin(term.origin);
    const signingKey = member?.state === 'active' ? member.signingKey : undefined;
    return checkRoot(message.head, { term, signingKey, last: this.#memory.head?.body });
  }

  /** Sees that all is there and is what it says, then moves `main` in one step. Until then nothing of it is served. */
  async #adopt(record: RootRecord, shallow: readonly string[]): Promise<void> {
    const { store, now } = this.#options;
    const { rootCommit } = record;
    const before = store.current();
    const ingested = await store.ingest({ objects: none(), heads: [rootCommit], shallow });
    try {
      const { root } = await store.at(rootCommit);
      if (root !== record.root) throw new IpeError('corrupt', `commit \`${rootCommit}\` does not hold the signed root`);
      await this.#options.checkPolicies('main', rootCommit);
      if (this.#role !== 'follower') throw new IpeError('unavailable', 'this instance was promoted meanwhile');
      const author = { name: this.origin?.id ?? record.origin, email: `${record.origin}@ipe` };
      const move = { from: rootCommit, to: 'main', expectedRoot: before.root, author, timeMs: now() };
      try {
        await store.promote(move);
      } catch (error) {
        if (!isIpeError(error) || error.reason !== 'conflict' || store.current().root !== before.root) throw error;
        // Own history that the origin does not have, or has trimmed: both are kept as parents, and its content stands.
        await store.promote({ ...move, force: true, message: `Follow ${record.term}.${record.sequence}` });
      }
    } finally {
      ingested.release();
    }
  }
}

function roleOf(memory: SyncMemory, { identity, configuredRole, clusterKey }: PolicySyncOptions): SyncRole {
  if (memory.term?.body.origin === identity.origin) return 'origin';
  // Who was origin and is no more follows, whatever its configuration still says.
  if (configuredRole === 'follower' || memory.wasOrigin) return 'follower';
  if (configuredRole === 'origin') return 'unsettled';
  return memory.term !== null || clusterKey === undefined ? 'follower' : 'unsettled';
}

function memberOf(directory: MemberDirectory, idOrOrigin: string): MemberRecord {
  for (const { body } of directory.list()) {
    if (body.state === 'active' && (body.id === idOrOrigin || body.origin === idOrOrigin)) return body;
  }
  const active = directory.list().flatMap(({ body }) => (body.state === 'active' ? [body.id] : []));
  const near = nearest(idOrOrigin, active);
  const hint = near === undefined ? `there are ${active.slice(0, 10).join(', ')}` : `did you mean \`${near}\`?`;
  throw new IpeError('not_found', `no active member \`${idOrOrigin}\`; ${hint}`, {
    details: near === undefined ? { member: idOrOrigin } : { member: idOrOrigin, nearest: near },
  });
}

async function* none(): AsyncGenerator<never> {}
