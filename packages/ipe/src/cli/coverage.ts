import type { RunTestsOptions } from '@ipe/core/eval';
import { type PlannedPolicy, type Program, parsePolicyDocument } from '@ipe/core/policy';
import type { Cli } from './cli.ts';
import type { LocalPolicies } from './offline.ts';
import { shorten } from './output.ts';

/** One expression of a policy, and what the tests saw it give. */
export interface ExpressionCoverage {
  readonly path: string;
  /** Such as `validations[0]`. */
  readonly expression: string;
  readonly text: string;
  /** Outcomes that no test brought about: `true` and `false` of a condition, `evaluated` of anything else. */
  readonly missing: readonly string[];
}

export interface CoverageReport {
  /** Outcomes seen, of all there are: a condition has two, any other expression one. */
  readonly seen: number;
  readonly all: number;
  /** Expressions with outcomes that no test brought about. */
  readonly uncovered: readonly ExpressionCoverage[];
}

interface Watched {
  readonly path: string;
  readonly label: string;
  readonly text: string;
  readonly wanted: readonly string[];
  readonly seen: Set<string>;
}

/** Node id of a whole expression. */
const rootNode = 1;

/** Watches policies that were planned to be observed, while their tests run. */
export function coverageOf(local: LocalPolicies): {
  readonly observer: NonNullable<RunTestsOptions['observer']>;
  report(): CoverageReport;
} {
  const watched = new Map<Program, Watched>();
  for (const { path, source, at } of local.policies) {
    const texts = at === undefined ? undefined : expressionTexts(source);
    if (at === undefined || texts === undefined) continue;
    for (const { label, program, isCondition } of programsOf(at.planned))
      watched.set(program, {
        path,
        label,
        text: texts.get(label) ?? '',
        wanted: isCondition ? ['true', 'false'] : ['evaluated'],
        seen: new Set(),
      });
  }
  return {
    observer: {
      node(program, nodeId, value) {
        if (nodeId !== rootNode) return;
        const entry = watched.get(program);
        if (entry !== undefined) entry.seen.add(entry.wanted.length === 1 ? 'evaluated' : String(value));
      },
    },
    report() {
      const entries = [...watched.values()];
      const uncovered = entries
        .map(({ path, label, text, wanted, seen }) => ({
          path,
          expression: label,
          text,
          missing: wanted.filter((outcome) => !seen.has(outcome)),
        }))
        .filter(({ missing }) => missing.length > 0);
      const all = entries.reduce((sum, { wanted }) => sum + wanted.length, 0);
      return { seen: all - uncovered.reduce((sum, { missing }) => sum + missing.length, 0), all, uncovered };
    },
  };
}

function programsOf(planned: PlannedPolicy): { label: string; program: Program; isCondition: boolean }[] {
  return [
    ...planned.matchConditions.map(({ program }) => ({ label: place(program), program, isCondition: true })),
    ...planned.variables.map((program) => ({ label: place(program), program, isCondition: false })),
    ...planned.validations.flatMap(({ program, messageProgram }) => [
      { label: place(program), program, isCondition: true },
      ...(messageProgram === null
        ? []
        : [{ label: place(messageProgram), program: messageProgram, isCondition: false }]),
    ]),
  ];
}

/** A program's label without the condition's name. */
function place(program: Program): string {
  return program.label.replace(/ \(.*\)$/, '');
}

function expressionTexts(source: string): Map<string, string> | undefined {
  const { document } = parsePolicyDocument(source);
  if (document === undefined) return undefined;
  return new Map([
    ...document.matchConditions.map(({ expression }, i) => [`matchConditions[${i}]`, expression] as const),
    ...document.variables.map(({ name, expression }) => [`variables.${name}`, expression] as const),
    ...document.validations.flatMap(({ expression, messageExpression }, i) => [
      [`validations[${i}]`, expression] as const,
      ...(messageExpression === undefined ? [] : [[`validations[${i}].messageExpression`, messageExpression] as const]),
    ]),
  ]);
}

/** Prints what no test brought about, and how much was. */
export function printCoverage(cli: Cli, { seen, all, uncovered }: CoverageReport): void {
  const { color } = cli.out;
  cli.out.line();
  for (const { path, expression, text, missing } of uncovered)
    cli.out.line(
      `${color.yellow(`never ${missing.join(' or ')}`)}  ${path} ${expression}  ${color.dim(shorten(text.trim().replace(/\s+/g, ' '), 80))}`,
    );
  const percent = all === 0 ? 100 : Math.floor((100 * seen) / all);
  cli.out.line(`coverage ${percent}% ${color.dim(`(${seen} of ${all} outcomes)`)}`);
}
