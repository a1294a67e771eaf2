import { isUtf8 } from 'node:buffer';
import { setImmediate } from 'node:timers/promises';
import { IpeError } from '@ipe/core';
import { parseJsonText, refuseProto, tooDeep } from './json.ts';

/** How text is cut. */
export interface JsonSliceOptions {
  /** Characters parsed before other work gets its turn. Default 65,536. */
  readonly sliceChars?: number;
  /** Lets other work run. Default `setImmediate`. */
  readonly breathe?: () => Promise<unknown>;
}

/** Bodies from this size on are parsed in slices: what is smaller takes a millisecond or two. */
export const largeJsonBytes = 262_144;

/** Levels at which lists and objects are taken apart: a request, its parameters, their lists, and what is in those. */
const levelsCut = 4;

/**
 * As `parseJson`, for large bodies: other work goes on between slices. A list or object longer than a slice is taken
 * apart into runs of whole members, each of which the engine's own parser reads.
 *
 * @throws IpeError as `parseJson` does
 */
export async function parseLargeJson(
  bytes: Uint8Array,
  maxDepth: number,
  options: JsonSliceOptions = {},
): Promise<unknown> {
  if (!isUtf8(bytes)) throw new IpeError('parse_error', 'the body is not UTF-8');
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
  const { sliceChars = 65_536, breathe = setImmediate } = options;
  await breathe();
  const marks = await findMarks(text, maxDepth, sliceChars, breathe);
  try {
    return await new SlicedText(text, marks, sliceChars, breathe).parse();
  } catch (error) {
    // What is wrong, and where, is told best by the parser of the whole.
    if (error instanceof SyntaxError) return parseJsonText(text, maxDepth);
    throw error;
  }
}

/** Places of brackets and commas in the upper levels of a text. */
interface Marks {
  readonly at: readonly number[];
  /** For a mark that opens: which mark closes it. */
  readonly closes: readonly number[];
}

const code = { quote: 0x22, comma: 0x2c, list: 0x5b, backslash: 0x5c, listEnd: 0x5d, object: 0x7b, objectEnd: 0x7d };

/** @throws IpeError `too_large` for what is nested deeper than `maxDepth`; `SyntaxError` for brackets that do not match */
async function findMarks(
  text: string,
  maxDepth: number,
  sliceChars: number,
  breathe: () => Promise<unknown>,
): Promise<Marks> {
  const at: number[] = [];
  const closes: number[] = [];
  const open: number[] = [];
  let depth = 0;
  let restAt = 4 * sliceChars;
  for (let i = 0; i < text.length; i++) {
    if (i >= restAt) {
      restAt = i + 4 * sliceChars;
      await breathe();
    }
    const char = text.charCodeAt(i);
    if (char === code.quote) {
      i = endOfString(text, i);
    } else if (char === code.object || char === code.list) {
      if (++depth > maxDepth) throw tooDeep(maxDepth);
      if (depth <= levelsCut) open.push(at.push(i) - 1);
    } else if (char === code.objectEnd || char === code.listEnd) {
      if (depth-- <= levelsCut) {
        const opened = open.pop();
        if (opened !== undefined) closes[opened] = at.push(i) - 1;
      }
    } else if (char === code.comma && depth <= levelsCut) at.push(i);
  }
  return { at, closes };
}

function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let before = end - 1;
    while (text.charCodeAt(before) === code.backslash) before--;
    if ((end - before) % 2 === 1) return end;
  }
  return text.length;
}

class SlicedText {
  readonly #text: string;
  readonly #marks: Marks;
  readonly #sliceChars: number;
  readonly #breathe: () => Promise<unknown>;
  readonly #mayNameProto: boolean;
  #parsed = 0;

  constructor(text: string, marks: Marks, sliceChars: number, breathe: () => Promise<unknown>) {
    this.#text = text;
    this.#marks = marks;
    this.#sliceChars = sliceChars;
    this.#breathe = breathe;
    this.#mayNameProto = text.includes('__proto__') || text.includes('\\u');
  }

  async parse(): Promise<unknown> {
    const { at, closes } = this.#marks;
    const close = closes[0];
    if (close === undefined) return this.#small(this.#text);
    this.#blank(0, at[0]!);
    this.#blank(at[close]! + 1, this.#text.length);
    return this.#container(0);
  }

  /** The list or object that the mark opens. */
  async #container(mark: number): Promise<unknown> {
    const { at, closes } = this.#marks;
    const start = at[mark]!;
    const close = closes[mark];
    if (close === undefined) throw new SyntaxError('not closed');
    const end = at[close]!;
    const isList = this.#text.charCodeAt(start) === code.list;
    if (isList !== (this.#text.charCodeAt(end) === code.listEnd)) throw new SyntaxError('closed by another bracket');
    if (end - start < this.#sliceChars) return this.#small(this.#text.slice(start, end + 1));
    const into: unknown[] | Record<string, unknown> = isList ? [] : {};
    let run = start + 1;
    let member = start + 1;
    for (let m = mark + 1; ; m++) {
      // Over what the member holds, to the comma or bracket that ends it.
      let long: number | undefined;
      for (let closing = closes[m]; closing !== undefined; closing = closes[m]) {
        if (at[closing]! - at[m]! >= this.#sliceChars) long = m;
        m = closing + 1;
      }
      const place = at[m]!;
      if (long !== undefined) {
        if (member > run) await this.#run(run, member - 1, into);
        await this.#longMember(member, long, place, into);
        run = place + 1;
      } else if (m === close || place - run >= this.#sliceChars) {
        await this.#run(run, place, into);
        run = place + 1;
      }
      if (m === close) return into;
      member = place + 1;
    }
  }

  /** Members from `from` to `to`, which are whole: between two commas, or between one and a bracket. */
  async #run(from: number, to: number, into: unknown[] | Record<string, unknown>): Promise<void> {
    const members = this.#text.slice(from, to);
    if (members.trim() === '') throw new SyntaxError('a member is missing');
    if (Array.isArray(into)) for (const each of (await this.#small(`[${members}]`)) as unknown[]) into.push(each);
    else Object.assign(into, await this.#small(`{${members}}`));
  }

  /** A member whose value, from `mark` on, is too long for a run. */
  async #longMember(from: number, mark: number, to: number, into: unknown[] | Record<string, unknown>): Promise<void> {
    const { at, closes } = this.#marks;
    this.#blank(at[closes[mark]!]! + 1, to);
    const before = this.#text.slice(from, at[mark]!);
    if (Array.isArray(into)) {
      this.#blank(from, at[mark]!);
      into.push(await this.#container(mark));
      return;
    }
    const [name, ...more] = Object.keys((await this.#small(`{${before}null}`)) as object);
    if (name === undefined || more.length > 0) throw new SyntaxError('a member has no name');
    into[name] = await this.#container(mark);
  }

  async #small(text: string): Promise<unknown> {
    this.#parsed += text.length;
    if (this.#parsed >= 4 * this.#sliceChars) {
      this.#parsed = 0;
      await this.#breathe();
    }
    const value: unknown = JSON.parse(text);
    if (this.#mayNameProto) refuseProto(value);
    return value;
  }

  #blank(from: number, to: number): void {
    if (this.#text.slice(from, to).trim() !== '') throw new SyntaxError('something stands between two members');
  }
}
