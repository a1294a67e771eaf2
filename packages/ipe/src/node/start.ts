import { hostname } from 'node:os';
import { performance } from 'node:perf_hooks';
import type { Plane } from '@ipe/client/protocol';
import { isIpeError } from '@ipe/core';
import type { Handlers, PlaneService } from '../api/method.ts';
import { type Identity, loadIdentity, removeDrafts } from '../cluster/identity.ts';
import type { Config } from '../config/index.ts';
import { type AuditEvent, openAuditLog } from '../security/audit.ts';
import { auditCalls } from '../security/audit-calls.ts';
import { TokenRegistry } from '../security/authenticator.ts';
import { ensureCredentials } from '../security/credentials.ts';
import { TokenManager } from '../security/manager.ts';
import { tokenHandlers } from '../security/methods.ts';
import { fileTokenStore, type TokenStore } from '../security/store.ts';
import { createLogger, type Logger } from '../telemetry/logger.ts';
import { Metrics } from '../telemetry/metrics.ts';
import { Closers } from './closers.ts';
import { type Layout, layoutOf, lockDirectory, makeFolders } from './directory.ts';
import { openDoors } from './doors.ts';
import { lackingPrerequisites } from './prerequisites.ts';
import { reloadEach } from './reload.ts';
import { limitsOf, listeningOf, writeRulesOf } from './settings.ts';

export interface NodeOptions {
  /** State directory, made where it is absent. */
  readonly directory: string;
  readonly config: Config;
  /** Version of the program. */
  readonly version: string;
  /** Default: standard error, as `[observability]` says. */
  readonly log?: Logger;
  /** Joins a cluster, where this node belongs to none yet. */
  readonly join?: { readonly token: string; readonly address?: string };
  /** Reads the configuration again, for `reload`. */
  readonly readConfig?: () => Promise<Config>;
  /** Opens what answers behind the doors. Default: the stores and services of this package. */
  readonly openParts?: OpenParts;
}

/** What the parts of a node are made from. */
export interface PartsContext {
  readonly config: Config;
  readonly layout: Layout;
  readonly identity: Identity;
  readonly version: string;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly join?: { readonly token: string; readonly address?: string };
  /** Methods of the control plane that are made here: tokens. */
  readonly controlExtra: Handlers;
  /** What this node adds to `status` beside what the parts tell of themselves. */
  describe(): Readonly<Record<string, unknown>>;
  /** Adds a record to the audit log. */
  audit(event: AuditEvent): void;
  /** Asks whoever runs the node to close it and start it again: something has changed that only a start can take in. */
  restart(why: string): void;
  /** Registers how a part is closed; parts are closed in the opposite order. */
  onClose(what: string, close: () => unknown): void;
  /** Registers what a part reads again on `reload`; it throws what is wrong and goes on with what it had. */
  onReload(reload: () => Promise<void>): void;
}

/** What answers behind the doors. */
export interface Parts {
  readonly services: Readonly<Record<Plane, PlaneService>>;
  /** Where tokens are kept; absent: in a file. */
  readonly tokens?: TokenStore;
}

export type OpenParts = (context: PartsContext) => Promise<Parts>;

/** A node that is up. */
export interface RunningNode {
  readonly directory: string;
  readonly id: string;
  /** Addresses of each plane, its unix socket first. */
  readonly addresses: Readonly<Record<Plane, readonly string[]>>;
  readonly metricsAddress: string | undefined;
  /** `credentials.json`, and whether this start wrote it. */
  readonly credentials: { readonly path: string; readonly isNew: boolean };
  /** What the node has to do without, such as git, and how to install it. */
  readonly lacking: readonly { readonly name: string; readonly needed: string; readonly install: string }[];
  /** Takes in certificates, token files and log level again. Throws what is wrong; what was in use stays in use. */
  reload(): Promise<void>;
  /** Resolves, with why, when the node needs to be closed and started again. */
  readonly restartWanted: Promise<string>;
  /** Stops accepting, answers what was begun, closes the stores. Idempotent. */
  close(): Promise<void>;
}

/**
 * Starts a whole node: takes the directory, opens stores and services, and listens.
 * @throws IpeError for everything that stands in the way (directory or socket taken, library missing, damaged store,
 *   bad certificate); nothing is left open then.
 */
export async function startNode(options: NodeOptions): Promise<RunningNode> {
  const { config, version } = options;
  const { log_level: level, log_format: format } = config.observability;
  const log = options.log ?? createLogger({ level, format });
  const closers = new Closers();
  const closeAll = () => closers.closeAll((what, error) => log.error({ err: error }, `closing the ${what} failed`));
  try {
    return await open(options, log, closers, closeAll);
  } catch (error) {
    await closeAll();
    throw error;
  } finally {
    log.debug({ version }, 'start finished');
  }
}

