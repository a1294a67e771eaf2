import { IpeError } from '@ipe/core';

/** One frame of an event stream, as a client sent it. */
export interface Frame {
  /** `event:`, empty where there is none. */
  readonly event: string;
  readonly id: string | undefined;
  /** `data:` lines joined by line feeds, as bytes. */
  readonly data: Uint8Array;
}

const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const emptyBytes = Buffer.alloc(0);

/**
 * Cuts the bytes of a `text/event-stream` (HTML standard, "Interpreting an event stream") into frames as they come.
 * Lines end in LF or CRLF. Comments and unknown fields are passed over; a frame without `event` and `data` is none.
 */
export class FrameReader {
  readonly #maxBytes: number;
  #line: Buffer[] = [];
  #lineBytes = 0;
  #frameBytes = 0;
  #event = '';
  #id: string | undefined;
  #data: Buffer[] = [];

  /** @param maxBytes largest frame, its field names included. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Takes the next bytes and hands out every frame they complete.
   * @throws IpeError `too_large` for a frame over the limit; the stream is of no use afterwards.
   */
  *push(chunk: Buffer): Generator<Frame> {
    for (let from = 0; from < chunk.length; ) {
      const end = chunk.indexOf(lineFeed, from);
      const upTo = end === -1 ? chunk.length : end;
      this.#frameBytes += upTo - from + 1;
      if (this.#frameBytes > this.#maxBytes)
        throw new IpeError('too_large', `an event-stream frame has at most ${this.#maxBytes} bytes`, {
          details: { limit: this.#maxBytes, unit: 'bytes' },
        });
      const piece = chunk.subarray(from, upTo);
      from = upTo + 1;
      if (end === -1) {
        this.#line.push(Buffer.from(piece));
        this.#lineBytes += piece.length;
        return;
      }
      const frame = this.#endLine(this.#lineBytes === 0 ? piece : Buffer.concat([...this.#line, piece]));
      if (frame !== undefined) yield frame;
    }
  }

  #endLine(raw: Buffer): Frame | undefined {
    this.#line = [];
    this.#lineBytes = 0;
    const line = raw.at(-1) === carriageReturn ? raw.subarray(0, -1) : raw;
    if (line.length === 0) return this.#endFrame();
    const colon = line.indexOf(0x3a);
    if (colon === 0) return undefined;
    const name = (colon === -1 ? line : line.subarray(0, colon)).toString('latin1');
    let value = colon === -1 ? emptyBytes : line.subarray(colon + 1);
    if (value[0] === 0x20) value = value.subarray(1);
    if (name === 'event') this.#event = value.toString('utf8');
    else if (name === 'id') this.#id = value.toString('utf8');
    else if (name === 'data') this.#data.push(value);
    return undefined;
  }

  #endFrame(): Frame | undefined {
    const [event, id, parts] = [this.#event, this.#id, this.#data];
    this.#event = '';
    this.#id = undefined;
    this.#data = [];
    this.#frameBytes = 0;
    if (event === '' && parts.length === 0) return undefined;
    const lines = parts.flatMap((part, i) => (i === 0 ? [part] : [Buffer.from('\n'), part]));
    return { event, id, data: lines.length === 1 ? lines[0]! : Buffer.concat(lines) };
  }
}

/** One frame as text. JSON holds no raw line break, so `data` is always one line. */
export function encodeFrame(event: string, id: string | undefined, data: unknown): string {
  const idLine = id === undefined ? '' : `id: ${id}\n`;
  return `event: ${event}\n${idLine}data: ${JSON.stringify(data)}\n\n`;
}
