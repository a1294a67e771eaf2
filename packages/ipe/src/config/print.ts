import type { ConfigCheck } from './load.ts';
import { jsonSchema } from './load.ts';
import type { RawConfig, SchemaNode } from './sources.ts';

/**
 * The whole configuration in effect as TOML, each value followed by where it came from; fields without a value stand
 * as comments. Reads back as the same configuration.
 */
export async function printConfig(check: ConfigCheck): Promise<string> {
  const lines: string[] = [];
  table(await jsonSchema(), check.raw, [], check, lines);
  return `${lines.join('\n').trim()}\n`;
}

function table(schema: SchemaNode, raw: RawConfig, path: readonly string[], check: ConfigCheck, lines: string[]): void {
  const nested: (() => void)[] = [];
  const own: string[] = [];
  const keys = new Set([...Object.keys(schema.properties ?? {}), ...Object.keys(raw)]);
  for (const key of keys) {
    const rest = schema.additionalProperties;
    const node = schema.properties?.[key] ?? (typeof rest === 'object' ? rest : {});
    const at = [...path, key];
    const value = Object.hasOwn(raw, key) ? raw[key] : undefined;
    if (isTable(node)) {
      nested.push(() => table(node, (value ?? {}) as RawConfig, at, check, lines));
      continue;
    }
    const effective = value ?? node.default;
    const dotted = at.join('.');
    own.push(effective === undefined ? `# ${key} =` : `${key} = ${tomlValue(effective)}  # ${check.source(dotted)}`);
  }
  if (own.length > 0) lines.push('', ...(path.length === 0 ? [] : [`[${path.map(quote).join('.')}]`]), ...own);
  for (const print of nested) print();
}

const isTable = (node: SchemaNode) =>
  node.type === 'object' && (node.properties !== undefined || typeof node.additionalProperties === 'object');

/** A value on one line: TOML's strings, numbers and booleans are JSON's, its inline tables have `=` for `:`. */
function tomlValue(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(tomlValue).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const pairs = Object.entries(value).map(([key, each]) => `${quote(key)} = ${tomlValue(each)}`);
  return `{ ${pairs.join(', ')} }`;
}

const quote = (key: string) => (/^[A-Za-z0-9_-]+$/.test(key) ? key : JSON.stringify(key));

/**
 * The reference of every section and key, as Markdown: meaning, type, unit, default.
 * `docs/reference/config.md` is this text.
 */
export async function configReference(): Promise<string> {
  const lines = [
    '# Configuration',
    '',
    'TOML. Flag over environment (`IPE_SECTION__KEY`, a double underscore for each dot) over file over default.',
    'Durations are written `500ms`, `5s`, `10m`, `24h`, `7d`; sizes as bytes or `64KiB`, `10MiB`, `1GiB`.',
  ];
  section(await jsonSchema(), [], lines);
  return `${lines.join('\n')}\n`;
}

function section(schema: SchemaNode, path: readonly string[], lines: string[]): void {
  const entries = Object.entries(schema.properties ?? {});
  const leaves = entries.filter(([, node]) => !isTable(node));
  if (path.length > 0) lines.push('', `## \`[${path.join('.')}]\``, '', schema.description ?? '');
  if (leaves.length > 0) {
    lines.push('', '| key | type | default | meaning |', '|---|---|---|---|');
    for (const [key, node] of leaves)
      lines.push(`| \`${key}\` | ${typeOf(node)} | ${fallback(node)} | ${node.description ?? ''} |`);
  }
  for (const [key, node] of entries) if (isTable(node)) section(node, [...path, key], lines);
  if (typeof schema.additionalProperties === 'object') section(schema.additionalProperties, [...path, '<name>'], lines);
}

function typeOf(node: SchemaNode): string {
  if (node.enum !== undefined) return node.enum.map((value) => `\`${String(value)}\``).join(', ');
  if (node.type === 'array') return 'array';
  return node.unit ?? node.type ?? 'text';
}

const fallback = (node: SchemaNode) => (node.default === undefined ? '' : `\`${JSON.stringify(node.default)}\``);
