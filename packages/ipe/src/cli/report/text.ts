import type { FileProblem } from '../../policies/types.ts';
import type { Cli } from '../cli.ts';
import { renderProblem } from '../failure.ts';
import type { CheckResult } from './result.ts';

/** Problems as a compiler prints them, the part concerned underlined. */
export function printProblems(cli: Cli, problems: readonly FileProblem[]): void {
  const { color } = cli.out;
  for (const problem of problems) {
    const [head = '', ...rest] = renderProblem(problem);
    const paint = problem.severity === 'error' ? color.red : color.yellow;
    cli.out.line(head.replace(`${problem.severity}:`, paint(`${problem.severity}:`)));
    for (const line of rest) cli.out.line(/^\s*\^+$/.test(line) ? paint(line) : color.dim(line));
  }
}

/** Every test with a mark, under its file; then one line of totals. */
export function printTests(cli: Cli, result: CheckResult): void {
  const { color } = cli.out;
  printProblems(cli, result.problems);
  let file = '';
  for (const test of result.tests) {
    if (test.file !== file)
      cli.out.line(`${file === '' && result.problems.length === 0 ? '' : '\n'}${color.bold(test.file)}`);
    file = test.file;
    cli.out.line(`  ${test.passed ? color.green('✓') : color.red('✗')} ${test.name}`);
    if (!test.passed)
      cli.out.line(`      ${color.red(test.message ?? 'failed')}  ${color.dim(`${test.file}:${test.line ?? 1}`)}`);
  }
  const failed = result.tests.filter(({ passed }) => !passed).length;
  const passed = result.tests.length - failed;
  const errors = result.problems.filter(({ severity }) => severity === 'error').length;
  const totals = [
    passed > 0 ? color.green(`${passed} passed`) : '0 passed',
    failed > 0 ? color.red(`${failed} failed`) : '0 failed',
    ...(errors > 0 ? [color.red(count(errors, 'error'))] : []),
  ];
  cli.out.line(
    `\n${totals.join(', ')} ${color.dim(`(${count(result.policies, 'policy', 'policies')}, ${Math.round(result.durationMs)} ms)`)}`,
  );
}

/** What `ipe check` says in the end. */
export function printCheck(cli: Cli, result: CheckResult): void {
  const { color } = cli.out;
  printProblems(cli, result.problems);
  const errors = result.problems.filter(({ severity }) => severity === 'error').length;
  const warnings = result.problems.length - errors;
  const found = [
    ...(errors > 0 ? [color.red(count(errors, 'error'))] : []),
    ...(warnings > 0 ? [color.yellow(count(warnings, 'warning'))] : []),
  ];
  const verdict = found.length === 0 ? color.green('ok') : found.join(', ');
  cli.out.line(`${count(result.policies, 'policy', 'policies')}: ${verdict}`);
}

function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}
