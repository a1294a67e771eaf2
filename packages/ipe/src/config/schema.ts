import { z } from 'zod';
import {
  address,
  addresses,
  choice,
  count,
  duration,
  flag,
  optionalDuration,
  size,
  table,
  text,
  texts,
} from './fields.ts';

/**
 * The configuration file: every section and key, its meaning, unit and default (RFC-005 "Configuration", API.md).
 * Names are those of the file; once read, durations are milliseconds and sizes bytes.
 */

/** How a plane can be reached besides its unix socket. */
const listener = (plane: string) => ({
  socket: text(
    `Path of the ${plane} plane's unix socket; a relative path starts at the state directory. The system allows about 100 bytes.`,
  ),
  listen: address(`TCP address of the ${plane} plane. Needs \`tls_cert\` and \`tls_key\`.`),
  tls_cert: text('PEM file with the certificate chain of the TCP listener; read again on SIGHUP.'),
  tls_key: text('PEM file with the private key of the TCP listener; read again on SIGHUP.'),
  tls_client_ca: text(
    'PEM file with the authorities that client certificates must come from (mutual TLS); required for the control plane.',
  ),
});

const strategy = z.enum(['lww', 'version-vector', 'counter', 'set']);
const resolver = z.enum(['revoke-wins', 'add-wins', 'siblings', 'remove-wins']);

const namespaceName = z
  .string()
  .regex(/^[a-z][a-z0-9_-]{0,63}$/, 'a namespace starts with a letter and has up to 64 of a-z, 0-9, `_` and `-`');

const dataPlane = table('Storage and replication of facts.', {
  backend: choice(['rocksdb', 'memory'], 'rocksdb', 'Where facts are kept; `memory` forgets them when the node stops.'),
  data_path: text('Folder of the fact store; a relative path starts at the state directory. Default: `data`.'),
  durability: choice(
    ['fsync', 'wal'],
    'fsync',
    'When a write is acknowledged: `fsync` after it is on disk, `wal` after it is in the write-ahead log, which is synced each second.',
  ),
  batch_size: count(1000, 'Most writes that gather behind a commit in flight. Raising it costs latency under load.', {
    min: 1,
    max: 100_000,
    unit: 'writes',
  }),
  flush_interval_ms: count(100, 'Longest time that writes gather behind a commit in flight.', {
    min: 0,
    max: 10_000,
    unit: 'ms',
  }),
  message_plane: choice(
    ['memory', 'pubsub', 'gossip', 'hybrid'],
    'memory',
    'How writes travel to other instances: a broker (`pubsub`), the peer links (`gossip`), both (`hybrid`); `memory` is a single node.',
  ),
  pubsub_url: z
    .string()
    .regex(
      /^(nats|tls|redis|rediss|kafka|kafkas):\/\/\S+$/,
      'expected nats://, tls:// (NATS), redis://, rediss://, kafka:// or kafkas:// and an address',
    )
    .optional()
    .meta({
      description:
        'The broker, for `pubsub` and `hybrid`; user and password stand before the host. `tls://` is NATS over TLS, as `rediss://` and `kafkas://` are for theirs. NATS and Kafka take several hosts with commas between.',
      examples: ['nats://localhost:4222'],
    }),
  pubsub_tls_ca: text("PEM file with the authority that the broker's certificate comes from. Default: the system's."),
  pubsub_tls_cert: text('PEM file with the certificate that this instance shows the broker.'),
  pubsub_tls_key: text('PEM file with the private key of that certificate.'),
  pubsub_credentials: text('For NATS: a `.creds` file, or a file with the seed of an nkey.'),
  subscribe_topics: texts('Topics that this instance holds, such as `data.approvals.*`; absent: all.'),
  json_mirror: flag(false, 'Also publish the JSON messages of RFC-005 on `data-json.<namespace>` for other programs.'),
  conflict_strategy: strategy
    .prefault('lww')
    .meta({ description: 'How concurrent writes to one key are settled in namespaces that do not say otherwise.' }),
  resolver: resolver.optional().meta({
    description: 'Which side wins under `version-vector` or `set`. Default: `revoke-wins`, and `add-wins` for sets.',
  }),
  history_versions: count(10, 'Versions kept a key for `history`, the newest included. Raising it costs disk.', {
    min: 1,
    max: 10_000,
    unit: 'versions',
  }),
  history_age: duration('7d', 'Age beyond which old versions are dropped, whatever their number.'),
  clock_skew: choice(
    ['warn', 'strict'],
    'warn',
    'What an instance does whose clock is more than 400 ms from the median of its peers: `warn` tells of it, `strict` also refuses new writes until it is right.',
  ),
  tombstone_grace: duration('1h', 'Least time a deletion is remembered. Tombstones also wait for every member.'),
  log_max_bytes: size(
    '1GiB',
    'Bound of the log from which peers and subscribers catch up; who is further behind gets a snapshot.',
  ),
  scrub_interval: duration(
    '7d',
    'How long after one look at everything stored the next begins, in search of damage; `0s`: only `ipe data scrub`.',
  ),
  scrub_rows_per_second: count(
    50_000,
    'Rows looked at a second, by scrubs and when digests are counted at the start. Raising it costs processor time.',
    { min: 1, max: 10_000_000, unit: 'rows' },
  ),
  digest_interval: duration('10s', "How often the digests of facts are compared with each peer's."),
  cache_bytes: size('64MiB', 'Memory for parsed facts that decisions read. Facts beyond it are read from disk.'),
  namespaces: z
    .record(
      namespaceName,
      z.strictObject({
        conflict_strategy: strategy.optional().meta({ description: 'As in the section above, for this namespace.' }),
        resolver: resolver.optional().meta({ description: 'As in the section above, for this namespace.' }),
        history_versions: z
          .int()
          .min(1)
          .max(10_000)
          .optional()
          .meta({ description: 'As in the section above, for this namespace.' }),
        history_age: optionalDuration('As in the section above, for this namespace.'),
      }),
    )
    .prefault({})
    .meta({ description: 'Settings of single namespaces; one named here exists from the start.' }),
  ...listener('data'),
});

