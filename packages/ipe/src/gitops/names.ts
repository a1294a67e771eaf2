import { nearest } from '@ipe/core';
import type { FileProblem } from '../policies/types.ts';

/** What a listing says about one name of a policy directory. `other` is a device, socket or pipe. */
export interface ListedFile {
  /** Below the directory, segments joined by `/`. */
  readonly path: string;
  readonly kind: 'file' | 'symlink' | 'submodule' | 'other';
}

/** Where one policy's texts are. */
export interface MappedPolicy {
  /** `prod.deployment.approval` */
  readonly path: string;
  readonly sourceFile: string;
  readonly testFile?: string;
}

export interface Mapping {
  /** In path order, each path once. */
  readonly policies: readonly MappedPolicy[];
  /** In file order. The mapping is usable only where there are none. */
  readonly problems: readonly FileProblem[];
  /** Files that are no policies and no mistakes: dot files, and names that end in neither `.yaml` nor `.yml`. */
  readonly ignored: readonly string[];
}

const policySuffix = '.policy.yaml';
const testSuffix = '.test.yaml';
const validName = /^[a-z0-9][a-z0-9_-]{0,63}$/;
const nameRule = 'names are `a-z`, `0-9`, `_` and `-`, at most 64 characters, and begin with a letter or digit';

/** Deepest path that is taken; the tree below holds 64 levels. */
export const segmentsMax = 64;

/**
 * Finds the policies among the files of a directory: folders are segments of the path, `name.policy.yaml` a policy,
 * `name.test.yaml` its tests. Reports every mistake at once; reads nothing.
 *
 * Ignored: whatever is in or under a name with a leading dot, and files whose names end in neither `.yaml` nor `.yml`.
 * Other YAML files are mistakes where policies stand beside them (or where there are no policies at all), because a
 * policy that is silently not enforced is the worst outcome; elsewhere they are ignored.
 *
 * @example
 * mapNames([{ path: 'prod/deployment/approval.policy.yaml', kind: 'file' }]).policies[0].path; // 'prod.deployment.approval'
 */
export function mapNames(files: readonly ListedFile[]): Mapping {
  const policies = new Map<string, { sourceFile: string; testFile?: string }>();
  const tests = new Map<string, string>();
  const problems: FileProblem[] = [];
  const ignored: string[] = [];
  const otherYaml: string[] = [];
  const foldersWithPolicies = new Set<string>();

  for (const { path: file, kind } of files) {
    const segments = file.split('/');
    const base = segments.at(-1)!;
    if (segments.some((segment) => segment.startsWith('.'))) {
      ignored.push(file);
      continue;
    }
    if (kind !== 'file') {
      problems.push(wrong(file, refusedKind[kind], 'file_kind'));
      continue;
    }
    const lower = base.toLowerCase();
    const type = lower.endsWith(policySuffix) ? 'policy' : lower.endsWith(testSuffix) ? 'test' : undefined;
    if (type === undefined) {
      if (!/\.ya?ml$/.test(lower)) ignored.push(file);
      else {
        const meant = misspelt(base);
        if (meant === undefined) otherYaml.push(file);
        else problems.push({ ...wrong(file, `did you mean \`${meant}\`?`), hint: meant });
      }
      continue;
    }
    foldersWithPolicies.add(segments.slice(0, -1).join('/'));
    const name = base.slice(0, -(type === 'policy' ? policySuffix : testSuffix).length);
    const parts = [...segments.slice(0, -1), name];
    const bad = checkSegments(parts, base, type);
    if (bad !== undefined) {
      problems.push({ ...wrong(file, bad.message), ...bad });
      continue;
    }
    const path = parts.join('.');
    const already = type === 'policy' ? policies.get(path)?.sourceFile : tests.get(path);
    if (already !== undefined) problems.push(wrong(file, `is \`${path}\` a second time, after \`${already}\``));
    else if (type === 'policy') policies.set(path, { sourceFile: file });
    else tests.set(path, file);
  }

  for (const file of otherYaml) {
    const folder = file.slice(0, Math.max(0, file.lastIndexOf('/')));
    if (policies.size > 0 && !foldersWithPolicies.has(folder)) {
      ignored.push(file);
      continue;
    }
    const meant = file.slice(file.lastIndexOf('/') + 1).replace(/\.ya?ml$/i, policySuffix);
    problems.push({ ...wrong(file, `is not a policy by its name; did you mean \`${meant}\`?`), hint: meant });
  }
  for (const [path, file] of tests) {
    const policy = policies.get(path);
    if (policy !== undefined) policy.testFile = file;
    else {
      const bad = orphan(file, policies);
      problems.push({ ...wrong(file, bad.message), ...bad });
    }
  }
  problems.push(...policiesThatAreFolders(policies));

  return {
    policies: [...policies].map(([path, where]) => ({ path, ...where })).sort((a, b) => order(a.path, b.path)),
    problems: problems.sort((a, b) => order(a.file, b.file)),
    ignored: ignored.sort(order),
  };
}

