import { canonicalJson, type Primitives } from '../bytes/index.ts';
import { IpeError } from '../errors.ts';
import { decodeExpression, type Expression, encodeExpression } from './cel/index.ts';
import { type FailurePolicy, failurePolicies, type ValidationAction, validationActions } from './document.ts';
import { isJsonObject, type Json, type JsonObject } from './json.ts';
import { languageVersion } from './language.ts';
import { bothTests, literalTests, noLiteralTests } from './literal-tests.ts';
import type { LiteralTests } from './planned.ts';

/** The compiled form of a policy: what the document says, without how it was written. */
export interface PolicyProgram {
  readonly matchConditions: readonly { readonly name?: string; readonly expression: Expression }[];
  readonly variables: readonly { readonly name: string; readonly expression: Expression }[];
  readonly validations: readonly ProgramValidation[];
  readonly params: JsonObject;
  readonly validationActions: readonly ValidationAction[];
  readonly failurePolicy: FailurePolicy;
  /** Data namespaces the expressions can read, sorted. */
  readonly namespaces: readonly string[];
}

export interface ProgramValidation {
  readonly expression: Expression;
  readonly message?: string;
  readonly messageExpression?: Expression;
  readonly reason?: string;
}

/** The canonical bytes of a program: equal programs, equal bytes, on any machine. RFC 8785 JSON. */
export function encodeProgram(program: PolicyProgram, primitives: Primitives): Uint8Array {
  const json = {
    language: languageVersion,
    matchConditions: program.matchConditions.map(({ name, expression }) => ({
      name,
      expression: encodeExpression(expression),
    })),
    variables: program.variables.map(({ name, expression }) => ({ name, expression: encodeExpression(expression) })),
    validations: program.validations.map(({ expression, message, messageExpression, reason }) => ({
      expression: encodeExpression(expression),
      message,
      messageExpression: messageExpression === undefined ? undefined : encodeExpression(messageExpression),
      reason,
    })),
    params: program.params,
    validationActions: program.validationActions,
    failurePolicy: program.failurePolicy,
    namespaces: program.namespaces,
  };
  return primitives.utf8Encode(canonicalJson(json));
}

/**
 * The program in canonical bytes, checked throughout, because it may come from a peer.
 *
 * @throws IpeError `corrupt` when no compiler of this language version makes such bytes
 */
export function decodeProgram(bytes: Uint8Array, primitives: Primitives): PolicyProgram {
  const json = parse(bytes, primitives);
  if (json['language'] !== languageVersion)
    throw corrupt(`it is of language version \`${String(json['language'])}\`, this engine reads ${languageVersion}`);
  return {
    matchConditions: list(json, 'matchConditions').map((item) => ({
      ...optionalText(item, 'name'),
      expression: expression(item, 'expression'),
    })),
    variables: list(json, 'variables').map((item) => ({
      name: text(item, 'name'),
      expression: expression(item, 'expression'),
    })),
    validations: list(json, 'validations').map((item) => ({
      expression: expression(item, 'expression'),
      ...optionalText(item, 'message'),
      ...('messageExpression' in item ? { messageExpression: expression(item, 'messageExpression') } : {}),
      ...optionalText(item, 'reason'),
    })),
    params: isJsonObject(json['params']) ? json['params'] : fail('params'),
    validationActions: words(json, 'validationActions', validationActions),
    failurePolicy: words({ list: [json['failurePolicy'] ?? null] }, 'list', failurePolicies)[0]!,
    namespaces: texts(json, 'namespaces'),
  };
}

/**
 * What every request must have for a program to apply: the literal tests of all its match conditions together. Reads
 * nothing else of the program, because an index asks it of every policy of a tree.
 *
 * @throws IpeError `corrupt` as `decodeProgram`
 */
export function programTests(bytes: Uint8Array, primitives: Primitives): LiteralTests {
  return list(parse(bytes, primitives), 'matchConditions')
    .map((item) => literalTests(expression(item, 'expression').root))
    .reduce(bothTests, noLiteralTests);
}

function parse(bytes: Uint8Array, primitives: Primitives): JsonObject {
  let json: unknown;
  try {
    json = JSON.parse(primitives.utf8Decode(bytes));
  } catch {
    throw corrupt('it is not JSON');
  }
  return isJsonObject(json) ? json : fail('document');
}

function list(json: JsonObject, name: string): readonly JsonObject[] {
  const value = json[name];
  if (!Array.isArray(value)) return fail(name);
  return value.map((item: Json) => (isJsonObject(item) ? item : fail(name)));
}

function texts(json: JsonObject, name: string): readonly string[] {
  const value = json[name];
  if (!Array.isArray(value)) return fail(name);
  return value.map((item: Json) => (typeof item === 'string' ? item : fail(name)));
}

function words<Word extends string>(json: JsonObject, name: string, known: readonly Word[]): readonly Word[] {
  return texts(json, name).map((word) => (known.includes(word as Word) ? (word as Word) : fail(name)));
}

function text(json: JsonObject, name: string): string {
  const value = json[name];
  return typeof value === 'string' ? value : fail(name);
}

function optionalText<Name extends string>(json: JsonObject, name: Name): { readonly [N in Name]?: string } {
  return json[name] === undefined ? {} : ({ [name]: text(json, name) } as { readonly [N in Name]?: string });
}

function expression(json: JsonObject, name: string): Expression {
  const decoded = decodeExpression(json[name] ?? null);
  if (!decoded.ok) throw corrupt(`an expression of it cannot be read: ${decoded.problems[0]?.message ?? name}`);
  return decoded.expression;
}

function fail(name: string): never {
  throw corrupt(`its \`${name}\` is not what a compiler writes`);
}

function corrupt(why: string): IpeError {
  return new IpeError('corrupt', `the compiled policy cannot be used: ${why}`, { details: { part: 'program' } });
}