const dataAuth = table('Who may use the data plane.', {
  require_auth: flag(true, 'Whether the data plane asks for a token. `false` is accepted on unix sockets only.'),
  allowed_writers: texts('Names of the services that may write; absent: every service whose token allows it.'),
  tokens_path: text(
    'Folder of files, each holding the token of the service it is named after; taken in at start and on SIGHUP.',
  ),
});

const dataSecurity = table('Encryption at rest and rights by namespace.', {
  encrypt_at_rest: flag(
    false,
    'Whether keys and values are sealed on disk (AES-256-GCM). Needs `encryption_key_path`.',
  ),
  encryption_key_path: text('File with the 32-byte key, as hexadecimal or base64 text.'),
  enforce_namespaces: flag(
    true,
    'Whether the namespaces of a service token are enforced; `false` opens all but the reserved ones.',
  ),
  namespace_auth: z
    .array(
      z.strictObject({
        namespace: z
          .string()
          .regex(/^[a-z][a-z0-9_-]{0,63}(\.\*)?$/, 'expected a namespace, such as `approvals` or `approvals.*`')
          .meta({ description: 'The namespace, with or without `.*`.' }),
        writers: z.array(z.string().min(1)).meta({ description: 'Names of the services that may write it.' }),
      }),
    )
    .optional()
    .meta({ description: 'Who may write a namespace; one that is not listed follows the token alone.' }),
});

const gitSyncFields = {
  repository: text('Local path or URL of the Git repository that policies come from; absent: no mirror.'),
  branch: text("Branch to follow. Default: the repository's own."),
  directory: text('Directory inside the repository. Default: its root.'),
  prefix: z.string().prefault('').meta({
    description: 'Place in the policy tree that the mirror owns; empty: the first segments that the repository has.',
  }),
  interval: duration('1m', 'How often the repository is asked for news.'),
  webhook_secret_path: text('File with the secret that GitHub or GitLab signs its webhooks with; absent: no webhook.'),
  token_path: text('File with the token for https repositories.'),
  ssh_key_path: text('Private key for ssh repositories.'),
  require_signed: flag(
    false,
    'Whether commits must carry a good signature of a key in `allowed_signers_path` or `openpgp_keys_path`.',
  ),
  allowed_signers_path: text("File of trusted SSH keys, in ssh's `allowed_signers` form."),
  openpgp_keys_path: text('File of trusted OpenPGP public keys, as `gpg --export` writes them. Needs `gpg`.'),
};

