import { once } from 'node:events';
import { appendFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { createClient } from '@ipe/client';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createAuthority } from '../src/testkit/authority.ts';
import { freePort } from '../src/testkit/brokers.ts';
import { patience } from '../src/testkit/patience.ts';
import { type NodeProcess, startProcess } from '../src/testkit/process.ts';
import { runProgram } from './support/run-program.ts';
import { Cleanups } from './support/scratch.ts';

const cleanups = new Cleanups();
let folder: string;
beforeEach(async () => {
  folder = await cleanups.folder();
});
afterEach(() => cleanups.run());

/** Starts the program on `state` below the folder with the configuration given. */
async function start(config: string): Promise<NodeProcess> {
  const file = join(folder, 'ipe.toml');
  await writeFile(file, config);
  const node = await startProcess(join(folder, 'state'), { args: ['--config', file] });
  cleanups.add(() => node.kill());
  return node;
}

const ipe = (...argv: string[]) => runProgram([...argv, '--dir', join(folder, 'state')]);

test('SIGHUP takes in certificates, tokens and the log level while clients stay connected; what is bad keeps nothing else from it', async () => {
  const port = await freePort();
  const authority = await createAuthority('acme');
  const install = async (name: string, keyOf = name) => {
    const [certificate, other] = [await authority.issue(name), await authority.issue(keyOf)];
    await writeFile(join(folder, 'node.crt'), certificate.cert);
    await writeFile(join(folder, 'node.key'), keyOf === name ? certificate.key : other.key);
  };
  await install('first.test');
  await mkdir(join(folder, 'tokens'));
  const tokens = { kept: 'kept-token-0123456789-abcdef', gone: 'gone-token-0123456789-abcdef' };
  for (const [name, token] of Object.entries(tokens)) await writeFile(join(folder, 'tokens', name), token);
  const config = (level: string) => `
[predicate_service.data_plane]
listen = "127.0.0.1:${port}"
tls_cert = "${join(folder, 'node.crt')}"
tls_key = "${join(folder, 'node.key')}"
[data_plane.auth]
tokens_path = "${join(folder, 'tokens')}"
[observability]
log_level = "${level}"
`;
  const node = await start(config('info'));
  /** The name in the certificate that a new connection is shown. */
  const nameShown = async () => {
    const socket = connect({ host: '127.0.0.1', port, ca: authority.ca, rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    const { subjectaltname } = socket.getPeerCertificate();
    socket.destroy();
    return subjectaltname;
  };
  const clientOf = (token: string) => {
    const tls = { ca: authority.ca, servername: 'first.test' };
    const client = createClient({ url: `https://127.0.0.1:${port}`, token, tls });
    cleanups.add(() => client.close());
    return client.data;
  };
  const [kept, gone] = [clientOf(tokens.kept), clientOf(tokens.gone)];
  const stop = new AbortController();
  cleanups.add(() => stop.abort());
  const events = kept.watch('data.*', { signal: stop.signal, reconnect: false, include_existing: true });
  await kept.put('data.a', 1);
  expect((await events.next()).value).toMatchObject({ key: 'data.a' });
  expect(await gone.get('data.a')).toMatchObject({ value: 1 });
  expect(await nameShown()).toBe('DNS:first.test');

  await install('second.test');
  await rm(join(folder, 'tokens', 'gone'));
  node.child.kill('SIGHUP');
  await vi.waitFor(() => expect(node.log()).toContain('were read again'), patience);
  expect(await nameShown()).toBe('DNS:second.test');
  await expect(gone.get('data.a')).rejects.toMatchObject({ reason: 'unauthenticated' });
  await node.data.put('data.b', 2);
  expect((await events.next()).value).toMatchObject({ key: 'data.b' });

  await install('third.test', 'fourth.test');
  await writeFile(join(folder, 'tokens', 'short'), 'x');
  await rm(join(folder, 'tokens', 'kept'));
  await writeFile(join(folder, 'ipe.toml'), config('error'));
  node.child.kill('SIGHUP');
  await vi.waitFor(() => expect(node.log()).toContain('holds no token'), patience);
  expect(node.log()).toContain('certificate');
  expect(await nameShown()).toBe('DNS:second.test');
  await expect(events.next()).rejects.toMatchObject({ reason: 'unauthenticated' });
  expect(await node.data.get('data.a')).toMatchObject({ value: 1 });
});

test('a rekey that `kill -9` cut short is finished after the next start, and nothing is lost', async () => {
  await writeFile(join(folder, 'a.key'), 'a1'.repeat(32), { mode: 0o600 });
  const config = `[data_plane.security]\nencrypt_at_rest = true\nencryption_key_path = "${join(folder, 'a.key')}"\n`;
  const node = await start(config);
  const facts = Array.from({ length: 8_000 }, (_, n) => ({ key: `data.k${n}`, value: { n } }));
  for (let at = 0; at < facts.length; at += 1000) await node.data.putAll(facts.slice(at, at + 1000));
  const { state, rows: before } = await node.control.call('rekey', {});
  expect(state).toBe('running');
  await node.kill();

  const again = await start(config);
  const report = await vi.waitUntil(async () => {
    const now = await again.control.call('rekey', { start: false, wait: 20 });
    return now.state === 'running' ? undefined : now;
  }, patience);
  expect(report).toMatchObject({ state: 'done', families_done: report.families });
  expect(report.rows).toBeGreaterThan(before);
  const found: unknown[] = [];
  for await (const { key, value } of again.data.query('data.*', { limit: 10_000 })) found.push({ key, value });
  expect(found).toHaveLength(facts.length);
  expect(found).toEqual(expect.arrayContaining(facts.slice(0, 20)));
  expect(await ipe('data', 'rekey')).toMatchObject({ code: 0, out: expect.stringMatching(/sealed \d+ rows/) });
});

test('the audit trail verifies over its files, while the node goes on and after a restart, and a changed old file is found', async () => {
  const config = '[observability]\naudit_max_bytes = "4KiB"\naudit_keep = 50\n';
  const node = await start(config);
  const write = async (on: NodeProcess) => {
    for (let i = 0; i < 40; i++) await on.control.call('token-create', { kind: 'service', name: `s${i}` });
  };
  await write(node);
  const verify = async () => JSON.parse((await ipe('audit', 'verify', '--json')).out);
  await vi.waitFor(async () => expect((await verify()).lines).toBeGreaterThan(40), patience);
  expect(await verify()).toMatchObject({ problems: [] });
  await node.stop();
  const again = await start(config);
  await write(again);
  await again.stop();
  const report = await verify();
  expect(report).toMatchObject({ problems: [], first: 1 });
  expect(report.files).toBeGreaterThan(3);
  expect(report.lines).toBeGreaterThan(80);

  const audit = join(folder, 'state', 'audit');
  const [oldest] = (await readdir(audit)).filter((name) => name.endsWith('.ndjson')).sort();
  const text = await readFile(join(audit, oldest!), 'utf8');
  await writeFile(join(audit, oldest!), text.replace('"s3"', '"s4"'));
  expect(await ipe('audit', 'verify')).toMatchObject({ code: 1, out: expect.stringContaining(`${oldest}:`) });
  await writeFile(join(audit, oldest!), text);
  await appendFile(join(audit, oldest!), '{}\n');
  expect(await ipe('audit', 'verify')).toMatchObject({ code: 1 });
});
