/** Lines of context around a change. */
const contextLines = 3;
/** Beyond this many differing lines a file is shown as replaced: the search costs their square. */
const editLimit = 2000;

/**
 * A unified diff of two texts, as `diff -u` writes it; empty where they are equal.
 * @param from  text before; null where there was no file
 * @param to    text after; null where there is none any more
 */
export function unifiedPatch(name: string, from: string | null, to: string | null): string {
  const a = splitLines(from);
  const b = splitLines(to);
  const hunks = hunksOf(a, b, matchLines(a, b));
  if (hunks.length === 0) return '';
  const header = [from === null ? '--- /dev/null' : `--- a/${name}`, to === null ? '+++ /dev/null' : `+++ b/${name}`];
  return [...header, ...hunks].map((line) => `${line}\n`).join('');
}

const noNewline = '\\ No newline at end of file';

interface Line {
  readonly text: string;
  readonly ended: boolean;
}

function splitLines(text: string | null): Line[] {
  if (text === null || text === '') return [];
  const parts = text.split('\n');
  const last = parts.pop()!;
  const lines = parts.map((part) => ({ text: part, ended: true }));
  if (last !== '') lines.push({ text: last, ended: false });
  return lines;
}

function same(a: Line, b: Line): boolean {
  return a.text === b.text && a.ended === b.ended;
}

/**
 * Pairs of equal lines of a longest common subsequence, after the equal beginning and before the equal end.
 * Source: Myers, An O(ND) Difference Algorithm and Its Variations, 1986.
 */
function matchLines(a: readonly Line[], b: readonly Line[]): [number, number][] {
  let start = 0;
  while (start < a.length && start < b.length && same(a[start]!, b[start]!)) start++;
  let end = 0;
  while (end < a.length - start && end < b.length - start && same(a.at(-1 - end)!, b.at(-1 - end)!)) end++;
  const matches: [number, number][] = [];
  for (let i = 0; i < start; i++) matches.push([i, i]);
  const middle = shortestEdit(a.slice(start, a.length - end), b.slice(start, b.length - end));
  for (const [i, j] of middle) matches.push([i + start, j + start]);
  for (let i = end; i > 0; i--) matches.push([a.length - i, b.length - i]);
  return matches;
}

function shortestEdit(a: readonly Line[], b: readonly Line[]): [number, number][] {
  const most = Math.min(a.length + b.length, editLimit);
  let furthest = new Map<number, number>([[1, 0]]);
  const trace: Map<number, number>[] = [];
  for (let edits = 0; edits <= most; edits++) {
    trace.push(new Map(furthest));
    const next = new Map(furthest);
    for (let k = -edits; k <= edits; k += 2) {
      const down = k === -edits || (k !== edits && (furthest.get(k - 1) ?? -1) < (furthest.get(k + 1) ?? -1));
      let x = down ? (furthest.get(k + 1) ?? 0) : (furthest.get(k - 1) ?? 0) + 1;
      while (x < a.length && x - k < b.length && same(a[x]!, b[x - k]!)) x++;
      next.set(k, x);
      if (x >= a.length && x - k >= b.length) return backtrack(a.length, b.length, trace);
    }
    furthest = next;
  }
  return [];
}

function backtrack(aLength: number, bLength: number, trace: readonly Map<number, number>[]): [number, number][] {
  const matches: [number, number][] = [];
  let x = aLength;
  let y = bLength;
  for (let edits = trace.length - 1; edits >= 0; edits--) {
    const furthest = trace[edits]!;
    const k = x - y;
    const down = k === -edits || (k !== edits && (furthest.get(k - 1) ?? -1) < (furthest.get(k + 1) ?? -1));
    const previousK = down ? k + 1 : k - 1;
    const previousX = edits === 0 ? 0 : (furthest.get(previousK) ?? 0);
    const previousY = edits === 0 ? 0 : previousX - previousK;
    while (x > previousX && y > previousY) matches.push([--x, --y]);
    x = previousX;
    y = previousY;
  }
  return matches.reverse();
}

/** Hunks with their headers, from the pairs of equal lines. */
function hunksOf(a: readonly Line[], b: readonly Line[], matches: readonly [number, number][]): string[] {
  const script: { mark: ' ' | '-' | '+'; line: Line }[] = [];
  let i = 0;
  let j = 0;
  for (const [x, y] of [...matches, [a.length, b.length] as const]) {
    while (i < x) script.push({ mark: '-', line: a[i++]! });
    while (j < y) script.push({ mark: '+', line: b[j++]! });
    if (x < a.length) {
      script.push({ mark: ' ', line: a[i++]! });
      j++;
    }
  }
  const changes = script.flatMap((each, at) => (each.mark === ' ' ? [] : [at]));
  const lines: string[] = [];
  for (let first = 0; first < changes.length; ) {
    let last = first;
    while (last + 1 < changes.length && changes[last + 1]! - changes[last]! <= 2 * contextLines) last++;
    const from = Math.max(0, changes[first]! - contextLines);
    const to = Math.min(script.length, changes[last]! + contextLines + 1);
    lines.push(...hunk(script, from, to));
    first = last + 1;
  }
  return lines;
}

function hunk(script: readonly { mark: string; line: Line }[], from: number, to: number): string[] {
  const before = script.slice(0, from);
  const part = script.slice(from, to);
  const range = (other: string): string => {
    const skipped = before.filter((each) => each.mark !== other).length;
    const count = part.filter((each) => each.mark !== other).length;
    return count === 1 ? `${skipped + 1}` : `${count === 0 ? skipped : skipped + 1},${count}`;
  };
  const body = part.flatMap(({ mark, line }) => (line.ended ? [mark + line.text] : [mark + line.text, noNewline]));
  return [`@@ -${range('+')} +${range('-')} @@`, ...body];
}
