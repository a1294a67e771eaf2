import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { folderSource } from '../../gitops/directory.ts';
import type { Cli } from '../cli.ts';
import { formatYaml } from '../format-yaml.ts';

export function define(command: Command, cli: Cli): void {
  command
    .argument('[paths...]', 'folders, or `*.policy.yaml` and `*.test.yaml` files; `-` formats standard input', ['.'])
    .option('--check', 'change nothing; exit with 1 when something is not formatted')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nFields in the order of the documentation, two spaces, comments kept.\n\nExamples:\n  ipe fmt examples/policies\n  ipe fmt --check .',
    )
    .action(async (paths: string[], options: { check?: boolean; json?: boolean }) => {
      if (paths.length === 1 && paths[0] === '-')
        return cli.out.raw(formatYaml(await cli.readInput('-'), 'standard input'));
      const changed: string[] = [];
      for (const file of await filesOf(cli, paths)) {
        const text = await readFile(cli.path(file), 'utf8');
        const formatted = formatYaml(text, file);
        if (formatted === text) continue;
        changed.push(file);
        if (!options.check) await writeFile(cli.path(file), formatted);
      }
      cli.show(options, { changed }, () => {
        for (const file of changed) cli.out.line(`${options.check ? 'not formatted' : 'formatted'}  ${file}`);
        if (changed.length === 0) cli.out.line('everything is formatted');
      });
      if (options.check && changed.length > 0) cli.exitCode = 1;
    });
}

async function filesOf(cli: Cli, paths: readonly string[]): Promise<string[]> {
  const isDocument = (name: string) => /\.(policy|test)\.yaml$/.test(name);
  const files: string[] = [];
  for (const path of paths) {
    if (isDocument(path)) files.push(path);
    else
      for (const file of await folderSource(cli.path(path)).list())
        if (isDocument(file.path)) files.push(join(path, file.path));
  }
  return files.sort();
}
