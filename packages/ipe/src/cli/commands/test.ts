import { performance } from 'node:perf_hooks';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { coverageOf, printCoverage } from '../coverage.ts';
import { readPolicies } from '../offline.ts';
import { printReport, type ReportOptions, reports } from '../report/print.ts';
import { isClean } from '../report/result.ts';
import { printTests } from '../report/text.ts';
import { runPolicyTests } from '../testing.ts';
import { runWatching } from '../watch.ts';

interface Options extends ReportOptions {
  readonly filter?: string;
  readonly coverage?: boolean;
}

export function define(command: Command, cli: Cli): void {
  reports(command)
    .argument('[folder]', 'folder of policies, or one `*.policy.yaml`', '.')
    .option('--filter <text>', 'only tests whose policy path or name contains this')
    .option('--coverage', 'show which expressions no test decided both ways')
    .addHelpText(
      'after',
      `
Compiles the policies and runs the tests beside them, without a node. Exits with 1 when one fails.

Examples:
  ipe test examples/policies --coverage
  ipe test --filter approval --watch
  ipe test --format junit > report.xml`,
    )
    .action(async (folder: string, options: Options) => {
      await runWatching(cli, folder, options, async () => {
        const started = performance.now();
        const local = await readPolicies(cli, folder, options.coverage);
        const coverage = options.coverage ? coverageOf(local) : undefined;
        const { filter } = options;
        const run = runPolicyTests(local, {
          ...(filter === undefined ? {} : { wanted: (path, name) => path.includes(filter) || name.includes(filter) }),
          ...(coverage === undefined ? {} : { observer: coverage.observer }),
        });
        const result = {
          policies: local.policies.length,
          problems: [...local.problems, ...run.problems],
          tests: run.tests,
          durationMs: performance.now() - started,
          ...(coverage === undefined ? {} : { coverage: coverage.report() }),
        };
        await printReport(cli, result, options, (_cli, each) => {
          printTests(cli, each);
          if (coverage !== undefined) printCoverage(cli, coverage.report());
        });
        cli.exitCode = isClean(result) ? 0 : 1;
      });
    });
}