function wrong(file: string, message: string, code = 'file_name'): FileProblem {
  return { file, severity: 'error', code, message };
}

const refusedKind = {
  symlink: 'is a symbolic link, which could lead anywhere; put the file itself here',
  submodule: 'is a submodule, which is not followed; sync its repository under a prefix of its own',
  other: 'is not a regular file',
} as const;

function checkSegments(
  parts: readonly string[],
  base: string,
  type: 'policy' | 'test',
): Pick<FileProblem, 'message' | 'hint'> | undefined {
  const suffix = type === 'policy' ? policySuffix : testSuffix;
  if (!base.endsWith(suffix)) {
    const meant = base.slice(0, -suffix.length) + suffix;
    return { message: `must end in \`${suffix}\`; did you mean \`${meant}\`?`, hint: meant };
  }
  for (const [index, part] of parts.entries()) {
    if (validName.test(part)) continue;
    const what = index === parts.length - 1 ? (type === 'policy' ? 'policy' : 'test') : 'folder';
    const meant = repaired(part);
    const hint = meant === undefined ? '' : `; did you mean \`${meant}\`?`;
    return {
      message: `\`${part}\` is not a valid ${what} name: ${nameRule}${hint}`,
      ...(meant !== undefined && { hint: meant }),
    };
  }
  if (parts.length > segmentsMax)
    return { message: `lies ${parts.length} levels deep, at most ${segmentsMax} are taken` };
  return undefined;
}

/** The valid name closest to `part`: lower case, other characters as `-`. */
function repaired(part: string): string | undefined {
  const name = part
    .toLowerCase()
    .replace(/[^a-z0-9_-]+/g, '-')
    .replace(/^[-_]+|-+$/g, '')
    .slice(0, 64);
  return validName.test(name) ? name : undefined;
}

/** `a.polciy.yaml`, `a.policy.yml` and `a.policy.yaml.yml` are mistakes wherever they stand. */
function misspelt(base: string): string | undefined {
  const match = /^(.+?)\.([A-Za-z]+)\.(ya?ml)$/i.exec(base);
  if (match === null) return undefined;
  const meant = nearest(match[2]!, ['policy', 'test', 'policies', 'tests']);
  if (meant === undefined) return undefined;
  return match[1] + (meant.startsWith('policy') || meant === 'policies' ? policySuffix : testSuffix);
}

function orphan(
  file: string,
  policies: ReadonlyMap<string, { readonly sourceFile: string }>,
): Pick<FileProblem, 'message' | 'hint'> {
  const folder = file.slice(0, file.lastIndexOf('/') + 1);
  const base = file.slice(folder.length);
  const beside: string[] = [];
  for (const { sourceFile } of policies.values())
    if (sourceFile.startsWith(folder) && !sourceFile.slice(folder.length).includes('/'))
      beside.push(sourceFile.slice(folder.length, -policySuffix.length));
  const name = base.slice(0, -testSuffix.length);
  const close = nearest(name, beside);
  return {
    message: `tests a policy that is not there: no \`${name}${policySuffix}\` beside it${
      close === undefined ? '' : `; did you mean \`${close}${testSuffix}\`?`
    }`,
    ...(close !== undefined && { hint: close + testSuffix }),
  };
}

function policiesThatAreFolders(policies: ReadonlyMap<string, { readonly sourceFile: string }>): FileProblem[] {
  const folders = new Map<string, string>();
  for (const [path, { sourceFile }] of policies)
    for (let dot = path.indexOf('.'); dot >= 0; dot = path.indexOf('.', dot + 1))
      if (!folders.has(path.slice(0, dot))) folders.set(path.slice(0, dot), sourceFile);
  const problems: FileProblem[] = [];
  for (const [path, { sourceFile }] of policies) {
    const inside = folders.get(path);
    if (inside !== undefined)
      problems.push(
        wrong(sourceFile, `\`${path}\` is a policy here and a folder of \`${inside}\`; a name is one or the other`),
      );
  }
  return problems;
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
