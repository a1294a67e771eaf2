import type { JsonObject } from './json.ts';
import type { Problem } from './problem.ts';
import { hasErrors, sortProblems } from './problem.ts';
import { type Field, ShapeReader, type Text } from './shape.ts';
import { type YamlNode, YamlSource, yamlLimits } from './yaml-source.ts';

/** What a policy may do when a validation does not hold. */
export const validationActions = ['Deny', 'Warn', 'Audit'] as const;
export type ValidationAction = (typeof validationActions)[number];

/** What an expression that errors does: `Fail` denies, `Ignore` makes the policy not applicable. */
export const failurePolicies = ['Fail', 'Ignore'] as const;
export type FailurePolicy = (typeof failurePolicies)[number];

/** A policy document as it was written, defaults filled in. */
export interface PolicyDocument {
  readonly description?: string;
  readonly matchConditions: readonly MatchCondition[];
  readonly variables: readonly Variable[];
  readonly validations: readonly Validation[];
  readonly params: JsonObject;
  /** In the order of `validationActions`, each once, at least one. */
  readonly validationActions: readonly ValidationAction[];
  readonly failurePolicy: FailurePolicy;
}

export interface MatchCondition {
  readonly name?: string;
  readonly expression: string;
}

export interface Variable {
  readonly name: string;
  readonly expression: string;
}

export interface Validation {
  readonly expression: string;
  readonly message?: string;
  readonly messageExpression?: string;
  /** Stable name of the refusal, for machines. */
  readonly reason?: string;
}

/** Where each expression of a document stands, in the document's order; what the compiler reports through. */
export interface ExpressionPlaces {
  readonly matchConditions: readonly Text[];
  readonly variables: readonly Text[];
  readonly validations: readonly { readonly expression: Text; readonly messageExpression?: Text }[];
}

export interface ReadDocument {
  readonly source: YamlSource;
  /** Absent when the document has errors of form. */
  readonly document?: PolicyDocument;
  /** Expressions found, also where other parts are wrong, so that every problem can be told at once. */
  readonly places: ExpressionPlaces;
  /** Parameters as far as they could be read. */
  readonly params: JsonObject;
  /** Names of the variables that `places.variables` belong to. */
  readonly variableNames: readonly string[];
}

export const policyFields = [
  'description',
  'matchConditions',
  'variables',
  'validations',
  'params',
  'validationActions',
  'failurePolicy',
] as const;
export const matchConditionFields = ['name', 'expression'] as const;
export const variableFields = ['name', 'expression'] as const;
export const validationFields = ['expression', 'message', 'messageExpression', 'reason'] as const;

/** A CEL identifier; `variables.<name>` must be one. */
export const variableNamePattern = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** A reason is a word that programs compare: letters, digits, `_`, `-`, `.`. */
export const reasonPattern = /^[A-Za-z][A-Za-z0-9_.-]{0,127}$/;
/** Reasons that IPE itself gives; a policy's own must differ. */
export const reservedReasons = ['evaluation_error'] as const;

/** Items of each list of a policy, at most. */
export const listLengthMax = 256;

/**
 * The document of a policy's YAML text, without looking into its expressions.
 *
 * @returns the document, or undefined and the errors; warnings come with either. Problems stand in document order.
 * Source: the stanza of Kubernetes ValidatingAdmissionPolicy (admissionregistration.k8s.io/v1), DESIGN §3.
 */
export function parsePolicyDocument(text: string): { document?: PolicyDocument; problems: readonly Problem[] } {
  const { source, document } = readPolicyDocument(text);
  const problems = sortProblems(source.problems);
  return document === undefined || hasErrors(problems) ? { problems } : { document, problems };
}

