import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openKafkaFront } from './kafka-front.ts';
import type { Place } from './network/network.ts';

/** A broker process that a test started on a port of its own. */
export interface Broker {
  /** How the test reaches it. */
  readonly url: string;
  readonly port: number;
  readonly pid: () => number | undefined;
  /** kill -9. */
  kill(): Promise<void>;
  /** Starts it again on the same port with what it had on disk. */
  restart(): Promise<void>;
  /** Starts it again on the same port with nothing. */
  restartEmpty(): Promise<void>;
  close(): Promise<void>;
}

/** Programs that tests of brokers need, and the Debian packages that hold them. */
export const brokerPrograms = { nats: 'nats-server', redis: 'redis-server', kafka: 'kcat' } as const;

/** Why a broker cannot be started here, or undefined when it can. */
export function missingBroker(kind: keyof typeof brokerPrograms): string | undefined {
  try {
    execFileSync('sh', ['-c', `PATH="$PATH:/usr/sbin:/sbin" command -v ${brokerPrograms[kind]}`], { stdio: 'ignore' });
    return undefined;
  } catch {
    return `${brokerPrograms[kind]} is not installed: apt-get install ${brokerPrograms[kind]}`;
  }
}

/** Where and how a broker runs, beside what every test wants of it. */
export interface BrokerOptions {
  /** Default: loopback. */
  readonly place?: Place;
  /** Arguments besides, such as a file of users. */
  readonly args?: readonly string[];
  /** Asks for TLS, and for a certificate of the same authority from every client. */
  readonly tls?: BrokerTls;
}