async function open(
  options: NodeOptions,
  log: Logger,
  closers: Closers,
  closeAll: () => Promise<void>,
): Promise<RunningNode> {
  const { config, version } = options;
  const started = performance.now();
  const nowSeconds = () => Date.now() / 1000;
  const dataPlane = config.predicate_service.data_plane;
  const layout = layoutOf(options.directory, {
    policies: config.control_plane.policies_path,
    data: dataPlane.data_path,
  });
  const prerequisites = lackingPrerequisites();
  await makeFolders(layout);
  closers.add('directory lock', await lockDirectory(layout));
  for (const folder of [layout.root, layout.keys]) await removeDrafts(folder);
  const identity = await loadIdentity(layout.keys, {
    nowMs: Date.now(),
    ...(config.predicate_service.id === undefined ? {} : { id: config.predicate_service.id }),
  });

  const audit = await openAuditLog({
    directory: layout.audit,
    maxBytes: config.observability.audit_max_bytes,
    keep: config.observability.audit_keep,
    now: () => Date.now(),
    onError: (error) => log.error({ err: error }, 'the audit log cannot be written'),
  });
  closers.add('audit log', () => audit.close());
  audit.append({ event: 'start', instance: identity.id, version });

  const metrics = new Metrics();
  let restart: (why: string) => void = () => {};
  const restartWanted = new Promise<string>((resolve) => {
    restart = resolve;
  });
  let doors: Awaited<ReturnType<typeof openDoors>> | undefined;
  let manager: TokenManager | undefined;
  const reloads: (() => Promise<void>)[] = [];
  const parts = await (options.openParts ?? (await import('./parts.ts')).openParts)({
    config,
    layout,
    identity,
    version,
    log,
    metrics,
    ...(options.join !== undefined && { join: options.join }),
    controlExtra: tokenHandlers(() => manager!, nowSeconds),
    describe: () => ({
      node_name: config.predicate_service.node_name ?? hostname(),
      process: process.pid,
      memory_bytes: process.memoryUsage().rss,
      planes: doors?.addresses,
      requests_under_way: doors?.underWay(),
    }),
    audit: (event) => audit.append(event),
    restart: (why) => restart(why),
    onClose: (what, close) => closers.add(what, close),
    onReload: (reload) => reloads.push(reload),
  });

  const store = parts.tokens ?? fileTokenStore(layout.tokens);
  const registry = new TokenRegistry({ nowSeconds, rules: writeRulesOf(config) });
  const isNew = await ensureCredentials(layout.credentials, store, nowSeconds(), identity.isNew);
  const folder = config.data_plane.auth.tokens_path;
  manager = await TokenManager.open({ store, registry, nowSeconds, ...(folder === undefined ? {} : { folder }) });
  const tokens = manager;
  closers.add('tokens', () => tokens.close());

  const recordCall = auditCalls(audit, config.observability.audit_sample, Math.random);
  doors = await openDoors({
    services: parts.services,
    listening: listeningOf(config, layout.root, layout.sockets),
    limits: limitsOf(config),
    authenticator: registry,
    reportInternal: (id, error) => log.error({ id, err: error }, 'internal error'),
    onCall: (report) => {
      metrics.count(report);
      recordCall(report);
    },
    now: () => performance.now(),
    metrics: () => metrics.scrape(),
    ...(config.observability.metrics_listen === undefined
      ? {}
      : { metricsListen: config.observability.metrics_listen }),
  });
  metrics.add({
    name: 'ipe_requests_under_way',
    help: 'Requests and sessions that are not finished.',
    read: () => doors?.underWay() ?? 0,
  });

  const lacking = await prerequisites;
  for (const { name, needed, install } of lacking)
    log.warn(`${name} is missing: ${needed}; install it with ${install}`);
  log.info(
    { instance: identity.id, version, ms: Math.round(performance.now() - started), planes: doors.addresses },
    'ready',
  );

  const opened = doors;
  let closing: Promise<void> | undefined;
  const close = async () => {
    log.info('stopping');
    const cut = await opened.close();
    if (cut > 0) log.warn({ requests: cut }, 'requests were cut off: they did not finish in time');
    audit.append({ event: 'stop', instance: identity.id });
    await closeAll();
    log.info('stopped');
  };
  return {
    directory: layout.root,
    id: identity.id,
    addresses: opened.addresses,
    metricsAddress: opened.metricsAddress,
    credentials: { path: layout.credentials, isNew },
    lacking,
    restartWanted,
    reload: async () => {
      const readConfig = async () => {
        const fresh = await options.readConfig?.();
        if (fresh !== undefined) log.level = fresh.observability.log_level;
      };
      await reloadEach([readConfig, () => tokens.reload(), () => opened.reload(), ...reloads]);
      log.info('certificates, tokens and log level were read again');
    },
    close: () => {
      closing ??= close();
      return closing;
    },
  };
}

/** How a node that ran until a signal ended: with an exit code, or to be started again. */
export type Ended = { readonly code: number } | { readonly restart: string };

/**
 * Ties a node to the process's signals: SIGTERM and SIGINT stop it (a second one ends the process at once), SIGHUP
 * reloads it.
 * @returns resolves once the node has stopped, by a signal or because it needs to be started again.
 */
export function runUntilSignal(node: RunningNode, onReloadError: (error: unknown) => void): Promise<Ended> {
  return new Promise((resolve) => {
    let stopping = false;
    const close = (ended: Ended) => {
      stopping = true;
      node
        .close()
        .then(
          () => ended,
          (error) => {
            onReloadError(error);
            return { code: 1 };
          },
        )
        .then((outcome) => {
          process.off('SIGTERM', stop).off('SIGINT', stop).off('SIGHUP', reload);
          resolve(outcome);
        });
    };
    const stop = () => {
      if (stopping) process.exit(1);
      close({ code: 0 });
    };
    const reload = () => {
      node.reload().catch((error) => onReloadError(isIpeError(error) ? error.message : error));
    };
    process.on('SIGTERM', stop).on('SIGINT', stop).on('SIGHUP', reload);
    void node.restartWanted.then((why) => {
      if (!stopping) close({ restart: why });
    });
  });
}
