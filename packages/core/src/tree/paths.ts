import { IpeError } from '../errors.ts';

/** Most segments a policy path may have. */
export const maxPathSegments = 64;
/** Most policies and namespaces a directory may hold. */
export const maxDirectoryEntries = 10_000;

const segmentPattern = /^[a-z0-9][a-z0-9_-]{0,63}$/;
const pathPattern = /^[a-z0-9][a-z0-9_-]{0,63}(?:\.[a-z0-9][a-z0-9_-]{0,63}){0,63}$/;

const policySuffix = '.policy';
const testSuffix = '.test.yaml';

/** Tells whether `name` may be one segment of a path. */
export function isSegment(name: string): boolean {
  return segmentPattern.test(name);
}

/** Segments of a policy path. @throws IpeError `invalid_params` that says what is wrong with it. */
export function policySegments(path: string): string[] {
  if (typeof path === 'string' && pathPattern.test(path)) return path.split('.');
  throw badPath(path);
}

/** Segments of the path of a policy or a directory; `""` is the root directory and has none. */
export function nodeSegments(path: string): string[] {
  return path === '' ? [] : policySegments(path);
}

function badPath(path: unknown): IpeError {
  const details = { path };
  if (typeof path !== 'string') return new IpeError('invalid_params', 'a policy path is a text', { details });
  if (path === '') return new IpeError('invalid_params', 'a policy path cannot be empty', { details });
  const shown = path.length > 200 ? `${path.slice(0, 200)}...` : path;
  if (path.length > maxPathSegments * 65 || path.split('.').length > maxPathSegments) {
    const message = `path \`${shown}\` has more than ${maxPathSegments} segments`;
    return new IpeError('invalid_params', message, { details });
  }
  const segment = path.split('.').find((each) => !isSegment(each)) ?? '';
  const why = segment === '' ? 'an empty segment' : `the segment \`${segment.slice(0, 100)}\``;
  const rule = 'segments are 1 to 64 of a-z, 0-9, `_` and `-`, beginning with a letter or digit, joined by `.`';
  return new IpeError('invalid_params', `path \`${shown}\` has ${why}; ${rule}`, { details });
}

/** Path of a child of a directory. */
export function childPath(directory: string, name: string): string {
  return directory === '' ? name : `${directory}.${name}`;
}

/** Path of the directory that holds a node; undefined for the root. */
export function parentPath(path: string): string | undefined {
  if (path === '') return undefined;
  return path.slice(0, Math.max(0, path.lastIndexOf('.')));
}

/** Last segment of a path. */
export function baseName(path: string): string {
  return path.slice(path.lastIndexOf('.') + 1);
}

/** Number of segments. */
export function depthOf(path: string): number {
  if (path === '') return 0;
  let depth = 1;
  for (let i = 0; i < path.length; i++) if (path.charCodeAt(i) === 0x2e) depth++;
  return depth;
}

/**
 * Order of paths: segment by segment, so that what lies below a directory follows it at once. Differs from string order
 * only in that `.` comes before `-`.
 */
export function comparePaths(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const left = a.charCodeAt(i);
    const right = b.charCodeAt(i);
    if (left !== right) return (left === 0x2e ? 0 : left) - (right === 0x2e ? 0 : right);
  }
  return a.length - b.length;
}

/** Whether `path` is `prefix` or lies below it. */
export function isWithin(path: string, prefix: string): boolean {
  return prefix === '' || path === prefix || (path.startsWith(prefix) && path.charCodeAt(prefix.length) === 0x2e);
}

/** Entry of a policy's own tree in its directory. */
export function policyEntry(name: string): string {
  return name + policySuffix;
}

/** Entry of a policy's tests in its directory. */
export function testEntry(name: string): string {
  return name + testSuffix;
}

/** What an entry of a directory's Git tree stands for; undefined for a name the tree never writes. */
export function classifyEntry(entry: string, kind: 'blob' | 'tree'): { name: string; part: EntryPart } | undefined {
  let part: EntryPart = 'directory';
  let name = entry;
  if (kind === 'tree' && entry.endsWith(policySuffix)) {
    part = 'policy';
    name = entry.slice(0, -policySuffix.length);
  } else if (kind === 'blob') {
    if (!entry.endsWith(testSuffix)) return undefined;
    part = 'test';
    name = entry.slice(0, -testSuffix.length);
  }
  return isSegment(name) ? { name, part } : undefined;
}

export type EntryPart = 'directory' | 'policy' | 'test';

/**
 * The candidate that `wanted` was most likely meant to be: the smallest edit distance, at most a third of its length.
 * Looks at no more than 10,000 candidates.
 */
export function nearest(wanted: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(wanted.length / 3)) + 1;
  let looked = 0;
  for (const candidate of candidates) {
    if (++looked > 10_000) break;
    if (Math.abs(candidate.length - wanted.length) >= bestDistance) continue;
    const distance = editDistance(wanted, candidate, bestDistance);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string, limit: number): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    let smallest = i;
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1]! + (a.charCodeAt(i - 1) === b.charCodeAt(j - 1) ? 0 : 1);
      row[j] = Math.min(substitution, previous[j]! + 1, row[j - 1]! + 1);
      smallest = Math.min(smallest, row[j]!);
    }
    if (smallest >= limit) return limit;
    previous = row;
  }
  return previous[b.length]!;
}
