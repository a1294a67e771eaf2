import { CommanderError } from 'commander';
import { Cli } from './cli.ts';
import { report } from './failure.ts';
import { type CliIo, processIo } from './io.ts';
import { buildProgram, exitCodeOf } from './program.ts';

/**
 * Runs one command line, without `node` and the program's name.
 * @returns the exit code: 0 done, 1 failed, 2 usage; `ipe eval --exit-code` has its own
 */
export async function main(argv: readonly string[], io: CliIo = processIo()): Promise<number> {
  const cli = new Cli(io);
  // A reader that has seen enough (`ipe log | head`) is no failure.
  io.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
  try {
    const program = await buildProgram(cli, argv);
    if (argv.length === 0) {
      program.outputHelp();
      return 0;
    }
    await program.parseAsync([...argv], { from: 'user' });
    return cli.exitCode;
  } catch (error) {
    return error instanceof CommanderError ? exitCodeOf(error) : report(cli, error, argv.includes('--json'));
  }
}