const controlPlane = table('Policies: where they are kept and who may change them.', {
  role: z.enum(['origin', 'follower']).optional().meta({
    description:
      'An origin takes policy writes; a follower pulls them. Absent: the instance that founded the cluster is the origin, and those that joined follow. A member that says `origin` and is not takes no policy writes until it is promoted (`ipe member promote`).',
  }),
  origin: address('Peer address of the origin, for a follower.'),
  forward_writes: flag(
    true,
    'Whether a follower hands policy writes on to the origin; else it answers them with `unavailable`.',
  ),
  backend: choice(
    ['rocksdb', 'memory'],
    'rocksdb',
    'Where policies are kept; `memory` forgets them when the node stops.',
  ),
  policies_path: text(
    'Folder of the policy store; a relative path starts at the state directory. Default: `policies`.',
  ),
  require_auth: flag(true, 'Whether the control plane asks for a token. `false` is accepted on unix sockets only.'),
  git_sync: table('A Git repository mirrored into the policy tree.', {
    ...gitSyncFields,
    repositories: z
      .array(
        z.strictObject({ ...gitSyncFields, repository: z.string().min(1).meta({ description: 'Local path or URL.' }) }),
      )
      .optional()
      .meta({ description: 'Further mirrors, each with a prefix of its own.' }),
  }),
  ...listener('control'),
});

const evaluationPlane = table('Decisions.', {
  authzen_path: z.string().prefault('').meta({
    description:
      'Policy or directory that AuthZEN requests ask; may contain `{resource.type}` and `{action.name}`. Empty: the whole tree.',
  }),
  require_auth: flag(true, 'Whether the evaluation plane asks for a token. `false` is accepted on unix sockets only.'),
  public_url: z
    .string()
    .regex(/^https?:\/\/[^\s/]+$/, 'expected an origin without a path, such as `https://pdp.example.com`')
    .optional()
    .meta({
      description: "Where the plane is reached from outside, for AuthZEN's metadata. Default: as the request says.",
    }),
  max_cost: count(1_000_000, 'Most steps that one policy may take in one decision.', { min: 1000, unit: 'steps' }),
  policy_cache_bytes: size('10MiB', 'Memory for planned policies.'),
  policy_cache_age: duration('5m', 'How long an unused planned policy stays in memory.'),
  fresh_wait: duration('2s', 'Longest wait for facts that `fresh_as_of` asks for.'),
  receipt: choice(
    ['none', 'plain', 'signed', 'full'],
    'plain',
    'Receipt of a decision whose request does not name one.',
  ),
  decision_log: choice(
    ['none', 'audits', 'denials', 'all'],
    'audits',
    'Decisions written to `audit/decisions`: none, those that an `Audit` policy found fault with, denials besides, or all.',
  ),
  decision_log_max_bytes: size('64MiB', 'Size at which a file of the decision log is closed and the next one begun.'),
  decision_log_keep: count(20, 'Files of the decision log kept.', { min: 1, max: 100_000, unit: 'files' }),
  search: z
    .record(
      z.string().min(1),
      z.strictObject({
        namespace: namespaceName.meta({ description: 'Data namespace whose entries are the candidates.' }),
        id_field: z
          .string()
          .min(1)
          .optional()
          .meta({ description: 'Dotted path of the id in the value; absent: the key after the namespace.' }),
        actions: z
          .array(z.string().min(1))
          .optional()
          .meta({ description: 'Names of the actions that action search tries.' }),
      }),
    )
    .prefault({})
    .meta({ description: 'Where AuthZEN search takes its candidates from, by type of subject or resource.' }),
  ...listener('evaluation'),
});

const storage = table('Upkeep of the policy store.', {
  retention: duration('90d', 'How long policy history is kept, and the roots that logged decisions were made at.'),
  gc_every: duration('24h', 'How often unreachable objects are collected.'),
  scrub_every: duration('24h', 'How often all stored objects are read and checked.'),
  backup: table('Scheduled backups of the policy store.', {
    directory: text('Folder that backups are written to; absent: none are made.'),
    full_every: duration('7d', 'How often a full backup is made.'),
    incremental_every: duration('1d', 'How often an incremental backup is made between full ones.'),
    keep: count(4, 'Full backups kept, each with its increments.', { min: 1, max: 10_000, unit: 'backups' }),
  }),
});

