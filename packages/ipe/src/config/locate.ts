/**
 * Finds the line of a TOML file that sets something, for error messages: the TOML parser in use tells positions of
 * syntax errors only. Understands headers, dotted and quoted keys, and skips multi-line values.
 *
 * @param path Keys and array indexes, such as `['cluster', 'seeds', 0]`.
 * @returns The 1-based line of the longest part of `path` that the text sets; undefined where it sets none of it.
 */
export function locateToml(source: string, path: readonly (string | number)[]): number | undefined {
  const wanted = path.map(String);
  let best: { line: number; depth: number } | undefined;
  const offer = (line: number, found: readonly string[]) => {
    if (found.length > wanted.length || !found.every((part, i) => part === wanted[i])) return;
    if (best === undefined || found.length > best.depth) best = { line, depth: found.length };
  };
  let table: string[] = [];
  const arrayIndexes = new Map<string, number>();
  let skipUntil: string | undefined;
  let brackets = 0;
  for (const [index, line] of source.split('\n').entries()) {
    if (skipUntil !== undefined) {
      if (line.includes(skipUntil)) skipUntil = undefined;
      continue;
    }
    if (brackets > 0) {
      brackets += bracketBalance(line);
      continue;
    }
    const header = /^\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(?:#.*)?$/.exec(line);
    if (header !== null && !/^\s*[^[\s]+\s*=/.test(line)) {
      table = splitKey(header[2]!);
      if (header[1] === '[[') {
        const name = table.join('\0');
        const at = (arrayIndexes.get(name) ?? -1) + 1;
        arrayIndexes.set(name, at);
        table = [...table, String(at)];
      }
      offer(index + 1, table);
      continue;
    }
    const pair =
      /^\s*((?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+))*)\s*=\s*(.*)$/.exec(line);
    if (pair === null) continue;
    offer(index + 1, [...table, ...splitKey(pair[1]!)]);
    const value = pair[2]!;
    const fence = /^("""|''')/.exec(value)?.[1];
    if (fence !== undefined) {
      if (!value.slice(3).includes(fence)) skipUntil = fence;
    } else brackets = Math.max(0, bracketBalance(value));
  }
  return best?.line;
}

function splitKey(text: string): string[] {
  return [...text.matchAll(/"([^"]*)"|'([^']*)'|[A-Za-z0-9_-]+/g)].map((part) => part[1] ?? part[2] ?? part[0]);
}

/** Opening less closing brackets of one line, outside strings and comments. */
function bracketBalance(line: string): number {
  const bare = line.replace(/"(?:[^"\\]|\\.)*"|'[^']*'/g, '').replace(/#.*$/, '');
  let balance = 0;
  for (const letter of bare) {
    if (letter === '[' || letter === '{') balance++;
    else if (letter === ']' || letter === '}') balance--;
  }
  return balance;
}
