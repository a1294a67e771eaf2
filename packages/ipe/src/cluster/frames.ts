import { IpeError } from '@ipe/core';

/** What a frame is for. Numbers are on the wire and never reused. */
export const frameKinds = {
  message: 1,
  request: 2,
  response: 3,
  error: 4,
  chunk: 5,
  end: 6,
  cancel: 7,
  ping: 8,
  pong: 9,
} as const;
export type FrameKind = (typeof frameKinds)[keyof typeof frameKinds];

/** One unit on a peer link: `u32 length | u8 kind | u32 request id | u8 name length | name | body`. */
export interface Frame {
  readonly kind: FrameKind;
  /** Pairs answers with requests; 0 where nothing is answered. */
  readonly id: number;
  /** Handler the frame is for; empty on answers. ASCII, at most 255 bytes. */
  readonly name: string;
  readonly body: Uint8Array;
}

/** Largest frame that is sent or read. Larger payloads are streamed in chunks. */
export const frameBytesMax = 16 * 1024 * 1024;

const headBytes = 4 + 1 + 4 + 1;
const knownKinds = new Set<number>(Object.values(frameKinds));

/** Encodes a frame into one new buffer. @throws IpeError `too_large` when the body does not fit. */
export function encodeFrame(frame: Frame): Buffer {
  const nameBytes = Buffer.from(frame.name, 'latin1');
  if (nameBytes.length > 255) throw new TypeError('frame name is longer than 255 bytes');
  const length = headBytes - 4 + nameBytes.length + frame.body.length;
  if (length > frameBytesMax) {
    throw new IpeError('too_large', `a frame of ${length} bytes is over the limit of ${frameBytesMax}`);
  }
  const buffer = Buffer.allocUnsafe(4 + length);
  buffer.writeUInt32BE(length, 0);
  buffer.writeUInt8(frame.kind, 4);
  buffer.writeUInt32BE(frame.id, 5);
  buffer.writeUInt8(nameBytes.length, 9);
  buffer.set(nameBytes, headBytes);
  buffer.set(frame.body, headBytes + nameBytes.length);
  return buffer;
}

/**
 * Cuts a byte stream into frames. Holds at most one incomplete frame; `limitBytes` bounds it, so a peer that is not yet
 * trusted can be given a small one.
 */
export class FrameReader {
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  limitBytes: number;

  constructor(limitBytes = frameBytesMax) {
    this.limitBytes = limitBytes;
  }

  /**
   * Takes the next bytes and returns the frames that are now complete; bodies are views that the caller owns.
   * @throws IpeError `invalid_request` or `too_large`; the stream cannot be read further.
   */
  push(bytes: Buffer): Frame[] {
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
    const frames: Frame[] = [];
    for (;;) {
      if (this.#pendingBytes < 4) return frames;
      const length = this.#peekLength();
      if (length < headBytes - 4)
        throw new IpeError('invalid_request', `a frame claims ${length} bytes, too few for its head`);
      if (length > this.limitBytes) {
        throw new IpeError('too_large', `a frame of ${length} bytes is over the limit of ${this.limitBytes}`);
      }
      if (this.#pendingBytes < 4 + length) return frames;
      frames.push(decode(this.#take(4 + length)));
    }
  }

  #peekLength(): number {
    const first = this.#pending[0]!;
    if (first.length >= 4) return first.readUInt32BE(0);
    this.#pending = [Buffer.concat(this.#pending)];
    return this.#pending[0]!.readUInt32BE(0);
  }

  #take(length: number): Buffer {
    const all = this.#pending.length === 1 ? this.#pending[0]! : Buffer.concat(this.#pending);
    const rest = all.subarray(length);
    this.#pending = rest.length > 0 ? [rest] : [];
    this.#pendingBytes = rest.length;
    return all.subarray(0, length);
  }
}

function decode(buffer: Buffer): Frame {
  const kind = buffer.readUInt8(4);
  if (!knownKinds.has(kind)) throw new IpeError('invalid_request', `unknown frame kind ${kind}`);
  const nameLength = buffer.readUInt8(9);
  if (headBytes + nameLength > buffer.length) throw new IpeError('invalid_request', 'a frame ends inside its name');
  return {
    kind: kind as FrameKind,
    id: buffer.readUInt32BE(5),
    name: buffer.toString('latin1', headBytes, headBytes + nameLength),
    body: buffer.subarray(headBytes + nameLength),
  };
}
