import type { Entry, Json } from '@ipe/client/protocol';
import { IpeError } from '@ipe/core';
import type { Command } from 'commander';
import type { Cli } from './cli.ts';
import { UsageError } from './failure.ts';
import { shorten } from './output.ts';

/** Options of a command that takes a value. */
export interface ValueOptions {
  readonly file?: string;
  readonly string?: boolean;
  readonly bytes?: boolean;
}

/** Adds `--file`, `--string` and `--bytes`. */
export function takesValue(command: Command): Command {
  return command
    .option('-f, --file <file>', 'read the value from a file, or from standard input with `-`')
    .option('--string', 'take the value as text, not as JSON')
    .option('--bytes', 'take the file as bytes');
}

/** The value given as an argument or a file: JSON unless the options say otherwise. */
export async function readValue(
  cli: Cli,
  argument: string | undefined,
  options: ValueOptions,
): Promise<Json | Uint8Array> {
  const file = options.file ?? (argument === '-' ? '-' : undefined);
  if (file === undefined && argument === undefined) throw new UsageError('give a value, or --file');
  if (file !== undefined && argument !== undefined && argument !== '-')
    throw new UsageError('give a value or --file, not both');
  if (options.bytes) {
    if (file === undefined) throw new UsageError('--bytes needs --file');
    return cli.readInputBytes(file);
  }
  const text = file === undefined ? argument! : await cli.readInput(file);
  return options.string ? text : parseJson(text, file === undefined ? 'the value' : `\`${file}\``);
}

/** @throws IpeError `parse_error` that shows what was read, and how to give text */
export function parseJson(text: string, what: string): Json {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const hint = /^[\w .:@/-]+$/.test(text) ? `; for text write '"${text}"' or use --string` : '';
    throw new IpeError('parse_error', `${what} is not JSON: ${(cause as Error).message}${hint}`, { cause });
  }
}

/** An entry's value for a cell of a table. */
export function preview(entry: Pick<Entry, 'value' | 'value_base64' | 'siblings'>, length = 120): string {
  if (entry.siblings !== undefined && entry.siblings.length > 0) return `${entry.siblings.length} siblings`;
  if (entry.value_base64 !== undefined) return `${Math.floor((entry.value_base64.length * 3) / 4)} bytes`;
  return shorten(JSON.stringify(entry.value) ?? '', length);
}

/** A whole number of a command-line option, at least `minimum`. */
export function wholeNumber(name: string, minimum = 1): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < minimum)
      throw new UsageError(`${name} takes a whole number of at least ${minimum}, not \`${text}\``);
    return value;
  };
}

/** Seconds from `90`, `90s`, `15m`, `24h` or `7d`. */
export function secondsOf(name: string): (text: string) => number {
  return (text) => {
    const match = /^(\d+(?:\.\d+)?)(s|m|h|d)?$/.exec(text);
    if (match === null) throw new UsageError(`${name} takes a time such as 90s, 15m, 24h or 7d, not \`${text}\``);
    return Number(match[1]) * { s: 1, m: 60, h: 3600, d: 86_400 }[(match[2] ?? 's') as 's' | 'm' | 'h' | 'd'];
  };
}

/** Only the given parts of an object: options that were left out are not sent. */
export function given<T extends object>(values: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}
