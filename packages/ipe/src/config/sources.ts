import { parse, TomlError } from 'smol-toml';
import type { ConfigProblem } from './problems.ts';

/** Where a value came from, strongest first: a flag wins over the environment, that over the file. */
export type ConfigSource = 'flag' | 'environment' | 'file' | 'default';

/** A JSON Schema node, as far as reading values needs it. */
export interface SchemaNode {
  readonly type?: string;
  readonly description?: string;
  readonly unit?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly examples?: readonly unknown[];
  readonly anyOf?: readonly SchemaNode[];
  readonly items?: SchemaNode;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly additionalProperties?: SchemaNode | boolean;
}

/** Plain nested tables, as TOML gives them. */
export type RawConfig = { [key: string]: unknown };

/** Reads TOML text; a syntax error becomes a problem with its line and column. */
export function parseToml(source: string): { raw: RawConfig; problems: ConfigProblem[] } {
  try {
    return { raw: parse(source) as RawConfig, problems: [] };
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const said = error.message.split('\n')[0]!.replace(/^Invalid TOML document: /, '');
    return {
      raw: {},
      problems: [{ path: '', message: `not TOML: ${said}`, source: 'file', line: error.line, column: error.column }],
    };
  }
}

/**
 * Values that the environment sets: `IPE_SECTION__KEY`, a double underscore for each dot, such as
 * `IPE_CLUSTER__LISTEN` or `IPE_PREDICATE_SERVICE__DATA_PLANE__BATCH_SIZE`. Variables without a double underscore
 * (`IPE_DIR`, `IPE_JOIN_TOKEN`) belong to the command line.
 */
export function fromEnvironment(environment: Readonly<Record<string, string | undefined>>, schema: SchemaNode) {
  const values: { path: string[]; value: unknown; variable: string }[] = [];
  for (const [variable, text] of Object.entries(environment)) {
    if (text === undefined || !variable.startsWith('IPE_') || !variable.includes('__')) continue;
    const path = variable.slice(4).toLowerCase().split('__');
    values.push({ path, value: readText(text, schemaAt(schema, path)), variable });
  }
  return values;
}

/** The schema of what stands at a path of keys; undefined where nothing may. */
export function schemaAt(schema: SchemaNode, path: readonly string[]): SchemaNode | undefined {
  let node: SchemaNode | undefined = schema;
  for (const key of path) {
    const rest: SchemaNode | boolean | undefined = node?.additionalProperties;
    node = node?.properties?.[key] ?? (typeof rest === 'object' ? rest : undefined);
  }
  return node;
}

/** A value given as text (environment, flag), by the type its field has; what does not fit is left for the schema to refuse. */
export function readText(text: string, node: SchemaNode | undefined): unknown {
  const types = node?.anyOf?.map((each) => each.type) ?? [node?.type];
  if (types.includes('array') || types.includes('object')) {
    try {
      return parse(`value = ${text}`).value;
    } catch {
      return types.includes('array') ? text.split(',').map((part) => part.trim()) : text;
    }
  }
  if ((types.includes('integer') || types.includes('number')) && /^-?\d+(\.\d+)?$/.test(text)) return Number(text);
  if (types.includes('boolean') && (text === 'true' || text === 'false')) return text === 'true';
  return text;
}

/** Sets a value deep inside nested tables, making the tables on the way. Own properties only. */
export function setAt(raw: RawConfig, path: readonly string[], value: unknown): void {
  let at = raw;
  for (const key of path.slice(0, -1)) {
    const next = Object.hasOwn(at, key) ? at[key] : undefined;
    if (typeof next === 'object' && next !== null && !Array.isArray(next)) at = next as RawConfig;
    else {
      const made: RawConfig = {};
      define(at, key, made);
      at = made;
    }
  }
  define(at, path.at(-1)!, value);
}

const define = (target: RawConfig, key: string, value: unknown) =>
  Object.defineProperty(target, key, { value, writable: true, enumerable: true, configurable: true });
