import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  checkConfig,
  configReference,
  jsonSchema,
  loadConfig,
  parseDuration,
  parseSize,
  printConfig,
  renderProblem,
} from './index.ts';
import { locateToml } from './locate.ts';
import type { SchemaNode } from './sources.ts';

const rfcExample = `
[predicate_service]
id = "ipe-abc-123"
node_name = "k8s-node-1"

[predicate_service.data_plane]
backend = "rocksdb"
data_path = "/var/lib/ipe/data"
batch_size = 1000
flush_interval_ms = 100
message_plane = "pubsub"  # or "gossip" or "hybrid"
pubsub_url = "nats://localhost:4222"
subscribe_topics = ["data.approvals.*", "data.relationships.*"]
conflict_strategy = "lww"  # last-write-wins

[predicate_service.data_plane.namespaces.approvals]
conflict_strategy = "version-vector"
resolver = "revoke-wins"

[data_plane.auth]
require_auth = true
allowed_writers = ["deployment-service", "identity-service"]
tokens_path = "/var/lib/ipe/data-tokens/"

[data_plane.security]
encrypt_at_rest = true
encryption_key_path = "/var/lib/ipe/keys/data.key"
enforce_namespaces = true
namespace_auth = [
  {namespace = "approvals.*", writers = ["deployment-service"]},
  {namespace = "relationships.*", writers = ["identity-service"]},
]

[cluster]
listen = "127.0.0.1:7400"
seeds = ["127.0.0.1:7401"]
member_lease = "7d"
`;

test("RFC-005's and API.md's configuration reads as written, with defaults beside it", async () => {
  const config = await loadConfig({ file: rfcExample });
  expect(config.predicate_service.id).toBe('ipe-abc-123');
  expect(config.predicate_service.data_plane.subscribe_topics).toHaveLength(2);
  expect(config.predicate_service.data_plane.namespaces['approvals']?.resolver).toBe('revoke-wins');
  expect(config.data_plane.security.namespace_auth?.[1]?.writers).toEqual(['identity-service']);
  expect(config.cluster.member_lease).toBe(7 * 86_400_000);
  expect(config.predicate_service.data_plane.cache_bytes).toBe(64 * 1024 * 1024);
});

test('without any input the configuration is a single safe node', async () => {
  const config = await loadConfig();
  expect(config.predicate_service.data_plane).toMatchObject({
    backend: 'rocksdb',
    durability: 'fsync',
    message_plane: 'memory',
  });
  expect(config.data_plane.auth.require_auth).toBe(true);
  expect(config.control_plane.listen).toBeUndefined();
  expect(config.cluster.listen).toBeUndefined();
});

test('a flag wins over the environment, the environment over the file, the file over the default', async () => {
  const file = '[predicate_service.data_plane]\nbatch_size = 2\nflush_interval_ms = 3\nhistory_versions = 4\n';
  const environment = {
    IPE_PREDICATE_SERVICE__DATA_PLANE__BATCH_SIZE: '20',
    IPE_PREDICATE_SERVICE__DATA_PLANE__FLUSH_INTERVAL_MS: '30',
    IPE_DIR: '/x',
  };
  const flags = { 'predicate_service.data_plane.batch_size': 200 };
  const check = await checkConfig({ file, environment, flags });
  expect(check.problems).toEqual([]);
  expect(check.config?.predicate_service.data_plane).toMatchObject({
    batch_size: 200,
    flush_interval_ms: 30,
    history_versions: 4,
    durability: 'fsync',
  });
  const at = (key: string) => check.source(`predicate_service.data_plane.${key}`);
  expect([at('batch_size'), at('flush_interval_ms'), at('history_versions'), at('durability')]).toEqual([
    'flag',
    'environment',
    'file',
    'default',
  ]);
});

test('the environment gives lists and booleans as text', async () => {
  const environment = {
    IPE_CLUSTER__SEEDS: '127.0.0.1:1, 127.0.0.1:2',
    IPE_PREDICATE_SERVICE__DATA_PLANE__SUBSCRIBE_TOPICS: '["data.a.*"]',
    IPE_DATA_PLANE__AUTH__REQUIRE_AUTH: 'false',
  };
  const config = await loadConfig({ environment });
  expect(config.cluster.seeds).toEqual(['127.0.0.1:1', '127.0.0.1:2']);
  expect(config.predicate_service.data_plane.subscribe_topics).toEqual(['data.a.*']);
  expect(config.data_plane.auth.require_auth).toBe(false);
});

test('unknown keys are refused with their line and the nearest valid name, all at once', async () => {
  const file = '[predicate_service.data_plane]\nbatch_sze = 5\n\n[clutser]\nlisten = "x"\n\n[limits]\nmax_depth = 3\n';
  const { problems, config } = await checkConfig({ file });
  expect(config).toBeUndefined();
  expect(problems.map((problem) => [problem.line, problem.path, problem.nearest])).toEqual([
    [2, 'predicate_service.data_plane.batch_sze', 'batch_size'],
    [4, 'clutser', 'cluster'],
    [8, 'limits.max_depth', undefined],
  ]);
  expect(renderProblem(problems[0]!, 'ipe.toml')).toBe(
    'ipe.toml:2: unknown key `batch_sze` in [predicate_service.data_plane]: did you mean `batch_size`?',
  );
  expect(renderProblem(problems[2]!, 'ipe.toml')).toBe('ipe.toml:8: `limits.max_depth`: expected at least 8');
});

