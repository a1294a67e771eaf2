import { Duplex } from 'node:stream';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { encodeFrame, type Frame, FrameReader, frameKinds } from './frames.ts';
import { PeerLink } from './link.ts';

/** A link over a socket whose other end is the test: what was sent, and a way to answer. */
function open() {
  const sent: Frame[] = [];
  const reader = new FrameReader();
  let waiting: () => void = () => {};
  const socket = new Duplex({
    read() {},
    write(bytes: Buffer, _, done) {
      sent.push(...reader.push(bytes));
      waiting();
      done();
    },
  });
  const link = new PeerLink(socket, { fingerprint: 'ab', handlers: new Map() });
  return {
    link,
    sent,
    /** Bytes of the peer, taken by the link when this resolves. */
    async receive(bytes: Buffer) {
      const taken = new Promise((resolve) => socket.once('data', resolve));
      socket.push(bytes);
      await taken;
    },
    sentSoFar: (count: number) =>
      new Promise<void>((resolve) => {
        waiting = () => {
          if (sent.length >= count) resolve();
        };
        waiting();
      }),
  };
}

const frame = (kind: Frame['kind'], body = '') => encodeFrame({ kind, id: 1, name: '', body: Buffer.from(body) });

afterEach(() => {
  vi.useRealTimers();
});

describe('heartbeats', () => {
  test('are sent only where nothing was heard since the last, not even a part of a frame', async () => {
    const { link, sent, receive } = open();
    expect(link.beat()).toBe(0);
    expect(sent.map(({ kind }) => kind)).toEqual([frameKinds.ping]);
    await receive(frame(frameKinds.message).subarray(0, 5));
    expect(link.beat()).toBe(0);
    expect(sent).toHaveLength(1);
    expect(link.beat()).toBe(0);
    expect(sent).toHaveLength(2);
  });

  test('in a row that nothing answers are counted, and an answer ends the count', async () => {
    const { link, receive } = open();
    expect([link.beat(), link.beat(), link.beat(), link.beat()]).toEqual([0, 1, 2, 3]);
    await receive(frame(frameKinds.pong));
    expect([link.beat(), link.beat(), link.beat()]).toEqual([0, 0, 1]);
  });
});

describe('requests', () => {
  test('that are not answered in time are given up, and the peer is told', async () => {
    const { link, sent, sentSoFar } = open();
    const error = await link.request('wait', new Uint8Array(), { timeoutMs: 1 }).catch((thrown) => thrown);
    expect(error.reason).toBe('unavailable');
    expect(error.cause.message).toBe('no answer within 1 ms');
    await sentSoFar(2);
    expect(sent.map(({ kind }) => kind)).toEqual([frameKinds.request, frameKinds.cancel]);
  });

  test('that are answered in time leave no timer behind', async () => {
    const { link, receive } = open();
    vi.useFakeTimers();
    const answer = link.request('echo', new Uint8Array(), { timeoutMs: 3_600_000 });
    expect(vi.getTimerCount()).toBe(1);
    await receive(frame(frameKinds.response, 'hello'));
    expect(Buffer.from(await answer).toString()).toBe('hello');
    expect(vi.getTimerCount()).toBe(0);
  });
});
