import { performance } from 'node:perf_hooks';
import { parseTestDocument } from '@ipe/core/policy';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { fileProblem, readPolicies } from '../offline.ts';
import { printReport, type ReportOptions, reports } from '../report/print.ts';
import { isClean } from '../report/result.ts';
import { printCheck } from '../report/text.ts';
import { runWatching } from '../watch.ts';

export function define(command: Command, cli: Cli): void {
  reports(command)
    .argument('[folder]', 'folder of policies, or one `*.policy.yaml`', '.')
    .addHelpText(
      'after',
      `
Compiles policies and reads their tests, without running them and without a node. Exits with 1 when something is wrong.

Examples:
  ipe check examples/policies
  ipe check --format sarif > ipe.sarif`,
    )
    .action(async (folder: string, options: ReportOptions) => {
      await runWatching(cli, folder, options, async () => {
        const started = performance.now();
        const local = await readPolicies(cli, folder);
        const ofTests = local.policies.flatMap(({ path, test, testFile }) =>
          test === undefined || testFile === undefined
            ? []
            : parseTestDocument(test).problems.map((problem) => fileProblem(problem, testFile, path)),
        );
        const problems = [...local.problems, ...ofTests];
        const durationMs = performance.now() - started;
        const result = { policies: local.policies.length, problems, tests: [], durationMs };
        await printReport(cli, result, options, printCheck);
        cli.exitCode = isClean(result) ? 0 : 1;
      });
    });
}