test('an unknown or wrong environment variable is named', async () => {
  const { problems } = await checkConfig({ environment: { IPE_CLUSTER__LISTN: 'x', IPE_LIMITS__MAX_BATCH: 'many' } });
  expect(problems.map((problem) => renderProblem(problem, 'ipe.toml')).sort()).toEqual([
    'IPE_CLUSTER__LISTN: unknown key `listn` in [cluster]: did you mean `listen`?',
    'IPE_LIMITS__MAX_BATCH: `limits.max_batch`: expected number, received string',
  ]);
});

test('text that is not TOML is reported with line and column', async () => {
  const { problems } = await checkConfig({ file: 'a = 1\nb = = 2\n' });
  expect(problems[0]).toMatchObject({ line: 2, column: 5 });
  await expect(loadConfig({ file: '[[[', fileName: 'ipe.toml' })).rejects.toMatchObject({ reason: 'invalid_params' });
});

test.each([
  ['[control_plane]\nrole = "follower"', 'a follower needs `origin`'],
  ['[predicate_service.data_plane]\nmessage_plane = "hybrid"', '`hybrid` needs `pubsub_url`'],
  [
    '[predicate_service.data_plane]\nmessage_plane = "pubsub"\npubsub_url = "redis://h"\npubsub_tls_ca = "ca.crt"',
    'needs a `pubsub_url` with tls://',
  ],
  ['[predicate_service.data_plane]\nresolver = "add-wins"', '`lww` takes no resolver'],
  [
    '[predicate_service.data_plane.namespaces.a]\nconflict_strategy = "set"\nresolver = "siblings"',
    '`set` takes `add-wins`, `remove-wins`',
  ],
  ['[data_plane.security]\nencrypt_at_rest = true', 'needs `encryption_key_path`'],
  ['[evaluation_plane]\nlisten = "127.0.0.1:80"', 'needs `tls_cert` and `tls_key`'],
  ['[control_plane]\nlisten = "127.0.0.1:80"\ntls_cert = "c"\ntls_key = "k"', 'set `tls_client_ca`'],
  [
    '[data_plane.auth]\nrequire_auth = false\n[predicate_service.data_plane]\nlisten = "127.0.0.1:80"',
    'only the unix socket',
  ],
  ['[cluster]\nlisten = "7400"', 'expected `host:port`'],
  ['[cluster]\nlisten = "h:70000"', 'at most 65535'],
  ['[cluster]\nmember_lease = "7 days"', 'expected a duration'],
  ['[cluster]\nheartbeat_interval = "0s"', 'expected at least `50ms`'],
  ['[limits]\nmax_body_bytes = "16MB"', 'expected a size'],
  ['[predicate_service.data_plane]\nbackend = "sqlite"', 'expected one of `rocksdb`, `memory`'],
  ['[predicate_service.data_plane.namespaces._sys]\nhistory_versions = 3', 'a namespace starts with a letter'],
])('%j is refused', async (file, said) => {
  const { problems } = await checkConfig({ file });
  expect(problems.map((problem) => problem.message).join('\n')).toContain(said);
  expect(problems.every((problem) => problem.line !== undefined)).toBe(true);
});

test('what is printed reads back as the same configuration', async () => {
  const check = await checkConfig({ file: rfcExample, flags: { 'limits.max_batch': 7 } });
  const printed = await printConfig(check);
  expect(printed).toContain('max_batch = 7  # flag');
  expect(printed).toContain('member_lease = "7d"  # file');
  expect(await loadConfig({ file: printed })).toEqual(check.config);
});

test('every field of the schema has a description, and the reference lists it', async () => {
  const reference = await configReference();
  const walk = (node: SchemaNode, path: string) => {
    expect(node.description, path).toBeTruthy();
    for (const [key, child] of Object.entries(node.properties ?? {})) {
      const table = child.properties !== undefined || typeof child.additionalProperties === 'object';
      if (!table) expect(reference, path).toContain(`| \`${key}\` |`);
      walk(child, `${path}.${key}`);
    }
  };
  for (const [key, node] of Object.entries((await jsonSchema()).properties ?? {})) walk(node, key);
});

test('durations and sizes read in their units', () => {
  expect(['100ms', '5s', '1.5m', '24h', '7d'].map(parseDuration)).toEqual([100, 5000, 90_000, 86_400_000, 604_800_000]);
  expect(['512B', '64KiB', '1GiB', 9].map(parseSize)).toEqual([512, 65_536, 1024 ** 3, 9]);
  expect(() => parseDuration('soon')).toThrow(RangeError);
});

test('lines are found past comments, multi-line values, dotted keys and arrays of tables', () => {
  const source = [
    '# c',
    'a.b = 1',
    '[t] # x',
    'l = [',
    '  "[z]",',
    ']',
    's = """',
    'k = 1',
    '"""',
    'k = 2',
    '[[u.v]]',
    'w = 1',
    '[[u.v]]',
    'w = 2',
  ].join('\n');
  expect(locateToml(source, ['a', 'b'])).toBe(2);
  expect(locateToml(source, ['t', 'k'])).toBe(10);
  expect(locateToml(source, ['u', 'v', 1, 'w'])).toBe(14);
  expect(locateToml(source, ['t', 'l', 0])).toBe(4);
  expect(locateToml(source, ['nowhere'])).toBeUndefined();
});

test('no text makes reading throw or hang', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.string({ unit: 'grapheme', maxLength: 200 }),
      fc.dictionary(fc.string({ maxLength: 12 }), fc.string()),
      async (file, extra) => {
        const environment = Object.fromEntries(Object.entries(extra).map(([key, value]) => [`IPE_${key}__X`, value]));
        const check = await checkConfig({ file, environment });
        expect(check.problems.length > 0 || check.config !== undefined).toBe(true);
      },
    ),
    { numRuns: 200 },
  );
});
