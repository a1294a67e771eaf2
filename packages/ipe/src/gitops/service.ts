import { IpeError } from '@ipe/core';
import type { Route } from '../api/method.ts';
import { checkDirectory, parseLocation, type RemoteAccess, type SignatureRequirement } from './git/index.ts';
import { isAtOrBelow, type MirrorRecord, type MirrorRegistry } from './mirrors.ts';
import { mirrorId, type SyncEngine, type SyncOutcome, type SyncRequest } from './sync.ts';
import { isAuthentic, readPush, type WebhookRequest } from './webhook.ts';

/** One repository of `[control_plane.git_sync]`. */
export interface ConfiguredRepository {
  readonly repository: string;
  readonly branch?: string;
  readonly directory?: string;
  readonly prefix: string;
  /** Time between two looks at the repository, varied by a tenth so that instances do not ask together. */
  readonly intervalMs: number;
  readonly access?: RemoteAccess;
  readonly signature?: SignatureRequirement;
  /** The shared secret of its webhooks, read at each use; absent: webhooks of it are refused. */
  readonly webhookSecret?: () => Promise<string>;
}

export interface GitOpsServiceOptions {
  readonly engine: SyncEngine;
  readonly registry: MirrorRegistry;
  readonly repositories: readonly ConfiguredRepository[];
  /** Relative repositories start here. */
  readonly baseDir: string;
  /** Calls back once after a delay; the result cancels it. */
  readonly timer: (callback: () => void, delayMs: number) => () => void;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Told what happened; never throws. */
  readonly onEvent?: (event: GitOpsEvent) => void;
}

export type GitOpsEvent =
  | { readonly kind: 'synced'; readonly repository: string; readonly outcome: SyncOutcome }
  | { readonly kind: 'failed'; readonly repository: string; readonly error: unknown; readonly retryMs: number }
  | { readonly kind: 'drift'; readonly repository: string; readonly paths: readonly string[] }
  | { readonly kind: 'pinned'; readonly repository: string; readonly seenCommit: string };

/** Keeps the configured repositories mirrored: at start, on a timer, and when a webhook says so. */
export interface GitOpsService {
  /** Registers the repositories and begins. The first syncs run at once, one after the other. */
  start(): Promise<void>;
  /** Ends timers and gives up syncs under way; resolves when they have ended. */
  stop(): Promise<void>;
  /** Access and signature requirement of a configured mirror, for syncs that are asked for by hand. */
  configured(mirror: string): Partial<SyncRequest> | undefined;
  /** `POST /webhooks/git`: no token, authenticated by the shared secret of a repository. */
  readonly routes: readonly Route[];
  /** Configured repositories of which nothing was ever taken: the node's policies are not complete yet. */
  missing(): readonly string[];
  /** Resolves once no look is under way or due at once; for tests and draining. */
  settled(): Promise<void>;
}

/** Longest pause between two tries of a failing repository. */
const backOffMaxMs = 3_600_000;

interface Watched {
  readonly id: string;
  readonly config: ConfiguredRepository;
  cancel: (() => void) | undefined;
  failures: number;
  running: Promise<void> | undefined;
  /** A webhook came while a look was under way: look again. */
  again: boolean;
  reportedDrift: string;
}

/**
 * Makes the service of the configured mirrors.
 * @throws IpeError `invalid_params` for two repositories whose prefixes overlap.
 */