/** Reads the document and keeps where its expressions stand; problems go to `source.problems`. */
export function readPolicyDocument(text: string): ReadDocument {
  const source = new YamlSource(text, yamlLimits.policyLengthMax);
  const reader = new ShapeReader(source);
  if (!source.wellFormed) return nothingRead(source);
  if (source.root === null) {
    source.report('empty', 'the document is empty', 0, 1, 'a policy has at least `validations`');
    return nothingRead(source);
  }
  const fields = reader.mapping(source.root, 'a policy', policyFields);
  if (fields === undefined) return nothingRead(source);
  const description = fields.description && reader.text(fields.description.value, 'the description');
  const conditions = readConditions(reader, fields.matchConditions);
  const variables = readVariables(reader, fields.variables);
  const validations = readValidations(reader, fields.validations);
  if (fields.validations === undefined)
    reader.missing(
      source.root,
      'a policy',
      'validations',
      'a policy that applies to everything still says what must hold: `expression: "true"`',
    );
  const params = fields.params && reader.object(fields.params.value, 'params');
  const actions = readActions(reader, fields.validationActions);
  const failurePolicy =
    fields.failurePolicy && reader.word(fields.failurePolicy.value, '`failurePolicy`', failurePolicies);
  const document: PolicyDocument = {
    ...(description === undefined ? {} : { description: description.value }),
    matchConditions: conditions.map(({ name, expression }) => ({
      ...(name === undefined ? {} : { name: name.value }),
      expression: expression.value,
    })),
    variables: variables.map(({ name, expression }) => ({ name: name.value, expression: expression.value })),
    validations: validations.map((v) => ({
      expression: v.expression.value,
      ...(v.message === undefined ? {} : { message: v.message.value }),
      ...(v.messageExpression === undefined ? {} : { messageExpression: v.messageExpression.value }),
      ...(v.reason === undefined ? {} : { reason: v.reason.value }),
    })),
    params: params ?? {},
    validationActions: actions ?? ['Deny'],
    failurePolicy: failurePolicy ?? 'Fail',
  };
  return {
    source,
    ...(hasErrors(source.problems) ? {} : { document }),
    places: {
      matchConditions: conditions.map((condition) => condition.expression),
      variables: variables.map((variable) => variable.expression),
      validations,
    },
    params: document.params,
    variableNames: document.variables.map((variable) => variable.name),
  };
}

function nothingRead(source: YamlSource): ReadDocument {
  return { source, places: { matchConditions: [], variables: [], validations: [] }, params: {}, variableNames: [] };
}

function readConditions(reader: ShapeReader, field: Field | undefined): { name?: Text; expression: Text }[] {
  const read: { name?: Text; expression: Text }[] = [];
  const names = new Set<string>();
  for (const item of items(reader, field, 'matchConditions')) {
    const what = 'a match condition';
    const fields = reader.mapping(item, what, matchConditionFields);
    if (fields === undefined) continue;
    const name = fields.name && reader.text(fields.name.value, 'the name of the condition');
    if (name !== undefined) unique(reader, name, names, 'match condition');
    const expression = expressionOf(reader, item, fields.expression, what);
    if (expression !== undefined) read.push(name === undefined ? { expression } : { name, expression });
  }
  return read;
}

function readVariables(reader: ShapeReader, field: Field | undefined): { name: Text; expression: Text }[] {
  const read: { name: Text; expression: Text }[] = [];
  const names = new Set<string>();
  for (const item of items(reader, field, 'variables')) {
    const what = 'a variable';
    const fields = reader.mapping(item, what, variableFields);
    if (fields === undefined) continue;
    if (fields.name === undefined) reader.missing(item, what, 'name', 'expressions read it as `variables.<name>`');
    const name = fields.name && reader.text(fields.name.value, 'the name of the variable');
    if (name !== undefined) {
      unique(reader, name, names, 'variable');
      if (!variableNamePattern.test(name.value))
        reader.source.reportAt(
          name.node as YamlNode,
          'wrong_value',
          `\`${name.value}\` is no name for a variable`,
          'use letters, digits and `_`, beginning with a letter',
        );
    }
    const expression = expressionOf(reader, item, fields.expression, what);
    if (name !== undefined && expression !== undefined) read.push({ name, expression });
  }
  return read;
}

