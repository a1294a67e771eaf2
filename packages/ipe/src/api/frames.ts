import { isUtf8 } from 'node:buffer';
import { IpeError } from '@ipe/core';

/** One frame of an event stream, as a client sent it. */
export interface Frame {
  /** `event:`, empty where there is none. */
  readonly event: string;
  readonly id: string | undefined;
  /** `data:` lines joined by line feeds. */
  readonly data: string;
}

const lineFeed = 0x0a;
const space = 0x20;
const colon = 0x3a;

/**
 * Cuts the bytes of a `text/event-stream` (HTML standard, "Interpreting an event stream") into frames as they come.
 * Lines end in LF or CRLF. Comments and unknown fields are passed over; a frame without `event` and `data` is none.
 *
 * Whole lines are turned into text at once, a chunk at a time: a buffer for every line would be most of the cost of a
 * small request.
 */
export class FrameReader {
  readonly #maxBytes: number;
  /** The line that has not ended yet. */
  #rest: Buffer[] = [];
  #restBytes = 0;
  /** Of the frame that has not ended yet. */
  #frameBytes = 0;
  #event = '';
  #id: string | undefined;
  #data: string | undefined;

  /** @param maxBytes largest frame, its field names included. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Takes the next bytes and hands out every frame they complete.
   * @throws IpeError `too_large` for a frame over the limit, `parse_error` for what is not UTF-8; the stream is of no use
   *   afterwards.
   */
  push(chunk: Buffer, take: (frame: Frame) => void): void {
    const end = chunk.lastIndexOf(lineFeed) + 1;
    if (end > 0) {
      const whole = chunk.subarray(0, end);
      const lines = this.#restBytes === 0 ? whole : Buffer.concat([...this.#rest, whole]);
      this.#rest = [];
      this.#restBytes = 0;
      if (!isUtf8(lines)) throw new IpeError('parse_error', 'the event stream is not UTF-8');
      this.#takeLines(lines.toString('utf8'), take);
    }
    if (end === chunk.length) return;
    this.#rest.push(end === 0 ? chunk : Buffer.from(chunk.subarray(end)));
    this.#restBytes += chunk.length - end;
    if (this.#frameBytes + this.#restBytes > this.#maxBytes) throw this.#tooLarge();
  }

  #takeLines(text: string, take: (frame: Frame) => void): void {
    for (let from = 0; from < text.length; ) {
      const feed = text.indexOf('\n', from);
      const end = text.charCodeAt(feed - 1) === 0x0d && feed > from ? feed - 1 : feed;
      if (end === from) this.#endFrame(take);
      else this.#takeLine(text, from, end);
      from = feed + 1;
    }
  }

  #takeLine(text: string, from: number, end: number): void {
    const size = end - from + 1;
    // A UTF-16 unit is at most three bytes: measured only where it could matter.
    this.#frameBytes += size * 3 > this.#maxBytes ? Buffer.byteLength(text.slice(from, end)) + 1 : size;
    if (this.#frameBytes > this.#maxBytes) throw this.#tooLarge();
    const data = fieldValue(text, 'data', from, end);
    if (data !== undefined) {
      this.#data = this.#data === undefined ? data : `${this.#data}\n${data}`;
      return;
    }
    const event = fieldValue(text, 'event', from, end);
    if (event !== undefined) this.#event = event;
    else this.#id = fieldValue(text, 'id', from, end) ?? this.#id;
  }

  #endFrame(take: (frame: Frame) => void): void {
    const frame = { event: this.#event, id: this.#id, data: this.#data ?? '' };
    const isEmpty = this.#event === '' && this.#data === undefined;
    this.#event = '';
    this.#id = undefined;
    this.#data = undefined;
    this.#frameBytes = 0;
    if (!isEmpty) take(frame);
  }

  #tooLarge(): IpeError {
    return new IpeError('too_large', `an event-stream frame has at most ${this.#maxBytes} bytes`, {
      details: { limit: this.#maxBytes, unit: 'bytes' },
    });
  }
}

/** The value of the field `name` where the line from `from` to `end` is one; what follows the line is never looked at. */
function fieldValue(text: string, name: string, from: number, end: number): string | undefined {
  const nameEnd = from + name.length;
  if (nameEnd > end || !text.startsWith(name, from)) return undefined;
  if (nameEnd === end) return '';
  if (text.charCodeAt(nameEnd) !== colon) return undefined;
  return text.slice(text.charCodeAt(nameEnd + 1) === space ? nameEnd + 2 : nameEnd + 1, end);
}

/** One frame as text. JSON holds no raw line break, so `data` is always one line. */
export function encodeFrame(event: string, id: string | undefined, data: unknown): string {
  const idLine = id === undefined ? '' : `id: ${id}\n`;
  return `event: ${event}\n${idLine}data: ${JSON.stringify(data)}\n\n`;
}
