import { execFile } from 'node:child_process';
import { program } from '../../src/testkit/process.ts';

/** Runs one command of the built program to its end. */
export function runProgram(
  argv: readonly string[],
  options: {
    readonly environment?: Readonly<Record<string, string>>;
    readonly stdin?: string;
    readonly directory?: string;
  } = {},
): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [program, ...argv],
      {
        env: { ...process.env, ...options.environment },
        maxBuffer: 64 * 1024 * 1024,
        ...(options.directory === undefined ? {} : { cwd: options.directory }),
      },
      (error, out, err) =>
        resolve({ code: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1, out, err }),
    );
    child.stdin!.end(options.stdin ?? '');
  });
}
