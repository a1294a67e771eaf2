import { PassThrough, Readable } from 'node:stream';
import type { CliIo } from '../cli/io.ts';
import { main } from '../cli/main.ts';

/** Runs one command line in this process, for tests: no terminal, no environment but the one given, a clock that stands. */
export async function runCli(
  argv: readonly string[],
  options: {
    readonly stdin?: string;
    readonly environment?: Readonly<Record<string, string>>;
    readonly workingDirectory?: string;
    /** Called with everything printed so far, each time something is; `interrupt` does what Ctrl-C does. */
    readonly onOutput?: (out: string, interrupt: () => void) => void;
  } = {},
): Promise<{ code: number; out: string; err: string }> {
  let interrupt = () => {};
  const stdout = collector((out) => options.onOutput?.(out, () => interrupt()));
  const stderr = collector();
  const io: CliIo = {
    stdin: Readable.from([options.stdin ?? '']),
    stdout: stdout.stream,
    stderr: stderr.stream,
    environment: options.environment ?? {},
    workingDirectory: options.workingDirectory ?? '/nonexistent',
    stdoutIsTerminal: false,
    stderrIsTerminal: false,
    terminalColumns: 100,
    now: () => 1_700_000_000_000,
    onInterrupt: (callback) => {
      interrupt = callback;
      return () => {};
    },
  };
  const code = await main(argv, io);
  return { code, out: stdout.text(), err: stderr.text() };
}

function collector(onText: (all: string) => void = () => {}): { stream: PassThrough; text(): string } {
  const stream = new PassThrough();
  let all = '';
  stream.setEncoding('utf8').on('data', (text: string) => {
    all += text;
    onText(all);
  });
  return { stream, text: () => all };
}
