import { ByteReader, type ByteWriter, malformed } from './codec.ts';
import { dotsTag, dotText, type Sources } from './dot.ts';
import { isTombstone, liveDots, resolve, type View } from './resolve.ts';
import type { KeyState, Strategy } from './state.ts';
import { readState, writeState } from './state-codec.ts';

const format = 1;
const unparsed = Symbol('unparsed');

/**
 * A key as this instance holds it: its state, with what is local to the instance. Immutable to its readers; what is
 * derived (view, parsed value) is filled in at first use and kept.
 */
export class Cell {
  readonly state: KeyState | undefined;
  /** How many states the key has gone through here: its place in the history ring. */
  readonly revision: number;
  readonly #strategy: Strategy;
  #view: View | undefined;
  #value: unknown = unparsed;

  constructor(state: KeyState | undefined, revision: number, strategy: Strategy) {
    this.state = state;
    this.revision = revision;
    this.#strategy = strategy;
  }

  /** What the state reads as, expiry aside. Undefined where nobody wrote, or everything was purged. */
  get view(): View | undefined {
    const { state } = this;
    if (state === undefined) return undefined;
    // Made anew from a single version: that is cheap, and to keep it would add a third to the memory of a small fact.
    if (state.kind === 'version') return resolve(state, this.#strategy);
    this.#view ??= resolve(state, this.#strategy);
    return this.#view;
  }

  /** What readers see at a time: undefined for absent, deleted and expired. */
  seenAt(nowMs: number): View | undefined {
    const view = this.view;
    if (view === undefined || view.kind === 'absent' || (view.expiresMs !== 0 && view.expiresMs <= nowMs))
      return undefined;
    return view;
  }

  /** The kind of what readers see at a time; of a single version told without a view. */
  kindAt(nowMs: number): View['kind'] {
    const { state } = this;
    if (state?.kind !== 'version') return this.seenAt(nowMs)?.kind ?? 'absent';
    const { expiresMs } = state;
    return isTombstone(state) || (expiresMs !== 0 && expiresMs <= nowMs) ? 'absent' : 'value';
  }

  /** The parsed value: shared by all readers and never to be written to. Bytes come as `Uint8Array`. */
  get value(): unknown {
    if (this.#value === unparsed) {
      const shown = this.state?.kind === 'version' ? this.state : this.view;
      this.#value = shown?.json !== undefined ? JSON.parse(shown.json) : shown?.bytes;
    }
    return this.#value;
  }

  /** All values that stand side by side, parsed anew; readers are shown one of them, or their choice. */
  get values(): readonly unknown[] {
    if (this.state?.kind !== 'siblings') return this.value === undefined ? [] : [this.value];
    const puts = this.state.live.filter((version) => !isTombstone(version));
    return puts.map(({ json, bytes }) => (json === undefined ? bytes : JSON.parse(json)));
  }

  get etag(): string {
    return this.state === undefined ? '' : dotsTag(liveDots(this.state));
  }

  /** The writes that make up the state, as receipts name them. */
  get dots(): readonly string[] {
    return this.state === undefined ? [] : liveDots(this.state).map(dotText);
  }

  /** Rough bytes of memory, parsed value included. */
  get sizeBytes(): number {
    return this.state === undefined ? 64 : stateBytes(this.state);
  }
}

const absentCells = new WeakMap<Strategy, Cell>();

/** The cell of a key that holds nothing: one for all of them. */
export function absentCell(strategy: Strategy): Cell {
  let cell = absentCells.get(strategy);
  if (cell === undefined) absentCells.set(strategy, (cell = new Cell(undefined, 0, strategy)));
  return cell;
}

/** Rough bytes of memory that a state takes. */
export function stateBytes(state: KeyState): number {
  switch (state.kind) {
    case 'version':
      return 288 + contentBytes(state);
    case 'siblings':
      return state.live.reduce((sum, version) => sum + 256 + contentBytes(version), 160 + state.context.length * 64);
    case 'counter':
      return 224 + state.totals.length * 128;
    case 'members':
      return state.members.reduce(
        (sum, { member, live, context }) => sum + 160 + member.length * 2 + live.length * 112 + context.length * 64,
        192,
      );
  }
}

/** Text and parsed form of JSON are counted as thrice the text: small objects cost more than their text. */
const contentBytes = (version: { json: string | undefined; bytes: Uint8Array | undefined }) =>
  version.json !== undefined ? version.json.length * 3 : (version.bytes?.length ?? 0) + 64;

/** Row of a cell in `live` (and, behind a time, in `versions`). The cell must have a state. */
export function encodeCell(cell: Cell, out: ByteWriter): Uint8Array {
  out.u8(format);
  out.uint(cell.revision);
  writeState(out, cell.state!);
  return out.take();
}

/** @throws IpeError `corrupt` */
export function decodeCell(bytes: Uint8Array, sources: Sources, strategy: Strategy): Cell {
  const input = new ByteReader(bytes, sources);
  const cell = readCell(input, strategy);
  input.end();
  return cell;
}

export function readCell(input: ByteReader, strategy: Strategy): Cell {
  if (input.u8() !== format) throw malformed('an unknown row format');
  const revision = input.uint();
  return new Cell(readState(input), revision, strategy);
}
