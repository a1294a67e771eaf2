import { IpeError } from '@ipe/core';
import {
  Activation,
  checkExpression,
  dyn,
  type Environment,
  isFailure,
  noFacts,
  parseExpression,
  planExpression,
  string,
} from '@ipe/core/policy/cel';

/** Whether an entry's value passes; bytes come as `Uint8Array`. */
export type ValueFilter = (value: unknown, key: string) => boolean;

const pathsMax = 64;
/** Steps that an expression may take on one entry. */
const stepsPerEntry = 50_000;

/**
 * Reads a filter: an object of dotted paths and the JSON each must equal, or a CEL expression over `value` (and `key`).
 * An entry on which the expression fails, as by a field it lacks, does not pass.
 * @throws IpeError `invalid_params`
 * @example readFilter({ 'approver.role': 'senior' }), readFilter('size(value.approvers) >= 2')
 */
export function readFilter(raw: unknown): ValueFilter | undefined {
  if (raw === undefined || raw === null) return undefined;
  if (typeof raw === 'string') return readExpression(raw);
  if (typeof raw !== 'object' || Array.isArray(raw))
    throw refuse('must be an object of paths and values, or a CEL expression');
  const wanted = Object.entries(raw);
  if (wanted.length > pathsMax) throw refuse(`has ${wanted.length} paths, at most ${pathsMax} are taken`);
  const tests = wanted.map(([path, value]) => ({ segments: path.split('.'), value }));
  return (value) => tests.every((test) => equals(at(value, test.segments), test.value));
}

const environment: Environment = {
  roots: [
    { name: 'value', type: dyn },
    { name: 'key', type: string },
  ],
  variables: [],
  laterVariables: [],
  facts: false,
  factTypes: new Map(),
  container: '',
};

function readExpression(text: string): ValueFilter {
  const parsed = parseExpression(text);
  if (!parsed.ok) throw refuse(`is not CEL: ${parsed.problems[0]!.message}`);
  const { problems } = checkExpression(parsed.expression, environment);
  if (problems.length > 0) throw refuse(`is not accepted: ${problems[0]!.message}`);
  const program = planExpression(parsed.expression, environment, { label: 'filter' });
  return (value, key) => {
    const result = program.evaluate(new Activation([value, key], noFacts, [], stepsPerEntry));
    if (isFailure(result)) return false;
    if (typeof result !== 'boolean') throw refuse('must give true or false');
    return result;
  };
}

function at(value: unknown, segments: readonly string[]): unknown {
  let found = value;
  for (const segment of segments) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, segment)) return undefined;
    found = (found as Readonly<Record<string, unknown>>)[segment];
  }
  return found;
}

/** Equality of JSON values; members in any order. */
function equals(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const names = Object.keys(a);
  if (names.length !== Object.keys(b).length) return false;
  return names.every(
    (name) =>
      Object.hasOwn(b, name) && equals((a as Record<string, unknown>)[name], (b as Record<string, unknown>)[name]),
  );
}

function refuse(why: string): IpeError {
  return new IpeError('invalid_params', `\`filter\` ${why}`, { details: { field: 'filter' } });
}
