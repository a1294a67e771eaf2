// Flips a bit in every byte of a small policy store on disk, or cuts its files, and asks it everything: each answer must be
// the true one or a refusal, and the process must live.
// Usage: node scripts/check-damage.mjs rows|files [--from N] [--minutes M]    goes on from N for at most M minutes
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { assertTold, damageCheck, flippedBits, treeFixture } from '../packages/core/dist/testkit/index.js';
import { policyFamilies as families } from '../packages/core/dist/tree/index.js';
import { zlibCodec as codec, nodePrimitives as primitives } from '../packages/ipe/dist/repository/index.js';
import { openMarkedKv } from '../packages/ipe/dist/stores/marked.js';
import { openRocksKv } from '../packages/ipe/dist/stores/rocksdb/index.js';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { from: { type: 'string', default: '0' }, minutes: { type: 'string', default: '8' } },
});
const scratch = mkdtempSync(join(tmpdir(), 'ipe-damage-'));
const fixture = treeFixture({ primitives, codec, breathe: () => setImmediate() });
const from = Number(options.from);
const endMs = Date.now() + Number(options.minutes) * 60_000;

try {
  if (positionals[0] === 'rows') await damageRows();
  else if (positionals[0] === 'files') await damageFiles();
  else throw new Error('say `rows` or `files`');
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

async function damageRows() {
  const kv = await openRocksKv({ directory: join(scratch, 'store'), families });
  const check = await damageCheck(fixture, kv);
  const all = [...flippedBits(check.rows)];
  await each(all, async (damage) => assertTold(damage, await check.tryRows(damage.rows)));
  await kv.close();
}

/** The store as a node opens it: held to its mark. */
function openStore(directory) {
  return openMarkedKv({
    open: () => openRocksKv({ directory: join(directory, 'store'), families }),
    markPath: join(directory, 'mark'),
    family: 'metadata',
    name: 'policy store',
    onError: () => {},
  });
}

async function damageFiles() {
  const whole = join(scratch, 'whole');
  const copy = join(scratch, 'copy');
  mkdirSync(whole);
  const kv = await openStore(whole);
  const { truth, ask } = await damageCheck(fixture, kv);
  await kv.close();
  const damages = [];
  for (const name of readdirSync(join(whole, 'store')).sort()) {
    // What RocksDB writes for people, and what it makes anew.
    if (/^(LOG|LOCK|IDENTITY|OPTIONS|holder)/.test(name)) continue;
    const bytes = readFileSync(join(whole, 'store', name));
    for (let at = 0; at < bytes.length; at++) damages.push({ name, bytes, at });
    for (const length of [0, 1, bytes.length >> 1, bytes.length - 1]) damages.push({ name, bytes, length });
  }
  await each(damages, async ({ name, bytes, at, length }) => {
    rmSync(copy, { recursive: true, force: true });
    cpSync(whole, copy, { recursive: true });
    const path = join(copy, 'store', name);
    if (length !== undefined) truncateSync(path, length);
    else writeFileSync(path, Buffer.from(bytes).fill(bytes[at] ^ (1 << (at % 8)), at, at + 1));
    let damaged;
    try {
      damaged = await openStore(copy);
    } catch (error) {
      if (['corrupt', 'unavailable'].includes(error.reason)) return;
      throw error;
    }
    try {
      for (const [question, answer] of Object.entries(await ask(damaged)))
        if (answer !== 'refused' && answer !== truth[question])
          throw new Error(`${name}, ${at ?? `cut to ${length}`}: \`${question}\` was answered with what is not so`);
    } finally {
      await damaged.close();
    }
  });
}

async function each(damages, check) {
  for (let i = from; i < damages.length; i++) {
    if (Date.now() > endMs) {
      console.log(`${i} of ${damages.length} done; go on with --from ${i}`);
      return;
    }
    try {
      await check(damages[i]);
    } catch (error) {
      throw new Error(`damage ${i}: ${error.message}`, { cause: error });
    }
  }
  console.log(`ok: all ${damages.length} damages from ${from} on were told or did no harm`);
}
