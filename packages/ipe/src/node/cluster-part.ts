import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { IpeError } from '@ipe/core';
import type { Accepted, ComparisonStatus, Interest } from '@ipe/core/replica';
import type { Handlers } from '../api/method.ts';
import { readIfPresent, writePrivate } from '../cluster/identity.ts';
import { LeaseKeeper, type LeaseStatus } from '../cluster/lease-keeper.ts';
import { Membership } from '../cluster/membership.ts';
import { Peers } from '../cluster/peers.ts';
import type { PeerTls } from '../cluster/trust.ts';
import type { Engine, Scrubber } from '../data/index.ts';
import { openPlane } from '../planes/open.ts';
import { Replication, type ReplicationMemory, startJsonMirror } from '../replication/index.ts';
import { type Alarm, alarmsOf, watchAlarms } from './alarms.ts';
import { MemberFacts, memberPrefix, toldOf } from './member-facts.ts';
import { memberHandlers } from './member-methods.ts';
import { describeReplication } from './replication-status.ts';
import { offerAgain } from './return.ts';
import type { PartsContext } from './start.ts';

/** A node's place among others. */
export interface ClusterPart {
  /** Listens for peers and dials them: once everything that they may ask is registered. */
  connect(): Promise<void>;
  readonly replication: Replication;
  readonly peers: Peers;
  readonly membership: Membership;
  /** Control-plane methods: members, member-invite, evict. */
  readonly handlers: Handlers;
  describe(): Readonly<Record<string, unknown>>;
  /** What needs an operator's eye, by name. */
  alarms(): readonly Alarm[];
}

/** Whether the configuration, or an earlier start, makes this node one of several. */
export async function isClustered({ config, layout, join: joining }: PartsContext): Promise<boolean> {
  const { listen, seeds } = config.cluster;
  if (listen !== undefined || (seeds?.length ?? 0) > 0 || joining !== undefined) return true;
  return (await readIfPresent(join(layout.keys, 'cluster.pub'))) !== undefined;
}

/** Links this node to its cluster and begins to replicate its facts. */
export async function openClusterPart(
  context: PartsContext,
  engine: Engine,
  scrubber: Scrubber,
  returning?: Accepted,
): Promise<ClusterPart> {
  const { config, layout, identity, log, metrics, onClose } = context;
  const { cluster } = config;
  const settings = config.predicate_service.data_plane;
  const { origin: policyOrigin } = config.control_plane;
  const membership = await Membership.open({
    keysFolder: layout.keys,
    identity,
    address: cluster.advertise ?? cluster.listen ?? null,
    ...(context.join !== undefined && { join: context.join }),
    ...(returning !== undefined && { returning }),
    now: () => Date.now(),
  });
  onClose('membership', () => membership.close());
  const { directory } = membership;
  const readTls = () => readPeerTls(cluster, layout.root);
  const tls = await readTls();
  const peers = new Peers({
    identity,
    directory,
    ...(tls !== undefined && { tls }),
    strangers: membership.strangers,
    heartbeatIntervalMs: cluster.heartbeat_interval,
    ...(cluster.listen !== undefined && { listen: cluster.listen }),
    seeds: [...(cluster.seeds ?? []), ...(policyOrigin === undefined ? [] : [policyOrigin])],
  });
  membership.bind(peers);
  if (tls !== undefined) context.onReload(async () => peers.useTls((await readTls())!));
  peers.on('refused', (fingerprint, why) => log.warn({ fingerprint }, `a peer was refused: ${why}`));
  peers.on('up', (_, member) => log.info({ peer: member.id }, 'linked'));
  peers.on('down', (_, member) => log.info({ peer: member.id }, 'link lost'));

  const memberFacts = new MemberFacts({
    origin: identity.origin,
    directory,
    facts: engine,
    onError: (error) => log.warn({ err: error }, 'a member record is not stored yet'),
  });
  onClose('member records', () => memberFacts.close());
  const plane = await openPlane(settings, peers, identity.id);
  const replication = await Replication.start({
    engine,
    identity,
    directory,
    peers,
    interest: interestOf(settings.subscribe_topics),
    ring: membership.ring,
    isStrict: settings.clock_skew === 'strict',
    digestSecret: membership.keys.secret,
    scrubber,
    comparison: { intervalMs: settings.digest_interval },
    memory: memoryIn(layout.root),
    now: () => Date.now(),
    log,
    ...(plane !== undefined && { plane }),
  });
  engine.attach(replication);
  membership.isCutFinal = async (evicted) => {
    const cell = await engine.get(memberPrefix + evicted.origin);
    const [told, { state }] = [toldOf(cell), cell];
    return replication.isCutFinal(evicted, told && state && { member: told.body, state });
  };
  const stopOffers = offerAgain({
    root: layout.root,
    dataFolder: layout.data,
    engine,
    replication,
    log,
    now: () => Date.now(),
  });
  onClose('offers', stopOffers);
  const stopWatching = directory.onChange(({ origin, state, evictedBy }) => {
    if (origin !== identity.origin || state !== 'evicted') return;
    log.error('this instance was evicted while it was away');
    if (evictedBy === 'lease') context.restart('it was evicted while it was away, and returns');
  });
  onClose('own record', stopWatching);
  onClose('replication', () => replication.close());
  const leases = new LeaseKeeper({ membership, replication, leaseMs: cluster.member_lease, log });
  onClose('member leases', () => leases.close());
  if (settings.json_mirror && plane?.mirror !== undefined) {
    const stopMirror = startJsonMirror({
      onApplied: (listener) => engine.onApplied(listener),
      mirror: (namespace, json) => plane.mirror!(namespace, json),
      origin: identity.origin,
      instance: identity.id,
      onError: (error) => log.warn({ err: error }, 'the JSON mirror leaves messages out'),
    });
    onClose('JSON mirror', stopMirror);
  }
  onClose('peer links', () => peers.close());
  addRepairMetrics(metrics, replication);
  metrics.add({ name: 'ipe_peer_links', help: 'Peers that are linked.', read: () => peers.links().length });
  const alarms = () => alarmsOf(replication.status(), leases.status(), membership.own?.state ?? 'active');
  const stopAlarms = watchAlarms(alarms, log);
  onClose('alarms', stopAlarms);
  addReplicationMetrics(metrics, replication, alarms);
  return {
    connect: async () => void (await peers.start()),
    alarms,
    replication,
    peers,
    membership,
    handlers: memberHandlers({ membership, peers, replication, address: cluster.advertise ?? cluster.listen ?? null }),
    describe: () => ({
      members: directory.list().length,
      links: peers.links().length,
      holds_cluster_key: membership.keys.key !== undefined,
      leases: leaseStatus(leases.status()),
      replication: describeReplication(replication.status()),
    }),
  };
}

