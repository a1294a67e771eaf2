import type { IncomingMessage } from 'node:http';
import { IpeError } from '@ipe/core';

/** How much of a body that is already refused is still read, so that the client gets to see the answer. */
const lingerBytes = 64 * 1024 * 1024;
const lingerMs = 500;

const empty = Buffer.alloc(0);

/**
 * Reads a request's body whole.
 * @throws IpeError `too_large` beyond `maxBytes`, `invalid_request` when it does not arrive within `timeoutMs` or the
 *   client goes away in the middle.
 */
export function readBody(request: IncomingMessage, maxBytes: number, timeoutMs: number): Promise<Buffer> {
  const announced = request.headers['content-length'];
  if (announced === undefined && request.headers['transfer-encoding'] === undefined) return Promise.resolve(empty);
  if (announced === '0') return Promise.resolve(empty);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const stop = () => {
      clearTimeout(timer);
      request.off('data', take).off('end', finish).off('close', lost);
    };
    const fail = (error: IpeError) => {
      stop();
      void discard(request).then(() => reject(error));
    };
    const take = (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxBytes) fail(bodyTooLarge(maxBytes));
      else chunks.push(chunk);
    };
    const finish = () => {
      stop();
      resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, size));
    };
    const lost = () => {
      stop();
      reject(new IpeError('invalid_request', 'the client went away in the middle of its request'));
    };
    const timer = setTimeout(() => {
      stop();
      request.pause();
      reject(
        new IpeError('invalid_request', `the body did not arrive within ${timeoutMs} ms`, {
          details: { timeout_ms: timeoutMs },
        }),
      );
    }, timeoutMs);
    if (announced !== undefined && Number(announced) > maxBytes) fail(bodyTooLarge(maxBytes));
    else request.on('data', take).once('end', finish).once('close', lost);
  });
}

const bodyTooLarge = (maxBytes: number) =>
  new IpeError('too_large', `a request body has at most ${maxBytes} bytes`, {
    details: { limit: maxBytes, unit: 'bytes' },
  });

/** Throws away what is left of a body, up to a bound: closing earlier would reset the connection under the answer. */
export function discard(request: IncomingMessage): Promise<void> {
  if (request.complete || request.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    let left = lingerBytes;
    const done = () => {
      clearTimeout(timer);
      request.off('data', take).off('end', done).off('close', done);
      request.pause();
      resolve();
    };
    const take = (chunk: Buffer) => {
      left -= chunk.length;
      if (left < 0) done();
    };
    const timer = setTimeout(done, lingerMs);
    request.on('data', take).once('end', done).once('close', done);
  });
}

/** Media type of a `Content-Type` header without its parameters, lower case; empty where there is none. */
export function mediaType(header: string | undefined): string {
  if (header === undefined || header === 'application/json') return header ?? '';
  return header.split(';', 1)[0]!.trim().toLowerCase();
}
