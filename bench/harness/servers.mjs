// Servers under measurement, each in a process of its own and reached over a unix socket.
import { fork, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { createClient as createIpeClient } from '@ipe/client';

/** A whole node with the given configuration text. `b` stops it at the end. */
export async function startIpe(b, configuration = '') {
  const directory = b.directory();
  const host = fork(new URL('node-host.mjs', import.meta.url), [directory, configuration], { execArgv: [] });
  b.defer(async () => {
    if (host.exitCode !== null) return;
    host.kill('SIGTERM');
    await once(host, 'exit');
  });
  const [message] = await Promise.race([
    once(host, 'message'),
    once(host, 'exit').then(() => {
      throw new Error('the node did not start');
    }),
  ]);
  return { ...message, pid: host.pid, directory: join(directory, 'state', 'data') };
}

export const hasRedis = spawnSync('redis-server', ['--version']).status === 0;

/** Redis with an append-only file synced `everysec` or `always`, without snapshots. */
export async function startRedis(b, appendfsync) {
  const directory = b.directory();
  const socket = join(directory, 'redis.sock');
  const options = {
    port: 0,
    unixsocket: socket,
    dir: directory,
    appendonly: 'yes',
    appendfsync,
    save: '',
    loglevel: 'warning',
  };
  const server = spawn(
    'redis-server',
    Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]),
    { stdio: 'ignore' },
  );
  b.defer(async () => {
    server.kill('SIGTERM');
    await once(server, 'exit');
  });
  // A dependency of the package that talks to Redis, not of the workspace.
  const { createClient } = createRequire(new URL('../../packages/ipe/package.json', import.meta.url))('redis');
  for (let attempt = 0; ; attempt++) {
    try {
      const client = await connected(b, createClient, socket);
      return { client, pid: server.pid, directory, connect: () => connected(b, createClient, socket) };
    } catch (error) {
      if (attempt >= 100) throw error;
      await pause(50);
    }
  }
}

async function connected(b, createClient, path) {
  const client = createClient({ socket: { path, reconnectStrategy: false } }).on('error', () => {});
  await client.connect();
  b.defer(() => client.close());
  return client;
}

/** A client of a node's data plane whose calls are pipelined over one event-stream session. */
export async function dataSession(b, { addresses, tokens }, options = {}) {
  const client = createIpeClient({ socket: addresses.data[0], token: tokens.service });
  b.defer(() => client.close());
  const session = await client.session({ maxInFlight: 512, ...options });
  b.defer(() => session.close());
  return session;
}

/** Bytes of all files under a directory. */
export function directoryBytes(directory) {
  let bytes = 0;
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) bytes += statSync(join(entry.parentPath, entry.name)).size;
  return bytes;
}

/** Seconds of processor time a process has used. */
export function cpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
