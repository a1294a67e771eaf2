/** Longest edit script that is looked for; texts further apart are shown as one replaced block. */
const editsMax = 500;
const contextLines = 3;

type Edit = { readonly kind: ' ' | '-' | '+'; readonly line: string };

/**
 * The difference of two texts as a unified patch with three lines of context, as `git diff` and `patch` write it; empty
 * where they are equal. `undefined` stands for a file that is not there (`/dev/null`).
 *
 * Lines are matched by Myers' greedy algorithm (An O(ND) Difference Algorithm, 1986), cut off where the texts have more
 * than 500 edits between them: the result is then correct, though not the shortest.
 *
 * @example
 * unifiedPatch('approval.policy.yaml', 'a\nb\n', 'a\nc\n');
 * // --- a/approval.policy.yaml
 * // +++ b/approval.policy.yaml
 * // @@ -1,2 +1,2 @@
 * //  a
 * // -b
 * // +c
 */
export function unifiedPatch(name: string, before: string | undefined, after: string | undefined): string {
  if (before === after) return '';
  const [olds, news] = [linesOf(before ?? ''), linesOf(after ?? '')];
  const edits = diffLines(olds, news);
  const head = `--- ${before === undefined ? '/dev/null' : `a/${name}`}\n+++ ${after === undefined ? '/dev/null' : `b/${name}`}\n`;
  return head + hunks(edits);
}

/** Lines with their line breaks, so that a missing last one shows. */
function linesOf(text: string): string[] {
  const lines = text.split('\n').map((line) => `${line}\n`);
  const last = lines.pop()!.slice(0, -1);
  if (last !== '') lines.push(last);
  return lines;
}

function diffLines(olds: readonly string[], news: readonly string[]): Edit[] {
  let start = 0;
  while (start < olds.length && start < news.length && olds[start] === news[start]) start++;
  let end = 0;
  while (
    end < olds.length - start &&
    end < news.length - start &&
    olds[olds.length - 1 - end] === news[news.length - 1 - end]
  )
    end++;
  const same = (line: string): Edit => ({ kind: ' ', line });
  return [
    ...olds.slice(0, start).map(same),
    ...middle(olds.slice(start, olds.length - end), news.slice(start, news.length - end)),
    ...olds.slice(olds.length - end).map(same),
  ];
}

function middle(olds: readonly string[], news: readonly string[]): Edit[] {
  const trace: Map<number, number>[] = [];
  let furthest = new Map<number, number>([[1, 0]]);
  const limit = Math.min(olds.length + news.length, editsMax);
  for (let edits = 0; edits <= limit; edits++) {
    trace.push(furthest);
    const next = new Map(furthest);
    for (let k = -edits; k <= edits; k += 2) {
      const down = k === -edits || (k !== edits && (furthest.get(k - 1) ?? -1) < (furthest.get(k + 1) ?? -1));
      let x = down ? (furthest.get(k + 1) ?? 0) : (furthest.get(k - 1) ?? 0) + 1;
      while (x < olds.length && x - k < news.length && olds[x] === news[x - k]) x++;
      next.set(k, x);
      if (x >= olds.length && x - k >= news.length) return backtrack(trace, olds, news);
    }
    furthest = next;
  }
  return [...olds.map((line): Edit => ({ kind: '-', line })), ...news.map((line): Edit => ({ kind: '+', line }))];
}

function backtrack(
  trace: readonly ReadonlyMap<number, number>[],
  olds: readonly string[],
  news: readonly string[],
): Edit[] {
  const edits: Edit[] = [];
  let x = olds.length;
  let y = news.length;
  for (let step = trace.length - 1; step > 0 || x > 0 || y > 0; step--) {
    const furthest = trace[step]!;
    const k = x - y;
    const down = k === -step || (k !== step && (furthest.get(k - 1) ?? -1) < (furthest.get(k + 1) ?? -1));
    const fromK = down ? k + 1 : k - 1;
    const fromX = step === 0 ? 0 : (furthest.get(fromK) ?? 0);
    const fromY = step === 0 ? 0 : fromX - fromK;
    while (x > fromX && y > fromY && !(step > 0 && x === fromX + (down ? 0 : 1) && y === fromY + (down ? 1 : 0))) {
      edits.push({ kind: ' ', line: olds[x - 1]! });
      x--;
      y--;
    }
    if (step === 0) break;
    if (down) edits.push({ kind: '+', line: news[y - 1]! });
    else edits.push({ kind: '-', line: olds[x - 1]! });
    x = fromX;
    y = fromY;
  }
  return edits.reverse();
}

function hunks(edits: readonly Edit[]): string {
  let text = '';
  let oldLine = 1;
  let newLine = 1;
  let at = 0;
  while (at < edits.length) {
    if (edits[at]!.kind === ' ') {
      at++;
      oldLine++;
      newLine++;
      continue;
    }
    const from = Math.max(0, at - contextLines);
    let until = at;
    for (let i = at; i < edits.length && i <= until + 2 * contextLines; i++) if (edits[i]!.kind !== ' ') until = i;
    const hunk = edits.slice(from, Math.min(edits.length, until + 1 + contextLines));
    const olds = hunk.filter(({ kind }) => kind !== '+').length;
    const news = hunk.filter(({ kind }) => kind !== '-').length;
    const lead = at - from;
    text += `@@ -${range(oldLine - lead, olds)} +${range(newLine - lead, news)} @@\n`;
    for (const { kind, line } of hunk)
      text += kind + (line.endsWith('\n') ? line : `${line}\n\\ No newline at end of file\n`);
    oldLine += olds - lead;
    newLine += news - lead;
    at = from + hunk.length;
  }
  return text;
}

/** `line,count`; a range without lines names the line before it. */
function range(line: number, count: number): string {
  if (count === 1) return `${line}`;
  return count === 0 ? `${line - 1},0` : `${line},${count}`;
}
