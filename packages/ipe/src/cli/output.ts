import picocolors from 'picocolors';
import type { Colors } from 'picocolors/types.js';
import type { CliIo } from './io.ts';

/** One node of a printed tree. */
export interface Branch {
  readonly label: string;
  readonly children: readonly Branch[];
}

/** Prints results: aligned tables and trees for people, JSON for programs, colour only on a terminal. */
export class Output {
  readonly #io: CliIo;
  readonly color: Colors;
  /** Colours of what goes to standard error. */
  readonly errorColor: Colors;

  constructor(io: CliIo) {
    this.#io = io;
    const { NO_COLOR, FORCE_COLOR } = io.environment;
    const wanted = (terminal: boolean) => !NO_COLOR && (terminal || Boolean(FORCE_COLOR));
    this.color = picocolors.createColors(wanted(io.stdoutIsTerminal));
    this.errorColor = picocolors.createColors(wanted(io.stderrIsTerminal));
  }

  line(text = ''): void {
    this.#io.stdout.write(`${text}\n`);
  }

  /** Text as it is, without a line break of its own. */
  raw(text: string | Uint8Array): void {
    this.#io.stdout.write(text);
  }

  json(value: unknown): void {
    this.#io.stdout.write(`${JSON.stringify(value, null, this.#io.stdoutIsTerminal ? 2 : undefined)}\n`);
  }

  /** For people only, beside the result: it never mixes with what a program reads. */
  note(text: string): void {
    this.#io.stderr.write(`${text}\n`);
  }

  /** Columns aligned under a head, the last one as wide as the terminal lets it be. */
  table(head: readonly string[], rows: readonly (readonly string[])[]): void {
    const widths = head.map((title, column) => Math.max(width(title), ...rows.map((row) => width(row[column] ?? ''))));
    const before = widths.slice(0, -1).reduce((sum, each) => sum + each + 2, 0);
    const lastWidth = this.#io.stdoutIsTerminal ? Math.max(20, this.#io.terminalColumns - before) : Infinity;
    const format = (cells: readonly string[]) =>
      cells
        .map((cell, column) =>
          column === head.length - 1 ? shorten(cell, lastWidth) : cell + ' '.repeat(widths[column]! - width(cell)),
        )
        .join('  ')
        .trimEnd();
    this.line(this.color.dim(format(head)));
    for (const row of rows) this.line(format(row));
  }

  /** Names and values, one pair a line. */
  pairs(pairs: readonly (readonly [string, string])[]): void {
    const widest = Math.max(...pairs.map(([name]) => name.length));
    for (const [name, value] of pairs) this.line(`${this.color.dim(name.padEnd(widest))}  ${value}`);
  }

  tree(branches: readonly Branch[], indent = ''): void {
    for (const [index, { label, children }] of branches.entries()) {
      const last = index === branches.length - 1;
      this.line(`${this.color.dim(`${indent}${last ? '└─' : '├─'}`)} ${label}`);
      this.tree(children, `${indent}${last ? '   ' : '│  '}`);
    }
  }

  /** `3m`, `5h`, `2d`: how long ago a Unix time was; `-` where there is none. */
  age(unixSeconds: number | null | undefined): string {
    if (unixSeconds === undefined || unixSeconds === null) return '-';
    return duration(Math.max(0, this.#io.now() / 1000 - unixSeconds));
  }

  /** How long until a Unix time; `-` where there is none. */
  until(unixSeconds: number | null | undefined): string {
    if (unixSeconds === undefined || unixSeconds === null) return '-';
    const left = unixSeconds - this.#io.now() / 1000;
    return left <= 0 ? 'expired' : `in ${duration(left)}`;
  }
}

/** `42s`, `3m`, `5h`, `2d`, as kubectl prints ages. */
export function duration(seconds: number): string {
  if (seconds < 120) return `${Math.floor(seconds)}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** `812 B`, `4.1 KiB`, `3.0 MiB`. */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = count < 1024 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(count) / 10));
  return `${power === 0 ? count : (count / 1024 ** power).toFixed(1)} ${units[power]}`;
}

/** The beginning of an id, as long as people need to tell ids apart. */
export function shortId(id: string | null | undefined): string {
  return id === undefined || id === null ? '-' : id.slice(0, 12);
}

// Colour codes take no room on the screen.
const escapes = /\u001b\[[0-9;]*m/g;
const width = (text: string) => [...text.replace(escapes, '')].length;

/** Cuts plain text that is too long for its place. */
export function shorten(text: string, length: number): string {
  return width(text) <= length ? text : `${[...text].slice(0, length - 1).join('')}…`;
}
