import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { IpeError } from '@ipe/core';
import type { CliIo } from './io.ts';
import { Output } from './output.ts';

/** What every command works with: input, output, and the exit code it leaves behind. */
export class Cli {
  readonly io: CliIo;
  readonly out: Output;
  /** 0 done, 1 failed, 2 usage; `eval --exit-code` and `test` set others. */
  exitCode = 0;

  constructor(io: CliIo) {
    this.io = io;
    this.out = new Output(io);
  }

  /** Prints a result: JSON with `--json`, else as the command renders it for people. */
  show<T>(options: { readonly json?: boolean }, result: T, render: (result: T) => void): void {
    if (options.json) this.out.json(result);
    else render(result);
  }

  /** A path as the user meant it: relative to where the command was started. */
  path(path: string): string {
    return resolve(this.io.workingDirectory, path);
  }

  /**
   * Reads a text argument's file, or standard input for `-`.
   * @throws IpeError `not_found` naming the file
   */
  async readInput(file: string): Promise<string> {
    return (await this.readInputBytes(file)).toString('utf8');
  }

  async readInputBytes(file: string): Promise<Buffer> {
    if (file === '-') {
      const chunks: Buffer[] = [];
      for await (const chunk of this.io.stdin) chunks.push(Buffer.from(chunk));
      return Buffer.concat(chunks);
    }
    try {
      return await readFile(this.path(file));
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code;
      if (code === 'ENOENT') throw new IpeError('not_found', `there is no file \`${file}\``, { cause });
      throw new IpeError('unavailable', `cannot read \`${file}\` (${code})`, { cause });
    }
  }

  /** Runs with a signal that fires when the user interrupts. */
  async untilInterrupted<T>(run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const stop = new AbortController();
    const off = this.io.onInterrupt(() => stop.abort());
    try {
      return await run(stop.signal);
    } finally {
      off();
    }
  }
}
