import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { afterEach, describe, expect, test } from 'vitest';
import { openTestNetwork, type Place, partition, rejoin, type TestNetwork } from './network.ts';

/**
 * `listen HOST` answers what it hears and then says it; `dial HOST PORT` repeats what it is told and says so. Lines on
 * standard input that begin with `!` are said without sending anything: whatever had come before is said before.
 */
const echo = `
const net = require('node:net');
const [what, host, port] = process.argv.slice(1);
const told = (send) => require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  if (!line.startsWith('!')) send(line);
  console.log(line);
});
if (what === 'listen') {
  const server = net.createServer((socket) => socket.on('data', (data) => { socket.write('back'); console.log(String(data)); }));
  server.listen(0, host, () => console.log(server.address().port));
  told(() => {});
} else {
  const socket = net.connect(Number(port), host, () => console.log('connected'));
  socket.on('data', (data) => console.log(String(data)));
  told((line) => socket.write(line));
}`;

interface Running {
  readonly child: ChildProcess;
  line(): Promise<string>;
  /** Tells it a line, and resolves when it has dealt with it; it says nothing else before. */
  tell(line: string): Promise<void>;
}

describe.each(['namespaces', 'proxies'] as const)('a network of %s', (kind) => {
  const cleanups: (() => unknown)[] = [];
  afterEach(async () => {
    for (const clean of cleanups.splice(0).reverse()) await clean();
  });

  const open = async (): Promise<TestNetwork | undefined> => {
    const network = await openTestNetwork(kind).catch(() => undefined);
    if (network) cleanups.push(() => network.close());
    return network;
  };
  const run = (place: Place, ...args: string[]): Running => {
    const [program, ...rest] = place.wrap([process.execPath, '-e', echo, ...args]);
    const child = spawn(program!, rest, { stdio: ['pipe', 'pipe', 'inherit'] });
    place.owns(child.pid!);
    cleanups.push(async () => {
      child.kill('SIGKILL');
      await once(child, 'exit');
    });
    const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    const line = async () => (await lines.next()).value as string;
    const tell = async (text: string) => {
      child.stdin!.write(`${text}\n`);
      expect(await line()).toBe(text);
    };
    return { child, line, tell };
  };

  test('cuts one way, both ways, and lets what waited pass when it is mended', async ({ skip }) => {
    const network = await open();
    if (network === undefined) return skip(`this user may not make ${kind}`);
    const [a, b] = [await network.place('a'), await network.place('b')];
    const server = run(b, 'listen', b.host);
    const address = await network.expose(b, Number(await server.line()));
    const [host, port] = address.split(':') as [string, string];
    const client = run(a, 'dial', host, port);
    expect(await client.line()).toBe('connected');

    await client.tell('one');
    expect(await server.line()).toBe('one');
    expect(await client.line()).toBe('back');

    network.cut(b, a);
    await client.tell('two');
    expect(await server.line()).toBe('two');
    // It was answered before it was said, and still the marker is there first: the answer waits.
    await client.tell('!marker');
    network.mend(b, a);
    expect(await client.line()).toBe('back');

    partition(network, a, [b]);
    await client.tell('three');
    await server.tell('!marker');
    rejoin(network, a, [b]);
    expect(await server.line()).toBe('three');
    expect(network.sentBytes(a)).toBeGreaterThanOrEqual('onetwothree'.length);
  });

  test('the test itself reaches a listener whatever is cut', async ({ skip }) => {
    const network = await open();
    if (network === undefined) return skip(`this user may not make ${kind}`);
    const [a, b] = [await network.place('a'), await network.place('b')];
    const server = run(b, 'listen', b.host);
    const address = await network.expose(b, Number(await server.line()));
    partition(network, b, [a]);
    const [host, port] = address.split(':') as [string, string];
    const socket = connect(Number(port), host);
    cleanups.push(() => socket.destroy());
    await once(socket, 'connect');
    socket.write('here');
    expect(await server.line()).toBe('here');
  });
});