/** @throws IpeError `invalid_params` naming a file that cannot be read */
async function readPeerTls(
  { tls_cert, tls_key, tls_ca }: PartsContext['config']['cluster'],
  root: string,
): Promise<PeerTls | undefined> {
  if (tls_ca === undefined) return undefined;
  const read = (path: string) =>
    readFile(resolve(root, path), 'utf8').catch((cause) => {
      throw new IpeError('invalid_params', `\`${path}\` cannot be read: ${(cause as NodeJS.ErrnoException).code}`, {
        details: { path },
        cause,
      });
    });
  const ca = await read(tls_ca);
  if (tls_cert === undefined || tls_key === undefined) return { ca };
  return { ca, cert: await read(tls_cert), key: await read(tls_key) };
}

/** How far facts are from being everywhere, and what stands in their way. */
function addReplicationMetrics(
  metrics: PartsContext['metrics'],
  replication: Replication,
  alarms: () => readonly Alarm[],
): void {
  const lag = (value: (row: ReturnType<Replication['status']>['lag'][number]) => number) => () =>
    replication.status().lag.map((row) => ({
      labels: { peer: row.peer, namespace: row.namespace },
      value: value(row),
    }));
  metrics.add({
    name: 'ipe_replication_behind_records',
    help: 'Records that a peer has and this instance lacks.',
    labels: ['peer', 'namespace'],
    read: lag(({ behind }) => behind),
  });
  metrics.add({
    name: 'ipe_replication_ahead_records',
    help: 'Records that this instance has and a peer is not known to have.',
    labels: ['peer', 'namespace'],
    read: lag(({ ahead }) => ahead),
  });
  metrics.add({
    name: 'ipe_held_back_records',
    help: 'Records held back because their time lies more than an hour ahead.',
    read: () => replication.status().heldBack,
  });
  metrics.add({
    name: 'ipe_clock_ahead_seconds',
    help: "How far this instance's clock is ahead of the median of its peers'.",
    read: () => (replication.clockAheadMs() ?? 0) / 1_000,
  });
  metrics.add({ name: 'ipe_alarms', help: 'Things that need an operator.', read: () => alarms().length });
}

/** What comparing digests has found, by peer and namespace. */
function addRepairMetrics(metrics: PartsContext['metrics'], replication: Replication): void {
  const labels = ['peer', 'namespace'];
  const rows = (value: (row: ComparisonStatus) => number) => () =>
    (replication.status().repair?.peers ?? []).map((row) => ({
      labels: { peer: row.peer, namespace: row.namespace },
      value: value(row),
    }));
  metrics.add({
    name: 'ipe_digest_differing_leaves',
    help: 'Leaves of the digest trees that differed from the peer at the last look.',
    labels,
    read: rows(({ differing }) => differing),
  });
  metrics.add({
    name: 'ipe_facts_repaired_total',
    help: 'Facts that were lost here and came back from the peer. Above 0: a damaged disk, or a bug.',
    labels,
    read: rows(({ repaired }) => repaired),
  });
  metrics.add({
    name: 'ipe_digest_bytes',
    help: 'Memory of the digest trees.',
    read: () => replication.status().repair?.digestBytes ?? 0,
  });
}

const leaseStatus = ({ lapsed, waitsFor }: LeaseStatus) => ({ lapsed, waits_for: waitsFor });

/** `data.<namespace>.*` of RFC-005 as namespaces. */
function interestOf(topics: readonly string[] | undefined): Interest {
  if (topics === undefined) return 'all';
  return topics.map((topic) => topic.replace(/^data\./, '').replace(/\..*$/, ''));
}

function memoryIn(folder: string): {
  load(): Promise<ReplicationMemory>;
  save(memory: ReplicationMemory): Promise<void>;
} {
  const path = join(folder, 'replication.json');
  return {
    load: async () => {
      const text = await readIfPresent(path);
      return text === undefined ? {} : (JSON.parse(text) as ReplicationMemory);
    },
    save: (memory) => writePrivate(path, `${JSON.stringify(memory)}\n`),
  };
}
