import { IpeError } from '@ipe/core';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';

export function define(command: Command, cli: Cli): void {
  command
    .argument('[file]', 'configuration file, or `-`; absent: defaults and environment')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nEvery value with where it came from. The output is itself a configuration file.\n\nExample:\n  ipe config print ipe.toml',
    )
    .action(async (file: string | undefined, options: { json?: boolean }) => {
      const { checkConfig, printConfig, renderProblem } = await import('../../config/index.ts');
      const check = await checkConfig({
        ...(file === undefined ? {} : { file: await cli.readInput(file), fileName: file }),
        environment: cli.io.environment,
      });
      if (check.config === undefined)
        throw new IpeError(
          'invalid_params',
          check.problems.map((problem) => renderProblem(problem, file ?? 'environment')).join('\n'),
        );
      if (options.json) cli.out.json(check.config);
      else cli.out.raw(await printConfig(check));
    });
}
