import { type Command, Option } from 'commander';
import type { Cli } from '../cli.ts';
import { version } from '../version.ts';
import { type CheckResult, type Format, formats } from './result.ts';

/** Options of commands that print a `CheckResult`. */
export interface ReportOptions {
  readonly format: Format;
  readonly json?: boolean;
  readonly watch?: boolean;
}

/** Adds `--format`, `--json` and `--watch`. */
export function reports(command: Command): Command {
  return command
    .addOption(new Option('--format <format>', 'how to print what was found').choices(formats).default('text'))
    .option('--json', 'the same as --format json')
    .option('--watch', 'run again whenever a file changes');
}

/** Prints in the format asked; `text` says how people get it. */
export async function printReport(
  cli: Cli,
  result: CheckResult,
  options: ReportOptions,
  text: (cli: Cli, result: CheckResult) => void,
): Promise<void> {
  const format = options.json ? 'json' : options.format;
  if (format === 'json') cli.out.json(result);
  else if (format === 'junit') cli.out.raw((await import('./junit.ts')).junit(result));
  else if (format === 'sarif') cli.out.raw((await import('./sarif.ts')).sarif(result, version));
  else text(cli, result);
}
