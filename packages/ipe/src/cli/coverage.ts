import type { RunTestsOptions } from '@ipe/core/eval';
import { CoverageCollector, type CoverageReport, type ObservedPolicy } from '@ipe/core/policy';
import type { Cli } from './cli.ts';
import type { LocalPolicies } from './offline.ts';
import { shorten } from './output.ts';

/** Watches policies that were planned to be observed, while their tests run. */
export function coverageOf(local: LocalPolicies): {
  readonly observer: NonNullable<RunTestsOptions['observer']>;
  report(): CoverageReport;
} {
  const observer = new CoverageCollector();
  const observed = local.policies.flatMap(({ path, at }) =>
    at !== undefined && isObserved(at.planned) ? [{ path, planned: at.planned }] : [],
  );
  return { observer, report: () => observer.report(observed) };
}

function isObserved(planned: object): planned is ObservedPolicy {
  return 'expressions' in planned;
}

/** Prints what no test brought about, and how much was. */
export function printCoverage(cli: Cli, { seen, all, uncovered }: CoverageReport): void {
  const { color } = cli.out;
  cli.out.line();
  for (const { path, expression, text, missing } of uncovered)
    cli.out.line(
      `${color.yellow(`never ${missing.join(' or ')}`)}  ${path} ${expression}  ${color.dim(shorten(text, 80))}`,
    );
  const percent = all === 0 ? 100 : Math.floor((100 * seen) / all);
  cli.out.line(`coverage ${percent}% ${color.dim(`(${seen} of ${all} outcomes)`)}`);
}
