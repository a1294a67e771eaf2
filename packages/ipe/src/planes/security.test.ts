import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MessagePlane } from '@ipe/core/plane';
import { afterEach, describe, expect, test } from 'vitest';
import { type Broker, makeBrokerTls, missingBroker, startNats, startRedis } from '../testkit/brokers.ts';
import { parseBrokerUrl } from './address.ts';
import { kafkaConnection } from './kafka/plane.ts';
import { openNatsPlane } from './nats/plane.ts';
import { openRedisPlane } from './redis/plane.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'ipe-'));
  cleanups.push(() => rm(path, { recursive: true, force: true }));
  return path;
}

async function started(broker: Promise<Broker>): Promise<Broker> {
  const running = await broker;
  cleanups.push(() => running.close());
  return running;
}

const withUser = (url: string, user: string) => url.replace('://', `://${user}@`);

/** Whether a batch goes through a plane and back. */
async function expectWorks(plane: MessagePlane): Promise<void> {
  cleanups.push(() => plane.close());
  await plane.start();
  let published: Promise<void> | undefined;
  const arrived = new Promise<string>((resolve) => {
    const subscription = plane.subscribe(['secret'], async ({ body }) => resolve(Buffer.from(body).toString()));
    published = subscription.ready.then(() =>
      plane.publish({ namespace: 'secret', origin: '00'.repeat(8), id: 'one', body: Buffer.from('through') }),
    );
  });
  // It may be delivered before the broker has answered, and a plane that closes then would refuse it.
  await published;
  expect(await arrived).toBe('through');
}

/** Whether the broker turns a plane away, and the status says so. */
async function expectRefused(plane: MessagePlane, why: RegExp): Promise<void> {
  cleanups.push(() => plane.close());
  await plane.start();
  while (!why.test(plane.status().problem ?? '')) await sleep(20);
  expect(plane.status().connected).toBe(false);
  const batch = { namespace: 'secret', origin: '00'.repeat(8), id: 'one', body: Buffer.from('x') };
  await expect(plane.publish(batch)).rejects.toMatchObject({ reason: 'unavailable' });
}

describe.skipIf(missingBroker('nats') !== undefined)('NATS', () => {
  test('takes user and password, or a token, from the URL, and refuses others', async () => {
    const users = await started(startNats({ args: ['--user', 'ipe', '--pass', 's/cret'] }));
    await expectWorks(openNatsPlane({ url: withUser(users.url, 'ipe:s%2Fcret') }));
    await expectRefused(openNatsPlane({ url: withUser(users.url, 'ipe:wrong') }), /authorization/i);
    const tokens = await started(startNats({ args: ['--auth', 'token1'] }));
    await expectWorks(openNatsPlane({ url: withUser(tokens.url, 'token1') }));
  });

  test('takes the seed of an nkey from a file', async () => {
    const { nkeys } = await import('@nats-io/transport-node');
    const pair = nkeys.createUser();
    const directory = await folder();
    const config = join(directory, 'nats.conf');
    const credentialsFile = join(directory, 'seed');
    await writeFile(config, `authorization { users: [{ nkey: ${pair.getPublicKey()} }] }`);
    await writeFile(credentialsFile, `${new TextDecoder().decode(pair.getSeed())}\n`);
    const broker = await started(startNats({ args: ['-c', config] }));
    await expectWorks(openNatsPlane({ url: broker.url, credentialsFile }));
    await expectRefused(openNatsPlane({ url: broker.url }), /authorization/i);
  });

  test('is spoken to over TLS, with certificates on both sides', async () => {
    const tls = makeBrokerTls(await folder());
    const broker = await started(startNats({ tls }));
    await expectWorks(openNatsPlane({ url: broker.url, tls }));
    await expectRefused(openNatsPlane({ url: broker.url, tls: { caFile: tls.caFile } }), /./);
    await expectRefused(openNatsPlane({ url: broker.url }), /certificate|issuer|self/i);
  });
});

describe.skipIf(missingBroker('redis') !== undefined)('Redis', () => {
  test('takes user and password from the URL, needs no more rights than its own keys, and refuses others', async () => {
    const rights = ['~ipe:*', '&data-json.*', '+@stream', '+@connection', '+exists', '+publish'];
    const broker = await started(
      startRedis({ args: ['--user', 'ipe', 'on', '>s/cret', ...rights, '--user', 'default', 'off'] }),
    );
    await expectWorks(openRedisPlane({ url: withUser(broker.url, 'ipe:s%2Fcret') }));
    await expectRefused(openRedisPlane({ url: withUser(broker.url, 'ipe:wrong') }), /WRONGPASS/);
    await expectRefused(openRedisPlane({ url: broker.url }), /NOAUTH|WRONGPASS/);
  });

  test('is spoken to over TLS, with certificates on both sides', async () => {
    const tls = makeBrokerTls(await folder());
    const broker = await started(startRedis({ tls }));
    await expectWorks(openRedisPlane({ url: broker.url, tls }));
    await expectRefused(openRedisPlane({ url: broker.url }), /certificate|issuer|self/i);
  });
});

/** The mock cluster speaks neither TLS nor SASL: only what the client is told is checked. */
describe('Kafka', () => {
  test('is given the hosts, TLS and the SASL mechanism that the URL says', () => {
    expect(kafkaConnection({ url: 'kafka://a:9092,b:9092' })).toEqual({ brokers: ['a:9092', 'b:9092'] });
    expect(kafkaConnection({ url: 'kafkas://ipe:s%2Fcret@a:9093?mechanism=scram-sha-512' })).toEqual({
      brokers: ['a:9093'],
      ssl: true,
      sasl: { mechanism: 'scram-sha-512', username: 'ipe', password: 's/cret' },
    });
    expect(() => kafkaConnection({ url: 'kafka://u:p@a?mechanism=none' })).toThrow(/no SASL mechanism `none`/);
  });
});

test('an address that cannot be read is refused without showing its password', () => {
  expect(() => parseBrokerUrl('nats//u:secret@h')).toThrow(/nats\/\/…@h/);
});
