import { nearest } from '../nearest.ts';
import { isJsonObject, type JsonObject } from './json.ts';

/**
 * The question put to policies, as CEL sees it: entities of OpenID AuthZEN 1.0 §5 with `properties` always there and
 * members that the standard does not name left out.
 */
export interface EvaluationRequest {
  readonly subject: Entity;
  readonly action: Action;
  readonly resource: Entity;
  readonly context: JsonObject;
}

export interface Entity {
  readonly type: string;
  readonly id: string;
  readonly properties: JsonObject;
}

export interface Action {
  readonly name: string;
  readonly properties: JsonObject;
}

/** What a request may be. Sizes keep one request from costing more than its share; a depth keeps recursion safe. */
export interface RequestLimits {
  /** Objects and arrays inside each other, counted from the request itself. */
  readonly depthMax: number;
  /** Values in the request, objects and arrays included. */
  readonly valuesMax: number;
  /** UTF-16 code units of all its strings and member names together. */
  readonly textLengthMax: number;
}

export const requestLimits: RequestLimits = { depthMax: 32, valuesMax: 20_000, textLengthMax: 1_048_576 };

/** What is wrong with a request: the field by its dotted path, and a message for people. */
export interface RequestProblem {
  readonly kind: 'invalid' | 'too_large';
  readonly field: string;
  readonly message: string;
}

export type ReadRequest =
  | { readonly ok: true; readonly request: EvaluationRequest }
  | { readonly ok: false; readonly problem: RequestProblem };

/**
 * Reads a request out of JSON: checks shapes and limits, fills `properties` and `context`, drops unknown members.
 *
 * The parts are taken by reference and never written to.
 * @param value an object with `subject`, `action`, `resource` and perhaps `context`; other members are not looked at
 */
export function readRequest(value: unknown, limits: RequestLimits = requestLimits): ReadRequest {
  if (!isJsonObject(value)) return invalid('request', `expected an object, got ${kindOf(value)}`);
  const subject = readEntity(value, 'subject');
  if ('problem' in subject) return { ok: false, problem: subject.problem };
  const action = readAction(value);
  if ('problem' in action) return { ok: false, problem: action.problem };
  const resource = readEntity(value, 'resource');
  if ('problem' in resource) return { ok: false, problem: resource.problem };
  const context = own(value, 'context');
  if (context !== undefined && !isJsonObject(context))
    return invalid('context', `expected \`context\` to be an object, got ${kindOf(context)}`);
  const request: EvaluationRequest = {
    subject: subject.entity,
    action: action.action,
    resource: resource.entity,
    context: context ?? empty,
  };
  const excess = exceeds(request, limits);
  return excess === undefined ? { ok: true, request } : { ok: false, problem: excess };
}

const empty: JsonObject = Object.freeze({});

function readEntity(
  request: JsonObject,
  field: 'subject' | 'resource',
): { entity: Entity } | { problem: RequestProblem } {
  const value = own(request, field);
  if (!isJsonObject(value)) return { problem: entityProblem(request, field, value) };
  const problem =
    textProblem(value, field, 'type') ?? textProblem(value, field, 'id') ?? propertiesProblem(value, field);
  if (problem !== undefined) return { problem };
  const properties = (own(value, 'properties') ?? empty) as JsonObject;
  return { entity: { type: value['type'] as string, id: value['id'] as string, properties } };
}

function readAction(request: JsonObject): { action: Action } | { problem: RequestProblem } {
  const value = own(request, 'action');
  if (!isJsonObject(value)) return { problem: entityProblem(request, 'action', value) };
  const problem = textProblem(value, 'action', 'name') ?? propertiesProblem(value, 'action');
  if (problem !== undefined) return { problem };
  return { action: { name: value['name'] as string, properties: (own(value, 'properties') ?? empty) as JsonObject } };
}

function entityProblem(request: JsonObject, field: string, value: unknown): RequestProblem {
  if (value !== undefined) return problem(field, `expected \`${field}\` to be an object, got ${kindOf(value)}`);
  const near = nearest(field, Object.keys(request).slice(0, 100));
  return problem(field, `\`${field}\` is missing${near === undefined ? '' : `; \`${near}\` was given`}`);
}

function textProblem(object: JsonObject, parent: string, name: string): RequestProblem | undefined {
  const value = own(object, name);
  const field = `${parent}.${name}`;
  if (value === undefined) return problem(field, `\`${field}\` is missing`);
  if (typeof value !== 'string') return problem(field, `expected \`${field}\` to be a string, got ${kindOf(value)}`);
  return value === '' ? problem(field, `\`${field}\` is empty`) : undefined;
}

function propertiesProblem(object: JsonObject, parent: string): RequestProblem | undefined {
  const value = own(object, 'properties');
  if (value === undefined || isJsonObject(value)) return undefined;
  return problem(`${parent}.properties`, `expected \`${parent}.properties\` to be an object, got ${kindOf(value)}`);
}

/** Walks with a stack of its own, so that no nesting a client sends can exhaust ours. */
function exceeds(request: EvaluationRequest, limits: RequestLimits): RequestProblem | undefined {
  let values = 0;
  let text = 0;
  let level: unknown[] = [request.subject, request.action, request.resource, request.context];
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > limits.depthMax) return tooLarge(`the request is nested deeper than ${limits.depthMax} levels`);
    const next: unknown[] = [];
    for (const value of level) {
      const list = Array.isArray(value);
      for (const key of list ? (value as unknown[]).keys() : Object.keys(value as object)) {
        const member = (value as Record<string | number, unknown>)[key];
        values++;
        if (typeof key === 'string') text += key.length;
        if (typeof member === 'string') {
          text += member.length;
          if (!wellFormed(member))
            return problem(String(key).slice(0, 80), 'a string of the request holds a lone surrogate');
        } else if (typeof member === 'object' && member !== null) next.push(member);
        if (values > limits.valuesMax) return tooLarge(`the request has more than ${limits.valuesMax} values`);
      }
    }
    if (text > limits.textLengthMax)
      return tooLarge(`the request has more than ${limits.textLengthMax} characters of text`);
    level = next;
  }
  return undefined;
}

const surrogate = /[\ud800-\udfff]/;
const loneSurrogate = /\p{Surrogate}/u;

function wellFormed(text: string): boolean {
  return !surrogate.test(text) || !loneSurrogate.test(text);
}

function own(object: JsonObject, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

function problem(field: string, message: string): RequestProblem {
  return { kind: 'invalid', field, message };
}

function tooLarge(message: string): RequestProblem {
  return { kind: 'too_large', field: 'request', message };
}

function invalid(field: string, message: string): ReadRequest {
  return { ok: false, problem: problem(field, message) };
}

/** What a JSON value is, in words. */
export function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
