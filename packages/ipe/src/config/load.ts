import { IpeError, nearest } from '@ipe/core';
import type { ZodError, z } from 'zod';
import { locateToml } from './locate.ts';
import { type ConfigProblem, placeOf, renderProblem } from './problems.ts';
import type { Config } from './schema.ts';
import {
  type ConfigSource,
  fromEnvironment,
  parseToml,
  type RawConfig,
  readText,
  type SchemaNode,
  schemaAt,
  setAt,
} from './sources.ts';

/** What a configuration is read from. Nothing is looked up elsewhere: the caller passes the environment it wants seen. */
export interface ConfigInput {
  /** Text of the TOML file; absent: defaults. */
  readonly file?: string;
  /** Its name, for messages. */
  readonly fileName?: string;
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Values of command-line flags by dotted path, such as `cluster.listen`. */
  readonly flags?: Readonly<Record<string, string | number | boolean | readonly string[]>>;
}

/** A configuration that was read, with its problems; `config` is there only when there are none. */
export interface ConfigCheck {
  readonly config?: Config;
  readonly problems: readonly ConfigProblem[];
  /** Which source set the key at a dotted path. */
  source(path: string): ConfigSource;
  /** Values before reading, as written, without defaults. */
  readonly raw: RawConfig;
}

/**
 * Reads a configuration: flag over environment over file over default. Never throws for what the input says; every
 * problem is reported at once, with the line of the file and the nearest valid name of an unknown key.
 */
export async function checkConfig(input: ConfigInput = {}): Promise<ConfigCheck> {
  const { configSchema } = await import('./schema.ts');
  const schema = await jsonSchema();
  const { raw, problems } = parseToml(input.file ?? '');
  const sources = new Map<string, { source: ConfigSource; variable?: string }>();
  for (const { path, value, variable } of fromEnvironment(input.environment ?? {}, schema)) {
    setAt(raw, path, value);
    sources.set(path.join('.'), { source: 'environment', variable });
  }
  for (const [dotted, value] of Object.entries(input.flags ?? {})) {
    const path = dotted.split('.');
    setAt(raw, path, typeof value === 'string' ? readText(value, schemaAt(schema, path)) : value);
    sources.set(dotted, { source: 'flag' });
  }
  const originOf = (dotted: string) => {
    for (let path = dotted; path !== ''; path = path.slice(0, Math.max(0, path.lastIndexOf('.')))) {
      const found = sources.get(path);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  const source = (dotted: string): ConfigSource => {
    const found = originOf(dotted);
    if (found !== undefined) return found.source;
    return isSet(raw, dotted.split('.')) ? 'file' : 'default';
  };
  const parsed = configSchema.safeParse(raw);
  if (!parsed.success) {
    for (const problem of explain(parsed.error, schema)) {
      const origin = originOf(problem.path);
      const line = origin === undefined ? locateToml(input.file ?? '', problem.keys) : undefined;
      problems.push({
        path: problem.path,
        message: problem.message,
        source: origin?.source ?? 'file',
        ...(origin?.variable === undefined ? {} : { variable: origin.variable }),
        ...(line === undefined ? {} : { line }),
        ...(problem.nearest === undefined ? {} : { nearest: problem.nearest }),
      });
    }
    problems.sort((a, b) => (a.line ?? 0) - (b.line ?? 0));
  }
  const clean = problems.length === 0 && parsed.success;
  return { ...(clean ? { config: parsed.data } : {}), problems, source, raw };
}

/**
 * Reads a configuration that must be right.
 * @throws IpeError `invalid_params` with the problem, or, where there are several, with all of them as `problems` in the details.
 */
export async function loadConfig(input: ConfigInput = {}): Promise<Config> {
  const { config, problems } = await checkConfig(input);
  if (config !== undefined) return config;
  const file = input.fileName ?? 'configuration';
  const first = renderProblem(problems[0]!, file);
  const message = problems.length === 1 ? first : `the configuration has ${problems.length} problems`;
  const details = problems.map((problem) => ({ ...problem, severity: 'error', file: placeOf(problem, file) }));
  throw new IpeError('invalid_params', message, problems.length === 1 ? {} : { details: { problems: details } });
}

/** The configuration file as JSON Schema (draft 2020-12), for editors. */
export async function jsonSchema(): Promise<SchemaNode> {
  const [{ configSchema }, { z }] = await Promise.all([import('./schema.ts'), import('zod')]);
  return z.toJSONSchema(configSchema, { io: 'input' }) as SchemaNode;
}

interface Explained {
  readonly path: string;
  readonly keys: readonly (string | number)[];
  readonly message: string;
  readonly nearest?: string;
}

function explain(error: ZodError, schema: SchemaNode): Explained[] {
  return error.issues.flatMap((issue): Explained[] => {
    const keys = issue.path.map((key) => (typeof key === 'symbol' ? String(key) : key));
    const path = keys.join('.');
    if (issue.code === 'unrecognized_keys') {
      const known = Object.keys(nodeAt(schema, keys)?.properties ?? {});
      return issue.keys.map((key) => {
        const close = nearest(key, known);
        const where = path === '' ? 'at the top' : `in [${path}]`;
        const hint = close === undefined ? `known there: ${known.join(', ')}` : `did you mean \`${close}\`?`;
        const full = [...keys, key];
        const message = `unknown key \`${key}\` ${where}: ${hint}`;
        return { path: full.join('.'), keys: full, message, ...(close === undefined ? {} : { nearest: close }) };
      });
    }
    return [{ path, keys, message: `\`${path}\`: ${describe(issue)}` }];
  });
}

function describe(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_value')
    return `expected one of ${issue.values.map((value) => `\`${String(value)}\``).join(', ')}`;
  if (issue.code === 'invalid_key') return issue.issues.map((each) => each.message).join('; ');
  if (issue.code === 'invalid_union') {
    const told = issue.errors.flat().find((each) => each.code !== 'invalid_type') ?? issue.errors.flat()[0];
    return told === undefined ? issue.message : describe(told);
  }
  if (issue.code === 'invalid_type') return issue.message.replace(/^Invalid input: /, '');
  if (issue.code === 'too_small') return `expected at least ${String(issue.minimum)}`;
  if (issue.code === 'too_big') return `expected at most ${String(issue.maximum)}`;
  return issue.message;
}

function nodeAt(schema: SchemaNode, keys: readonly (string | number)[]): SchemaNode | undefined {
  let node: SchemaNode | undefined = schema;
  for (const key of keys) node = typeof key === 'number' ? node?.items : node && schemaAt(node, [key]);
  return node;
}

function isSet(raw: RawConfig, path: readonly string[]): boolean {
  let at: unknown = raw;
  for (const key of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return false;
    at = (at as RawConfig)[key];
  }
  return true;
}
