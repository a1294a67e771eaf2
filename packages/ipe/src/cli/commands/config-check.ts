import type { Command } from 'commander';
import type { Cli } from '../cli.ts';

export function define(command: Command, cli: Cli): void {
  command
    .argument('[file]', 'configuration file, or `-`', 'ipe.toml')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nReads the file and the environment as `ipe serve` does. Exits with 1 when something is wrong.\n\nExample:\n  ipe config check ipe.toml',
    )
    .action(async (file: string, options: { json?: boolean }) => {
      const { checkConfig, renderProblem } = await import('../../config/index.ts');
      const { problems } = await checkConfig({
        file: await cli.readInput(file),
        fileName: file,
        environment: cli.io.environment,
      });
      cli.show(options, { problems }, () => {
        for (const problem of problems) cli.out.line(renderProblem(problem, file));
        if (problems.length === 0) cli.out.line(`${file}: ${cli.out.color.green('ok')}`);
      });
      if (problems.length > 0) cli.exitCode = 1;
    });
}
