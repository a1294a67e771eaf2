import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { openKafkaFront } from './kafka-front.ts';

const cleanups: (() => unknown)[] = [];
afterEach(() => {
  for (const clean of cleanups.splice(0).reverse()) clean();
});

const portOf = (port: number) => Buffer.from([port >> 24, (port >> 16) & 255, (port >> 8) & 255, port & 255]);
const answerNaming = (port: number) => {
  const body = Buffer.concat([Buffer.from('id'), Buffer.from([0, 9]), Buffer.from('127.0.0.1'), portOf(port)]);
  return Buffer.concat([portOf(body.length), body]);
};

/** A broker that answers every chunk with its own address, byte by byte where asked. */
async function startBroker(isSlow: boolean): Promise<number> {
  const server = createServer((socket) => {
    cleanups.push(() => socket.destroy());
    socket.on('data', () => {
      const answer = answerNaming((server.address() as AddressInfo).port);
      for (const byte of isSlow ? answer : []) socket.write(Buffer.from([byte]));
      if (!isSlow) socket.write(Buffer.concat([answer, answer]));
    });
  });
  cleanups.push(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function dial(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  cleanups.push(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

async function read(socket: Socket, length: number): Promise<Buffer> {
  let bytes = Buffer.alloc(0);
  while (bytes.length < length) bytes = Buffer.concat([bytes, ...((await once(socket, 'data')) as Buffer[])]);
  return bytes;
}

test.each([
  ['whole, several at once', false, 2],
  ['in pieces', true, 1],
])("answers name the advertised port in place of the broker's: %s", async (_, isSlow, times) => {
  const front = await openKafkaFront();
  cleanups.push(() => front.close());
  front.lead(await startBroker(isSlow));
  front.advertise(4_321);
  const socket = await dial(front.port);
  socket.write('ask');
  const expected = Buffer.concat(Array.from({ length: times }, () => answerNaming(4_321)));
  expect(await read(socket, expected.length)).toEqual(expected);
});

test('connections end where there is no broker, and lead to the next one when there is', async () => {
  const front = await openKafkaFront();
  cleanups.push(() => front.close());
  front.lead(await startBroker(true));
  const first = await dial(front.port);
  first.write('ask');
  await read(first, 1);
  const ended = once(first, 'close');
  front.lead(undefined);
  await ended;
  await once(await dial(front.port), 'close');
  front.lead(await startBroker(true));
  const again = await dial(front.port);
  again.write('ask');
  const answer = answerNaming(front.port);
  expect(await read(again, answer.length)).toEqual(answer);
});