interface ReadValidation {
  readonly expression: Text;
  readonly message?: Text;
  readonly messageExpression?: Text;
  readonly reason?: Text;
}

function readValidations(reader: ShapeReader, field: Field | undefined): ReadValidation[] {
  const read: ReadValidation[] = [];
  const list = items(reader, field, 'validations');
  if (field !== undefined && list.length === 0 && !hasErrors(reader.source.problems))
    reader.source.reportAt(field.key, 'empty', 'a policy needs at least one validation');
  for (const item of list) {
    const what = 'a validation';
    const fields = reader.mapping(item, what, validationFields);
    if (fields === undefined) continue;
    const message = fields.message && reader.text(fields.message.value, 'the message');
    const messageExpression =
      fields.messageExpression &&
      reader.text(fields.messageExpression.value, 'a CEL expression that gives the message');
    const reason = fields.reason && reader.text(fields.reason.value, 'the reason');
    if (reason !== undefined) checkReason(reader, reason);
    const expression = expressionOf(reader, item, fields.expression, what);
    if (expression === undefined) continue;
    read.push({
      expression,
      ...(message === undefined ? {} : { message }),
      ...(messageExpression === undefined ? {} : { messageExpression }),
      ...(reason === undefined ? {} : { reason }),
    });
  }
  return read;
}

function checkReason(reader: ShapeReader, reason: Text): void {
  const node = reason.node as YamlNode;
  if (!reasonPattern.test(reason.value))
    reader.source.reportAt(
      node,
      'wrong_value',
      `\`${reason.value}\` is no reason`,
      'a reason is one word for machines, such as `approvals_missing`; text for people goes into `message`',
    );
  else if ((reservedReasons as readonly string[]).includes(reason.value))
    reader.source.reportAt(
      node,
      'wrong_value',
      `\`${reason.value}\` is a reason that IPE itself gives`,
      'choose another word',
    );
}

function readActions(reader: ShapeReader, field: Field | undefined): readonly ValidationAction[] | undefined {
  if (field === undefined) return undefined;
  const nodes = items(reader, field, 'validationActions');
  const given = nodes.map((node) => reader.word(node, 'a validation action', validationActions));
  if (nodes.length === 0 && !hasErrors(reader.source.problems))
    reader.source.reportAt(
      field.key,
      'empty',
      'expected at least one of `Deny`, `Warn`, `Audit`',
      'leave the field out for `[Deny]`',
    );
  for (const [i, action] of given.entries())
    if (action !== undefined && given.indexOf(action) < i)
      reader.source.reportAt(nodes[i]!, 'duplicate', `\`${action}\` stands twice`);
  return validationActions.filter((action) => given.includes(action));
}

function items(reader: ShapeReader, field: Field | undefined, name: string): readonly YamlNode[] {
  if (field === undefined) return [];
  const list = reader.list(field.value, `\`${name}\``) ?? [];
  if (list.length > listLengthMax) {
    reader.source.reportAt(field.key, 'too_large', `\`${name}\` has ${list.length} items, more than ${listLengthMax}`);
    return list.slice(0, listLengthMax);
  }
  return list;
}

function expressionOf(reader: ShapeReader, item: YamlNode, field: Field | undefined, what: string): Text | undefined {
  if (field !== undefined) return reader.text(field.value, 'a CEL expression');
  reader.missing(item, what, 'expression');
  return undefined;
}

function unique(reader: ShapeReader, name: Text, seen: Set<string>, what: string): void {
  if (seen.has(name.value))
    reader.source.reportAt(name.node as YamlNode, 'duplicate', `a ${what} named \`${name.value}\` stands above`);
  seen.add(name.value);
}