const observability = table('Logs, metrics and the audit trail.', {
  log_level: choice(
    ['trace', 'debug', 'info', 'warn', 'error', 'silent'],
    'info',
    'Least severity that is logged; read again on SIGHUP.',
  ),
  log_format: choice(['json', 'pretty'], 'json', 'One JSON object a line, or a line for people.'),
  metrics_listen: address('Address of a plain HTTP listener for `/metrics` and the health checks alone.'),
  audit_sample: z.number().min(0).max(1).prefault(0.01).meta({
    description: 'Share of data writes that the audit log records; control operations are always recorded.',
    unit: '0 to 1',
  }),
  audit_max_bytes: size('64MiB', 'Size at which an audit file is closed and the next one begun.'),
  audit_keep: count(20, 'Audit files kept.', { min: 1, max: 100_000, unit: 'files' }),
});

const cluster = table('Other instances.', {
  listen: address('Address of the listener for peers (mutual TLS); absent: a node on its own.'),
  advertise: address('Address that peers are told to use. Default: `listen`.'),
  seeds: addresses('Peers to try, for ever and with jitter.'),
  tls_cert: text(
    "PEM file with this instance's certificate chain for peer links, from an authority of one's own; it names the instance's id as DNS name, or as CN. Absent: the instance's own certificate. Read again on SIGHUP.",
  ),
  tls_key: text('PEM file with the private key of that certificate; read again on SIGHUP.'),
  tls_ca: text(
    'PEM file with the authorities of the certificates that members may show; read again on SIGHUP. Certificates on record are accepted besides.',
  ),
  heartbeat_interval: duration(
    '500ms',
    'How often a peer that says nothing is asked whether it is there; the link to one that leaves three in a row unanswered is closed, and dialled again.',
    { minMs: 50 },
  ),
  member_lease: duration(
    '7d',
    'How long a member may go unheard by all others before the holder of the cluster key evicts it: deletions wait for it until then. It may return, and keeps what it alone had written.',
  ),
});

const limits = table('Bounds on what clients may send. Each is per plane.', {
  max_body_bytes: size('16MiB', 'Largest request body or event-stream frame.'),
  max_depth: count(128, 'Deepest nesting of JSON or MessagePack.', { min: 8, max: 1000, unit: 'levels' }),
  max_batch: count(10_000, 'Most requests in one JSON-RPC batch.', { min: 1, max: 100_000, unit: 'requests' }),
  max_connections: count(4096, 'Most open connections on one socket.', { min: 1, max: 1_000_000, unit: 'connections' }),
  max_in_flight: count(1024, 'Most unanswered requests on one event-stream session before reading from it pauses.', {
    min: 1,
    max: 1_000_000,
    unit: 'requests',
  }),
  requests_per_second: count(0, 'Most requests a second for one token, with a burst of one second; 0: no limit.', {
    min: 0,
    unit: 'requests',
  }),
  header_timeout: duration('10s', 'Longest time for the head of a request to arrive.'),
  body_timeout: duration('30s', 'Longest time for the body of a request to arrive.'),
  stall_timeout: duration('60s', 'Longest time that a client may leave a response unread.'),
  drain_timeout: duration('10s', 'Longest time that a stopping node waits for requests under way.'),
});

export const configSchema = z
  .strictObject({
    predicate_service: table('Who this instance is.', {
      id: text('Name of this instance; default: drawn at first start and kept in `keys/`.'),
      node_name: text("Name of the machine, shown in status. Default: the system's."),
      data_plane: dataPlane,
    }),
    data_plane: table('Rights on the data plane.', { auth: dataAuth, security: dataSecurity }),
    control_plane: controlPlane,
    evaluation_plane: evaluationPlane,
    storage,
    observability,
    cluster,
    limits,
  })
  .superRefine(crossChecks);

/** The configuration once read: every default filled in, durations in milliseconds, sizes in bytes. */
export type Config = z.output<typeof configSchema>;

