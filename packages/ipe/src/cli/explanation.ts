import type { Explained, ExplainedExpression, Explanation } from '@ipe/client/protocol';
import type { Cli } from './cli.ts';
import { shorten } from './output.ts';

/** Prints what every expression of each policy gave, and below those that decided, their parts. */
export function printExplanation(cli: Cli, { policies }: Explanation): void {
  const { color } = cli.out;
  for (const { path, outcome, matchConditions, variables, validations } of policies) {
    cli.out.line(`\n${color.bold(path)}  ${outcome.replace('_', ' ')}`);
    const all = [...matchConditions, ...variables, ...validations];
    const widest = Math.max(...all.map(({ label }) => label.length));
    for (const expression of all) {
      const label = color.dim(expression.label.padEnd(widest));
      cli.out.line(`  ${label}  ${outcomeOf(cli, expression)}  ${color.dim(oneLine(expression.expression))}`);
      if (decided(expression))
        for (const part of expression.parts)
          cli.out.line(
            `  ${' '.repeat(widest)}    ${oneLine(part.expression)} ${color.dim('=')} ${outcomeOf(cli, part)}`,
          );
    }
  }
}

/** Parts are of interest where a condition did not hold, or an expression failed. */
function decided(expression: ExplainedExpression): boolean {
  return expression.evaluated && (expression.value === false || expression.error !== undefined);
}

function outcomeOf(cli: Cli, explained: Explained & { readonly evaluated?: boolean }): string {
  const { color } = cli.out;
  if (explained.evaluated === false) return color.dim('not evaluated');
  if (explained.error !== undefined) return color.red(`error: ${explained.error}`);
  if (explained.value === undefined) return color.dim('-');
  const text = shorten(JSON.stringify(explained.value), 100);
  if (explained.value === true) return color.green(text);
  return explained.value === false ? color.red(text) : text;
}

const oneLine = (text: string) => shorten(text.trim().replace(/\s+/g, ' '), 100);
