import { setImmediate } from 'node:timers/promises';
import { IpeError, isIpeError } from '@ipe/core';
import { isJsonObject, type Json, type JsonObject } from '@ipe/core/policy';
import type { Route, RouteRequest } from '../api/method.ts';
import {
  type AuthzenDecision,
  type AuthzenOptions,
  type AuthzenView,
  ask,
  asksPerTick,
  invalid,
  requestOf,
  standStill,
  withView,
} from './authzen-ask.ts';
import { searchAction, searchResource, searchSubject } from './authzen-search.ts';
import type { EvaluationConfig } from './types.ts';

const semantics = ['execute_all', 'deny_on_first_deny', 'permit_on_first_permit'] as const;
type Semantic = (typeof semantics)[number];

const basePath = '/access/v1';

/**
 * AuthZEN 1.0 over HTTP: evaluation, evaluations, the three searches, and the metadata that names them.
 *
 * Members that the standard does not name are ignored at every level. Which policy or directory is asked is configuration.
 * Source: OpenID Authorization API 1.0 §6 to §9.
 */
export function authzenRoutes(options: AuthzenOptions): readonly Route[] {
  const post = (path: string, guard: string, answer: (body: JsonObject) => unknown | Promise<unknown>): Route => ({
    method: 'POST',
    path: `${basePath}${path}`,
    guard,
    handle: async (request) => ({ status: 200, body: await answer(bodyOf(request)) }),
  });
  return [
    post('/evaluation', 'evaluate', (body) => evaluation(options, body)),
    post('/evaluations', 'evaluate-batch', (body) => evaluations(options, body)),
    post('/search/subject', 'evaluate-batch', (body) => searchSubject(options, body)),
    post('/search/resource', 'evaluate-batch', (body) => searchResource(options, body)),
    post('/search/action', 'evaluate-batch', (body) => searchAction(options, body)),
    {
      method: 'GET',
      path: '/.well-known/authzen-configuration',
      handle: (request) => ({ status: 200, body: metadata(baseUrl(options.config, request)) }),
    },
  ];
}

/** `POST /access/v1/evaluation`. @throws IpeError `invalid_params` naming the field. */
export function evaluation(options: AuthzenOptions, body: JsonObject): AuthzenDecision | Promise<AuthzenDecision> {
  const request = requestOf(body);
  return withView(options, (view) => ask(options, view, request));
}

/** `POST /access/v1/evaluations`: without items it is one evaluation; with items the rest are their defaults. */
export async function evaluations(options: AuthzenOptions, body: JsonObject): Promise<unknown> {
  const semantic = semanticOf(body);
  const items = body['evaluations'];
  if (items === undefined || (Array.isArray(items) && items.length === 0)) return evaluation(options, body);
  if (!Array.isArray(items)) throw invalid('evaluations', 'expected `evaluations` to be an array');
  const { batchMax } = options.config;
  if (items.length > batchMax)
    throw new IpeError('too_large', `\`evaluations\` has ${items.length} items, at most ${batchMax} are taken`, {
      details: { field: 'evaluations', max_items: batchMax },
    });
  return withView(options, async (view) => {
    await standStill(view);
    const answers: AuthzenDecision[] = [];
    for (const item of items as readonly Json[]) {
      if (answers.length % asksPerTick === asksPerTick - 1) await setImmediate();
      const answer = await answerItem(options, view, body, item);
      answers.push(answer);
      if (semantic === 'deny_on_first_deny' && !answer.decision) break;
      if (semantic === 'permit_on_first_permit' && answer.decision) break;
    }
    return { evaluations: answers };
  });
}

/** A bad item is a false decision of its own and leaves the others alone (§7.3). */
async function answerItem(
  options: AuthzenOptions,
  view: AuthzenView,
  defaults: JsonObject,
  item: Json,
): Promise<AuthzenDecision> {
  try {
    if (!isJsonObject(item)) throw invalid('evaluations', 'expected an object');
    return await ask(options, view, requestOf(withDefaults(defaults, item)));
  } catch (error) {
    if (!isIpeError(error)) throw error;
    return { decision: false, context: { error: { status: 400, message: error.message } } };
  }
}

/**
 * An item's own members stand for the defaults' (§7.1.1). An entity that the item gives without its type or id takes
 * that from the default one; properties are never mixed.
 */
function withDefaults(defaults: JsonObject, item: JsonObject): JsonObject {
  const merged: Record<string, Json> = {};
  for (const name of ['subject', 'action', 'resource', 'context']) {
    const value = item[name] ?? defaults[name];
    if (value !== undefined) merged[name] = value;
  }
  for (const name of ['subject', 'resource']) {
    const [own, common] = [item[name], defaults[name]];
    if (!isJsonObject(own) || !isJsonObject(common)) continue;
    const { type, id } = common;
    merged[name] = { ...(type === undefined ? {} : { type }), ...(id === undefined ? {} : { id }), ...own };
  }
  return merged;
}

function bodyOf(request: RouteRequest): JsonObject {
  if (request.contentType !== 'application/json' && !request.contentType.endsWith('+json'))
    throw new IpeError('invalid_request', 'AuthZEN requests are `application/json`');
  const body = request.json();
  if (!isJsonObject(body)) throw new IpeError('invalid_request', 'an AuthZEN request is a JSON object');
  return body;
}

function semanticOf(body: JsonObject): Semantic {
  const options = body['options'];
  if (options === undefined) return 'execute_all';
  if (!isJsonObject(options)) throw invalid('options', 'expected `options` to be an object');
  const given = options['evaluations_semantic'];
  if (given === undefined) return 'execute_all';
  if (semantics.includes(given as Semantic)) return given as Semantic;
  throw invalid('options.evaluations_semantic', `expected one of ${semantics.map((name) => `\`${name}\``).join(', ')}`);
}

function baseUrl(config: EvaluationConfig, request: RouteRequest): string {
  if (config.publicUrl !== undefined) return config.publicUrl;
  const host = request.headers['host'];
  // A unix socket has no host of its own; clients send `localhost` or nothing.
  if (host === undefined || host === '' || host === 'localhost') return 'http://localhost';
  return `https://${host}`;
}

function metadata(url: string) {
  return {
    policy_decision_point: url,
    access_evaluation_endpoint: `${url}${basePath}/evaluation`,
    access_evaluations_endpoint: `${url}${basePath}/evaluations`,
    search_subject_endpoint: `${url}${basePath}/search/subject`,
    search_resource_endpoint: `${url}${basePath}/search/resource`,
    search_action_endpoint: `${url}${basePath}/search/action`,
  };
}
