/** Something wrong, or doubtful, in a policy or test document, with its place in the file. */
export interface Problem {
  /** An error keeps the document from being used; a warning does not. */
  readonly severity: 'error' | 'warning';
  /** Stable name for machines, such as `unknown_field` or `cel_type`. */
  readonly code: string;
  /** For people: starts in lower case, puts the document's own words in backticks, has no final stop. */
  readonly message: string;
  /** Line of the document, from 1. */
  readonly line: number;
  /** Column of the first character concerned, from 1, in UTF-16 code units as editors count. */
  readonly column: number;
  /** Column after the last character concerned on that line; greater than `column`. */
  readonly endColumn: number;
  /** For problems inside an expression: the line of the expression concerned. */
  readonly expression?: string;
  /** Spaces and carets that stand under the part of `expression` concerned. */
  readonly underline?: string;
  /** What to write instead, where that is known. */
  readonly hint?: string;
}

/** Whether any of `problems` keeps the document from being used. */
export function hasErrors(problems: readonly Problem[]): boolean {
  return problems.some((problem) => problem.severity === 'error');
}

/** Problems in the order of the document: by line, then column, errors before warnings. */
export function sortProblems(problems: readonly Problem[]): readonly Problem[] {
  const rank = { error: 0, warning: 1 } as const;
  return [...problems].sort(
    (a, b) => a.line - b.line || a.column - b.column || rank[a.severity] - rank[b.severity] || compare(a.code, b.code),
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * A problem as text for a terminal: place, message, the line of the document with the part concerned underlined, hint.
 *
 * @param path file name to print before line and column; left out where there is none
 * @param source the document's text; without it the expression's own line is shown
 *
 * @example
 * approval.policy.yaml:5:22: error: `variables` has no `seniorz`
 *   5 |   - expression: size(variables.seniorz) >= 2
 *     |                      ^^^^^^^^^^^^^^^^^
 *     = did you mean `seniors`?
 */
export function renderProblem(problem: Problem, path?: string, source?: string): string {
  const place = `${path === undefined ? '' : `${path}:`}${problem.line}:${problem.column}`;
  const lines = [`${place}: ${problem.severity}: ${problem.message}`];
  const number = String(problem.line);
  const margin = ' '.repeat(number.length);
  const shown = source === undefined ? undefined : lineOf(source, problem.line);
  if (shown !== undefined) {
    const cut = cutAround(shown, problem.column - 1, problem.endColumn - 1);
    lines.push(`  ${number} | ${cut.text}`, `  ${margin} | ${underline(cut.text, cut.start, cut.end)}`);
  } else if (problem.expression !== undefined && problem.underline !== undefined) {
    lines.push(`  ${number} | ${problem.expression}`, `  ${margin} | ${problem.underline}`);
  }
  if (problem.hint !== undefined) lines.push(`  ${margin} = ${problem.hint}`);
  return lines.join('\n');
}

/** Carets under `[start, end)` of `text`; tabs before them are kept, so that the carets stand where the text does. */
export function underline(text: string, start: number, end: number): string {
  return text.slice(0, start).replace(/[^\t]/g, ' ') + '^'.repeat(Math.max(1, end - start));
}

/** Longest line printed whole; of a longer one the part around the problem is. */
const widthMax = 160;

function cutAround(text: string, start: number, end: number): { text: string; start: number; end: number } {
  if (text.length <= widthMax) return { text, start, end };
  const from = Math.max(0, Math.min(start - 40, text.length - widthMax));
  const to = Math.min(text.length, from + widthMax);
  const before = from > 0 ? '…' : '';
  return {
    text: before + text.slice(from, to) + (to < text.length ? '…' : ''),
    start: start - from + before.length,
    end: Math.min(end, to) - from + before.length,
  };
}

function lineOf(source: string, line: number): string | undefined {
  return source.split(/\r\n|\r|\n/, line)[line - 1];
}
