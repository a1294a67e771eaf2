import type { Command } from 'commander';
import type { Cli } from '../cli.ts';

export function define(command: Command, cli: Cli): void {
  command
    .option('--json', 'print JSON (it always is)')
    .addHelpText(
      'after',
      '\nFor editors that complete and check TOML.\n\nExample:\n  ipe config schema > ipe.schema.json',
    )
    .action(async () => {
      const { jsonSchema } = await import('../../config/index.ts');
      cli.out.json(await jsonSchema());
    });
}