/** PEM files: an authority, and a certificate for `127.0.0.1` that comes from it. */
export interface BrokerTls {
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

/** Makes an authority and a certificate of it, for servers and clients alike, in a folder. */
export function makeBrokerTls(folder: string): BrokerTls {
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  const fresh = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  openssl('req', '-x509', ...fresh, '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=authority');
  const extensions = ['-addext', 'subjectAltName=IP:127.0.0.1', '-addext', 'basicConstraints=critical,CA:FALSE'];
  const signed = ['-CA', 'ca.crt', '-CAkey', 'ca.key', ...extensions, '-subj', '/CN=broker'];
  openssl('req', '-x509', ...fresh, '-keyout', 'broker.key', '-out', 'broker.crt', ...signed);
  const at = (name: string) => join(folder, name);
  return { caFile: at('ca.crt'), certFile: at('broker.crt'), keyFile: at('broker.key') };
}

/** A nats-server with JetStream. */
export function startNats(options: BrokerOptions = {}): Promise<Broker> {
  return startBroker(options, {
    scheme: options.tls ? 'tls' : 'nats',
    command: (host, port, directory) => [
      ...['nats-server', '-a', host, '-p', String(port), '-js', '-sd', directory],
      ...(options.tls ? ['--tlsverify', '--tlscacert', options.tls.caFile, '--tlscert', options.tls.certFile] : []),
      ...(options.tls ? ['--tlskey', options.tls.keyFile] : []),
    ],
    ready: /Server is ready/,
  });
}

/** A redis-server that appends every write to its log. */
export function startRedis(options: BrokerOptions = {}): Promise<Broker> {
  return startBroker(options, {
    scheme: options.tls ? 'rediss' : 'redis',
    command: (host, port, directory) => [
      ...['redis-server', '--bind', host, '--dir', directory, '--protected-mode', 'no'],
      ...(options.tls ? ['--port', '0', '--tls-port', String(port)] : ['--port', String(port)]),
      ...(options.tls ? ['--tls-ca-cert-file', options.tls.caFile, '--tls-cert-file', options.tls.certFile] : []),
      ...(options.tls ? ['--tls-key-file', options.tls.keyFile] : []),
      ...['--appendonly', 'yes', '--appendfsync', 'always', '--save', '', '--enable-debug-command', 'local'],
    ],
    ready: /Ready to accept connections/,
  });
}

/** librdkafka's mock cluster of one broker, in memory, on a port that it chooses: it cannot be restarted in place. */
export async function startKafka(): Promise<Broker> {
  const { child, port } = await startKafkaMock();
  const url = `kafka://127.0.0.1:${port}`;
  const cannot = () => Promise.reject(new Error('the mock cluster chooses a new port at each start'));
  const kill = () => end(child);
  return { url, port, pid: () => child.pid, kill, restart: cannot, restartEmpty: cannot, close: kill };
}

/**
 * The same behind a listener that stays, so that it can be started again, without what it had, and its connections cut.
 * @param advertised given the listener's port, the port at which clients are to reach it
 */
export async function startKafkaBehindFront(advertised: (port: number) => Promise<number>): Promise<Broker> {
  const front = await openKafkaFront();
  front.advertise(await advertised(front.port));
  let mock = await startKafkaMock();
  front.lead(mock.port);
  const kill = async () => {
    front.lead(undefined);
    await end(mock.child);
  };
  return {
    url: `kafka://127.0.0.1:${front.port}`,
    port: front.port,
    pid: () => mock.child.pid,
    kill,
    restart: () => Promise.reject(new Error('the mock cluster keeps nothing on disk')),
    restartEmpty: async () => {
      await kill();
      mock = await startKafkaMock();
      front.lead(mock.port);
    },
    close: async () => {
      await kill();
      front.close();
    },
  };
}

async function startKafkaMock(): Promise<{ readonly child: ChildProcess; readonly port: number }> {
  const child = spawn('kcat', ['-P', '-t', 'boot', '-b', 'mock', '-X', 'test.mock.num.brokers=1', '-d', 'mock'], {
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  const match = await waitForOutput(child, /127\.0\.0\.1:(\d+)|localhost:(\d+)/);
  return { child, port: Number(match[1] ?? match[2]) };
}

async function startBroker(
  { place, args = [] }: BrokerOptions,
  recipe: {
    scheme: string;
    command: (host: string, port: number, directory: string) => string[];
    ready: RegExp;
  },
): Promise<Broker> {
  const port = await freePort();
  const host = place?.host ?? '127.0.0.1';
  const directories: string[] = [];
  let child: ChildProcess | undefined;
  const freshDirectory = async () => {
    const directory = await mkdtemp(join(tmpdir(), 'ipe-broker-'));
    directories.push(directory);
    return directory;
  };
  const start = async (directory: string) => {
    const command = [...recipe.command(host, port, directory), ...args];
    const [program, ...rest] = place?.wrap(command) ?? command;
    child = spawn(program!, rest, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` },
    });
    if (child.pid !== undefined) place?.owns(child.pid);
    await waitForOutput(child, recipe.ready);
  };
  let current = await freshDirectory();
  await start(current);
  return {
    url: `${recipe.scheme}://${host}:${port}`,
    port,
    pid: () => child?.pid,
    kill: () => end(child),
    restart: async () => {
      await end(child);
      await start(current);
    },
    restartEmpty: async () => {
      await end(child);
      current = await freshDirectory();
      await start(current);
    },
    close: async () => {
      await end(child);
      for (const directory of directories) await rm(directory, { recursive: true, force: true });
    },
  };
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

/** Resolves with the first match in what a process prints; rejects when it ends first, with what it said. */
function waitForOutput(child: ChildProcess, pattern: RegExp): Promise<RegExpExecArray> {
  return new Promise((resolve, reject) => {
    let text = '';
    const read = (chunk: Buffer) => {
      text += chunk.toString();
      const match = pattern.exec(text);
      if (match) {
        child.off('exit', ended);
        resolve(match);
      }
    };
    const ended = () => reject(new Error(`${child.spawnfile} ended before it was ready: ${text.slice(-2_000)}`));
    child.stdout?.on('data', read);
    child.stderr?.on('data', read);
    child.once('error', reject);
    child.once('exit', ended);
  });
}

/** A port that nobody listens on at this moment. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
