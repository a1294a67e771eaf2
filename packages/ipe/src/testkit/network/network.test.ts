import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { afterEach, describe, expect, test } from 'vitest';
import { openTestNetwork, type Place, partition, rejoin, type TestNetwork } from './network.ts';

/** Listens on its first argument and says what it hears, or dials its second and repeats what it is told. */
const echo = `
const net = require('node:net');
const [what, host, port] = process.argv.slice(1);
if (what === 'listen') {
  const server = net.createServer((socket) => socket.on('data', (data) => { console.log(String(data)); socket.write('back'); }));
  server.listen(0, host, () => console.log(server.address().port));
} else {
  const socket = net.connect(Number(port), host, () => console.log('connected'));
  socket.on('data', (data) => console.log(String(data)));
  process.stdin.on('data', (data) => socket.write(data));
}`;

interface Running {
  readonly child: ChildProcess;
  line(): Promise<string>;
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
    return { child, line: async () => (await lines.next()).value as string };
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
    const say = (text: string) => client.child.stdin!.write(text);

    say('one');
    expect(await server.line()).toBe('one');
    expect(await client.line()).toBe('back');

    network.cut(b, a);
    say('two');
    expect(await server.line()).toBe('two');
    // The answer waits: it comes only now.
    const answer = client.line();
    const early = await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 150, 'nothing'))]);
    expect(early).toBe('nothing');
    network.mend(b, a);
    expect(await answer).toBe('back');

    partition(network, a, [b]);
    say('three');
    const heard = server.line();
    expect(await Promise.race([heard, new Promise((resolve) => setTimeout(resolve, 150, 'nothing'))])).toBe('nothing');
    rejoin(network, a, [b]);
    expect(await heard).toBe('three');
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
