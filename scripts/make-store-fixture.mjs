// Writes the store fixture of the current format: spec/stores/policies-<format>.json, rows in hexadecimal with what the
// store answers. Run it once for a new format and keep the old files: newer versions must open them.
import { writeFileSync } from 'node:fs';
import { openMemoryKv } from '../packages/core/dist/store/index.js';
import { policyFamilies } from '../packages/core/dist/tree/index.js';
import { openPolicyRepository } from '../packages/ipe/dist/repository/index.js';

const bytes = (text) => new TextEncoder().encode(text);
const put = (path, text, test) => ({
  path,
  files: {
    source: bytes(`description: ${text}\n`),
    program: bytes(`{"p":"${text}"}`),
    manifest: bytes('{"language":1}'),
    ...(test && { test: bytes(test) }),
  },
});
const author = { name: 'Fixture', email: 'fixture@example.com' };
const kv = openMemoryKv({ families: policyFamilies });
const store = await openPolicyRepository(kv);
const update = (changes, timeMs, more) => store.update({ changes, author, message: 'Change', timeMs, ...more });
await update(
  [put('prod.deployment.approval', 'one', 'tests: []\n'), put('config', 'a'), put('config0', 'b')],
  1_750_000_000_000,
);
await store.pin('release-1', 'main');
await update([put('prod.deployment.approval', 'two'), { path: 'config', delete: true }], 1_750_000_001_000);
await update([put('staged', 'c')], 1_750_000_002_000, { ref: 'staging' });

const rows = [];
const hex = (value) => Buffer.from(value).toString('hex');
for (const family of kv.families) {
  for await (const [key, value] of kv.entries(family)) rows.push([family, hex(key), hex(value)]);
}
const answers = {
  refs: store.refs(),
  tree: (await store.current().getSubtree('')).items,
  log: (await store.log()).items,
  history: (await store.history('prod.deployment.approval')).items,
  removed: (await store.history('config')).items,
};
const file = new URL('../spec/stores/policies-1.json', import.meta.url);
writeFileSync(file, `${JSON.stringify({ format: 1, answers, rows }, null, 1)}\n`);
console.log(`wrote ${rows.length} rows`);
