import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createClient } from '@ipe/client';
import { afterAll, expect, test } from 'vitest';
import { freePort } from '../src/testkit/brokers.ts';
import { startProcess } from '../src/testkit/process.ts';
import { Cleanups } from './support/scratch.ts';

const cleanups = new Cleanups();
afterAll(() => cleanups.run());

test('a subscription goes on over a node that was killed and started again, and misses nothing', async () => {
  const directory = await cleanups.folder();
  let node = await startProcess(directory);
  cleanups.add(() => node.kill());
  // A client of its own, which outlives the process it is connected to.
  const client = createClient({ socket: join(directory, 'run', 'data.sock'), token: node.tokens.service });
  cleanups.add(() => client.close());

  const rounds = 3;
  const perRound = 20;
  const seen: unknown[] = [];
  let reached = 0;
  let onReached: () => void = () => {};
  const reading = (async () => {
    for await (const { key, value } of client.data.watch('watched.*', { include_existing: true })) {
      if (key !== 'watched.a') continue;
      seen.push(value);
      reached = Math.max(reached, value as number);
      onReached();
      if (reached === rounds * perRound) return;
    }
  })();
  const untilReached = (value: number) =>
    new Promise<void>((resolve) => {
      onReached = () => {
        if (reached >= value) resolve();
      };
      onReached();
    });

  for (let round = 0; round < rounds; round++) {
    for (let i = 1; i <= perRound; i++) await node.data.put('watched.a', round * perRound + i);
    await untilReached((round + 1) * perRound);
    if (round === rounds - 1) break;
    await node.kill();
    node = await startProcess(directory);
  }
  await reading;
  // At least once each, in order: every value stands there, and the first sight of each comes in ascending order.
  const first = [...new Set(seen)];
  expect(first).toEqual(Array.from({ length: rounds * perRound }, (_, i) => i + 1));
});

test('what is written while nobody is connected is delivered after the subscription resumed', async () => {
  const directory = await cleanups.folder();
  let node = await startProcess(directory);
  cleanups.add(() => node.kill());
  const { token } = await node.data.put('watched.b', 'before');
  await node.kill();
  node = await startProcess(directory);
  await node.data.put('watched.b', 'meanwhile');
  const events = node.data.watch('watched.*', { from: token });
  expect((await events.next()).value).toMatchObject({ key: 'watched.b', value: 'meanwhile' });
  await events.return();
});

test('a thousand calls pipelined in one session are answered each with its own result', async () => {
  const node = await startProcess(await cleanups.folder());
  cleanups.add(() => node.stop());
  const session = await node.clients.data.session({ maxInFlight: 128 });
  const keys = Array.from({ length: 1000 }, (_, i) => `piped.k${i}`);
  const written = await Promise.all(keys.map((key, i) => session.data.put(key, i)));
  expect(written.map(({ key }) => key)).toEqual(keys);
  const read = await Promise.all(keys.map((key) => session.data.get(key)));
  expect(read.map((entry) => entry?.value)).toEqual(keys.map((_, i) => i));
  await expect(session.data.put('piped', 1)).rejects.toMatchObject({ reason: 'invalid_params', state: 'unchanged' });
  await session.close();
});

test('over TLS the server is known by its certificate, and a stranger is told from a node that is not there', async () => {
  const folder = await cleanups.folder();
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  const subject = ['-subj', '/CN=ipe', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const keyKind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  execFileSync('openssl', ['req', '-x509', ...keyKind, '-keyout', key, '-out', cert, '-days', '2', ...subject], {
    stdio: 'pipe',
  });
  const address = `127.0.0.1:${await freePort()}`;
  const at = 'predicate_service.data_plane';
  const node = await startProcess(join(folder, 'state'), {
    args: ['--set', `${at}.listen=${address}`, '--set', `${at}.tls_cert=${cert}`, '--set', `${at}.tls_key=${key}`],
  });
  cleanups.add(() => node.stop());
  const over = (ca?: string) =>
    createClient({
      url: `https://${address}`,
      token: node.tokens.service,
      retries: 0,
      ...(ca === undefined ? {} : { tls: { ca } }),
    });

  const known = over(readFileSync(cert, 'utf8'));
  expect(await known.data.put('approvals.tls', { over: 'tls' })).toMatchObject({ version: 1 });
  const session = await known.session();
  expect(await session.data.get('approvals.tls')).toMatchObject({ value: { over: 'tls' } });
  await session.close();
  known.close();
  const unknown = over();
  await expect(unknown.data.get('approvals.tls')).rejects.toMatchObject({
    reason: 'connection',
    state: 'unchanged',
    message: expect.stringContaining('certificate is not known'),
  });
  unknown.close();
});
