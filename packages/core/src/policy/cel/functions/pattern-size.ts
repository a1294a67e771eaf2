/**
 * How large a pattern's program will be, before it is compiled: repetitions multiply, classes weigh more than characters.
 * A bound for refusing and charging, not a parser: what it misreads, the compiler then refuses or compiles.
 */
export function patternSize(pattern: string): number {
  /** Sizes of what is open: the whole, then each group. */
  const groups = [0];
  /** Size of the atom a repetition would apply to. */
  let atom = 0;
  const add = (size: number): void => {
    groups[groups.length - 1]! += size;
    atom = size;
  };
  for (let at = 0; at < pattern.length; at++) {
    switch (pattern[at]) {
      case '\\': {
        const isClass = /^[pP]/.test(pattern.slice(at + 1, at + 2));
        add(isClass ? unicodeClassSize : 1);
        at += !isClass ? 1 : pattern[at + 2] === '{' ? Math.max(2, pattern.indexOf('}', at) - at) : 2;
        break;
      }
      case '[': {
        const end = classEnd(pattern, at);
        const text = pattern.slice(at, end);
        add(/\\[pP]|\^/.test(text) ? unicodeClassSize : Math.max(1, text.length >> 1));
        at = end;
        break;
      }
      case '(':
        groups.push(0);
        break;
      case ')': {
        const size = groups.length > 1 ? groups.pop()! + 2 : 0;
        add(size);
        break;
      }
      case '{': {
        const counts = /^\{(\d{1,4})(?:,(\d{0,4}))?\}/.exec(pattern.slice(at, at + 12));
        if (counts === null) add(1);
        else {
          const times = Math.max(Number(counts[1]), Number(counts[2] ?? 0), 1);
          groups[groups.length - 1]! += atom * (times - 1);
          atom *= times;
          at += counts[0].length - 1;
        }
        break;
      }
      default:
        add(1);
    }
    if (groups.length > 1_000) return Number.POSITIVE_INFINITY;
  }
  return groups.reduce((sum, size) => sum + size, 0);
}

/** Classes of Unicode compile to tens of ranges. */
const unicodeClassSize = 40;

/** Index of the bracket that closes the class opened at `start`; the last index when none does. */
function classEnd(pattern: string, start: number): number {
  let at = start + 1;
  if (pattern[at] === '^') at++;
  if (pattern[at] === ']') at++;
  for (; at < pattern.length; at++) {
    if (pattern[at] === '\\') at++;
    else if (pattern.startsWith('[:', at)) at = Math.max(at, pattern.indexOf(':]', at) + 1);
    else if (pattern[at] === ']') return at;
  }
  return pattern.length;
}
