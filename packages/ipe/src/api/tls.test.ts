import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { defaultLimits } from './limits.ts';
import { type Listener, listenTls } from './listen.ts';

let folder: string;
let listener: Listener | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ipe-'));
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  for (const ca of ['ca', 'stranger-ca'])
    openssl(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      `${ca}.key`,
      '-out',
      `${ca}.crt`,
      '-days',
      '2',
      '-subj',
      `/CN=${ca}`,
    );
  for (const [name, ca] of [
    ['server1', 'ca'],
    ['server2', 'ca'],
    ['client', 'ca'],
    ['stranger', 'stranger-ca'],
  ] as const) {
    openssl(
      'req',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.csr`,
      '-subj',
      `/CN=${name}`,
      '-addext',
      'subjectAltName=IP:127.0.0.1',
    );
    openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      '-CA',
      `${ca}.crt`,
      '-CAkey',
      `${ca}.key`,
      '-CAcreateserial',
      '-out',
      `${name}.crt`,
      '-days',
      '2',
      '-copy_extensions',
      'copy',
    );
  }
});
afterAll(async () => {
  await listener?.close();
  await rm(folder, { recursive: true, force: true });
});

const pem = (name: string) => readFile(join(folder, name));
const files = async (name: string, clientCa?: string) => ({
  cert: await pem(`${name}.crt`),
  key: await pem(`${name}.key`),
  ...(clientCa === undefined ? {} : { clientCa: await pem(clientCa) }),
});

/** The name in the server's certificate, or the error of a connection that was refused. */
async function connectAs(client?: string): Promise<string> {
  const [host, port] = listener!.address.split(':');
  const identity = client === undefined ? {} : { cert: await pem(`${client}.crt`), key: await pem(`${client}.key`) };
  const ca = await pem('ca.crt');
  return new Promise((resolve) => {
    const sent = request({ host, port, ca, agent: false, ...identity }, (response) => {
      const name = (response.socket as TLSSocket).getPeerCertificate().subject.CN;
      response.resume().once('end', () => resolve(String(name)));
    });
    sent.once('error', (error) => resolve(`refused: ${(error as NodeJS.ErrnoException).code}`));
    sent.end();
  });
}

test('only clients with a certificate of the configured authority get in, and new certificates are used without a restart', async () => {
  listener = await listenTls('127.0.0.1:0', await files('server1', 'ca.crt'), defaultLimits, (_, response) =>
    response.end('in'),
  );
  expect(await connectAs('client')).toBe('server1');
  expect(await connectAs()).toMatch(/^refused/);
  expect(await connectAs('stranger')).toMatch(/^refused/);
  listener.reload!(await files('server2', 'ca.crt'));
  expect(await connectAs('client')).toBe('server2');
  expect(await connectAs()).toMatch(/^refused/);
});

test('a certificate that does not fit its key is refused, and the one in use stays', async () => {
  const mixed = { cert: await pem('server1.crt'), key: await pem('client.key') };
  await expect(listenTls('127.0.0.1:0', mixed, defaultLimits, () => {})).rejects.toMatchObject({
    reason: 'invalid_params',
  });
  const before = await connectAs('client');
  expect(() => listener!.reload!(mixed)).toThrow(expect.objectContaining({ reason: 'invalid_params' }));
  expect(await connectAs('client')).toBe(before);
});
