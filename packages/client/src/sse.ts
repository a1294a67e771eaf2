/** One event of a `text/event-stream` body (WHATWG HTML §9.2.6). */
export interface SseEvent {
  /** `message` unless the sender named it. */
  readonly event: string;
  readonly data: string;
  /** The id of this event, absent where it carried none. */
  readonly id?: string;
}

/**
 * Takes the text of an event stream piece by piece, split anywhere, and calls `onEvent` for each complete event.
 * Comments and events without data are passed over, as the standard asks. State is what an unfinished event holds:
 * `maxEventLength` characters (default 16 Mi) bound it, beyond which `push` throws.
 */
export class SseParser {
  readonly #onEvent: (event: SseEvent) => void;
  readonly #maxEventLength: number;
  /** Unfinished line, and where the search for its end goes on. */
  #rest = '';
  #event = '';
  #data: string | undefined;
  #id: string | undefined;

  constructor(onEvent: (event: SseEvent) => void, maxEventLength = 16 * 1024 * 1024) {
    this.#onEvent = onEvent;
    this.#maxEventLength = maxEventLength;
  }

  push(text: string): void {
    const all = this.#rest === '' ? text : this.#rest + text;
    const hasCarriage = all.includes('\r');
    let start = 0;
    for (;;) {
      const end = lineEnd(all, start, hasCarriage);
      if (end === -1) break;
      this.#line(all.slice(start, end));
      start = all[end] === '\r' && all[end + 1] === '\n' ? end + 2 : end + 1;
    }
    this.#rest = start === 0 ? all : all.slice(start);
    if (this.#rest.length + (this.#data?.length ?? 0) > this.#maxEventLength)
      throw new RangeError(`an event is longer than ${this.#maxEventLength} characters`);
  }

  #line(line: string): void {
    if (line === '') {
      this.#dispatch();
      return;
    }
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (field === 'data') this.#data = this.#data === undefined ? value : `${this.#data}\n${value}`;
    else if (field === 'event') this.#event = value;
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
  }

  #dispatch(): void {
    const [event, data, id] = [this.#event, this.#data, this.#id];
    this.#event = '';
    this.#data = undefined;
    this.#id = undefined;
    if (data === undefined) return;
    this.#onEvent({ event: event === '' ? 'message' : event, data, ...(id === undefined ? {} : { id }) });
  }
}

/**
 * Where the line that begins at `from` ends; -1 when that is not known yet. A lone `\r` at the very end may be half of
 * `\r\n`, so it waits for the next piece.
 * @param hasCarriage whether there is a `\r` at all: looking for one to the end for every line would take quadratic time
 */
function lineEnd(text: string, from: number, hasCarriage: boolean): number {
  const newline = text.indexOf('\n', from);
  if (!hasCarriage) return newline;
  const carriage = text.indexOf('\r', from);
  if (carriage === -1 || (newline !== -1 && newline < carriage)) return newline;
  return carriage === text.length - 1 ? -1 : carriage;
}

/** Writes one event; `data` holds no line break (JSON has none), so it takes one line. */
export function encodeSse(event: string, id: string, data: string): string {
  return `event: ${event}\nid: ${id}\ndata: ${data}\n\n`;
}