/** Rules that span several fields. */
function crossChecks(config: z.output<z.ZodObject<typeof configSchema.shape>>, context: z.RefinementCtx): void {
  const refuse = (path: (string | number)[], message: string) => context.addIssue({ code: 'custom', path, message });
  const data = config.predicate_service.data_plane;
  const planes = [
    { at: ['control_plane'], plane: config.control_plane, requireAuth: config.control_plane.require_auth },
    { at: ['predicate_service', 'data_plane'], plane: data, requireAuth: config.data_plane.auth.require_auth },
    { at: ['evaluation_plane'], plane: config.evaluation_plane, requireAuth: config.evaluation_plane.require_auth },
  ];
  for (const { at, plane, requireAuth } of planes) {
    if (plane.listen === undefined) continue;
    if (!requireAuth)
      refuse([...at, 'listen'], 'without tokens (`require_auth = false`) only the unix socket is allowed');
    if (plane.tls_cert === undefined || plane.tls_key === undefined)
      refuse([...at, 'listen'], 'a TCP listener needs `tls_cert` and `tls_key`');
    if (at[0] === 'control_plane' && plane.tls_client_ca === undefined)
      refuse([...at, 'listen'], 'control over TCP needs client certificates: set `tls_client_ca`');
  }
  if ((data.message_plane === 'pubsub' || data.message_plane === 'hybrid') && data.pubsub_url === undefined)
    refuse(['predicate_service', 'data_plane', 'message_plane'], `\`${data.message_plane}\` needs \`pubsub_url\``);
  for (const file of ['pubsub_tls_ca', 'pubsub_tls_cert', 'pubsub_tls_key'] as const)
    if (data[file] !== undefined && !/^(tls|rediss|kafkas):/.test(data.pubsub_url ?? ''))
      refuse(['predicate_service', 'data_plane', file], 'needs a `pubsub_url` with tls://, rediss:// or kafkas://');
  if (data.json_mirror && data.message_plane !== 'pubsub' && data.message_plane !== 'hybrid')
    refuse(
      ['predicate_service', 'data_plane', 'json_mirror'],
      'needs a broker: `message_plane` must be `pubsub` or `hybrid`',
    );
  const { repositories = [], ...first } = config.control_plane.git_sync;
  for (const [i, each] of [first, ...repositories].entries()) {
    if (!each.require_signed || each.allowed_signers_path !== undefined || each.openpgp_keys_path !== undefined)
      continue;
    const at = ['control_plane', 'git_sync', ...(i === 0 ? [] : ['repositories', i - 1]), 'require_signed'];
    refuse(at, 'nobody could sign: set `allowed_signers_path` (SSH keys) or `openpgp_keys_path`');
  }
  const { tls_cert, tls_key, tls_ca } = config.cluster;
  if ((tls_cert === undefined) !== (tls_key === undefined))
    refuse(['cluster', tls_cert === undefined ? 'tls_cert' : 'tls_key'], '`tls_cert` and `tls_key` are given together');
  if (tls_cert !== undefined && tls_ca === undefined)
    refuse(['cluster', 'tls_ca'], 'a certificate for peer links needs the authority by which members know each other');
  checkResolver(data.conflict_strategy, data.resolver, ['predicate_service', 'data_plane', 'resolver'], refuse);
  for (const [name, namespace] of Object.entries(data.namespaces)) {
    const own = namespace.conflict_strategy ?? data.conflict_strategy;
    checkResolver(own, namespace.resolver, ['predicate_service', 'data_plane', 'namespaces', name, 'resolver'], refuse);
  }
  const security = config.data_plane.security;
  if (security.encrypt_at_rest && security.encryption_key_path === undefined)
    refuse(['data_plane', 'security', 'encrypt_at_rest'], 'needs `encryption_key_path`');
  if (config.control_plane.role === 'follower' && config.control_plane.origin === undefined)
    refuse(['control_plane', 'role'], 'a follower needs `origin`');
}

const resolversOf = {
  lww: [],
  counter: [],
  'version-vector': ['revoke-wins', 'add-wins', 'siblings'],
  set: ['add-wins', 'remove-wins'],
} as const satisfies Record<z.output<typeof strategy>, readonly z.output<typeof resolver>[]>;

function checkResolver(
  conflictStrategy: z.output<typeof strategy>,
  chosen: z.output<typeof resolver> | undefined,
  path: string[],
  refuse: (path: string[], message: string) => void,
): void {
  const allowed: readonly string[] = resolversOf[conflictStrategy];
  if (chosen === undefined || allowed.includes(chosen)) return;
  const choices =
    allowed.length === 0 ? 'takes no resolver' : `takes ${allowed.map((name) => `\`${name}\``).join(', ')}`;
  refuse(path, `\`${conflictStrategy}\` ${choices}`);
}