export function createGitOpsService(options: GitOpsServiceOptions): GitOpsService {
  const { engine, registry, random, timer } = options;
  const watched = options.repositories.map((config): Watched => {
    const location = parseLocation(config.repository, options.baseDir);
    const id = mirrorId(location.shown, checkDirectory(config.directory ?? ''), config.prefix);
    return { id, config, cancel: undefined, failures: 0, running: undefined, again: false, reportedDrift: '' };
  });
  refuseOverlap(watched);
  const stopping = new AbortController();
  const tell = (event: GitOpsEvent): void => options.onEvent?.(event);

  const requestOf = ({ config }: Watched): SyncRequest => ({
    repository: config.repository,
    prefix: config.prefix,
    by: 'git-sync',
    configured: true,
    signal: stopping.signal,
    ...(config.branch !== undefined && { branch: config.branch }),
    ...(config.directory !== undefined && { directory: config.directory }),
    ...(config.access !== undefined && { access: config.access }),
    ...(config.signature !== undefined && { signature: config.signature }),
  });

  const look = async (one: Watched): Promise<void> => {
    const request = requestOf(one);
    const before = registry.get(one.id);
    const seen = await engine.look(request);
    if (before?.pin) {
      if (seen !== before.seenCommit) tell({ kind: 'pinned', repository: request.repository, seenCommit: seen });
      return;
    }
    if (before !== undefined && !worthwhile(before, seen)) {
      await reportDrift(one, before);
      return;
    }
    const outcome = await engine.sync(request);
    one.reportedDrift = '';
    tell({ kind: 'synced', repository: request.repository, outcome });
  };

  const reportDrift = async (one: Watched, mirror: MirrorRecord): Promise<void> => {
    const paths = await engine.drift(mirror);
    const key = paths.join('\n');
    if (paths.length > 0 && key !== one.reportedDrift) tell({ kind: 'drift', repository: mirror.repository, paths });
    one.reportedDrift = key;
  };

  const schedule = (one: Watched, delayMs: number): void => {
    one.cancel?.();
    if (stopping.signal.aborted) return;
    one.cancel = timer(() => {
      one.cancel = undefined;
      begin(one);
    }, delayMs);
  };

  const begin = (one: Watched): void => {
    if (stopping.signal.aborted) return;
    if (one.running !== undefined) {
      one.again = true;
      return;
    }
    one.cancel?.();
    one.cancel = undefined;
    one.running = look(one)
      .then(
        () => {
          one.failures = 0;
          return one.config.intervalMs;
        },
        (error: unknown) => {
          if (stopping.signal.aborted) return 0;
          one.failures++;
          const retryMs = Math.max(
            one.config.intervalMs,
            Math.min(backOffMaxMs, one.config.intervalMs * 2 ** Math.min(20, one.failures - 1)),
          );
          tell({ kind: 'failed', repository: one.config.repository, error, retryMs });
          return retryMs;
        },
      )
      .then((delayMs) => {
        one.running = undefined;
        const again = one.again;
        one.again = false;
        if (again) begin(one);
        else schedule(one, delayMs * (0.9 + 0.2 * random()));
      });
  };

  const webhook = async (request: WebhookRequest): Promise<readonly string[]> => {
    const known: Watched[] = [];
    for (const one of watched) {
      const secret = await one.config.webhookSecret?.();
      if (secret !== undefined && isAuthentic(request, secret)) known.push(one);
    }
    if (known.length === 0)
      throw new IpeError('unauthenticated', 'the webhook is not signed with the secret of any configured repository');
    const push = readPush(request);
    if (!push.news) return [];
    const meant = known.filter(
      ({ config }) => config.branch === undefined || push.branch === undefined || config.branch === push.branch,
    );
    for (const one of meant) begin(one);
    return meant.map(({ id }) => id);
  };

  return {
    async start() {
      const ids = new Set(watched.map(({ id }) => id));
      // What left the configuration stays mirrored, and from now on gives way to others.
      const left = registry.list().filter((mirror) => mirror.configured && !ids.has(mirror.id));
      if (left.length > 0) await registry.save({ mirrors: left.map((mirror) => ({ ...mirror, configured: false })) });
      await engine.tidy();
      for (const one of watched) begin(one);
    },
    async stop() {
      stopping.abort();
      for (const one of watched) one.cancel?.();
      await Promise.all(watched.map(({ running }) => running));
    },
    configured(mirror) {
      const one = watched.find(({ id }) => id === mirror);
      if (one === undefined) return undefined;
      const { signal: _, by: __, ...rest } = requestOf(one);
      return rest;
    },
    routes: [
      {
        method: 'POST',
        path: '/webhooks/git',
        async handle(request) {
          return { status: 202, body: { mirrors: await webhook(request) } };
        },
      },
    ],
    missing: () =>
      watched
        .filter(({ id }) => (registry.get(id)?.commit ?? null) === null)
        .map(({ config }) => `first sync of ${parseLocation(config.repository, options.baseDir).shown}`),
    async settled() {
      for (
        let busy = watched.filter(({ running }) => running);
        busy.length > 0;
        busy = watched.filter(({ running }) => running)
      )
        await Promise.all(busy.map(({ running }) => running));
    },
  };
}

/**
 * Whether a sync can do anything: there is a commit that was not taken, or the last try failed for a reason that may
 * have passed. A commit that does not compile, or is not signed, stays so.
 */
function worthwhile(mirror: MirrorRecord, seen: string): boolean {
  if (mirror.error === null) return mirror.commit !== seen || !mirror.configured;
  const lasting = mirror.error.reason === 'policy_invalid' || mirror.error.reason === 'forbidden';
  return !(lasting && mirror.error.commit === seen);
}

function refuseOverlap(watched: readonly Watched[]): void {
  for (const [index, one] of watched.entries())
    for (const other of watched.slice(0, index)) {
      const [a, b] = [one.config.prefix, other.config.prefix];
      // Without a prefix what is owned depends on the repository; that is checked at each sync.
      const overlap = one.id === other.id || (a !== '' && b !== '' && (isAtOrBelow(a, b) || isAtOrBelow(b, a)));
      if (overlap)
        throw new IpeError(
          'invalid_params',
          `\`${one.config.repository}\` and \`${other.config.repository}\` would both own \`${a === '' ? 'the whole tree' : a}\`; give each a \`prefix\` of its own`,
          { details: { field: 'control_plane.git_sync' } },
        );
    }
}
