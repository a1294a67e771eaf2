import { setImmediate } from 'node:timers/promises';
import { isJsonObject, type Json, type JsonObject } from '@ipe/core/policy';
import {
  type AuthzenOptions,
  type AuthzenView,
  ask,
  asksPerTick,
  invalid,
  requestOf,
  standStill,
  withView,
} from './authzen-ask.ts';
import type { FactPage, SearchSource } from './types.ts';

/** A page of results; `next_token` is empty on the last one (§8.2.1). */
interface SearchResults {
  readonly results: readonly JsonObject[];
  readonly page: { readonly next_token: string; readonly count: number };
}

/** Results of one page unless the request asks for fewer, and at most. */
const pageSizeDefault = 1_000;
const pageSizeMax = 10_000;
/** Candidates tried for one page: a search that finds little answers with a token instead of working without end. */
const triesMax = 10_000;
const scanSize = 512;

/** Which subjects of a type may do the action: `POST /access/v1/search/subject` (§8.4). */
export function searchSubject(options: AuthzenOptions, body: JsonObject): Promise<SearchResults> {
  const subject = entityType(body, 'subject');
  requestOf({ ...body, subject: { type: subject, id: 'any' } });
  return searchEntities(options, body, 'subject', subject);
}

/** Which resources of a type the subject may do the action to: `POST /access/v1/search/resource` (§8.5). */
export function searchResource(options: AuthzenOptions, body: JsonObject): Promise<SearchResults> {
  const resource = entityType(body, 'resource');
  requestOf({ ...body, resource: { type: resource, id: 'any' } });
  return searchEntities(options, body, 'resource', resource);
}

/** What the subject may do to the resource, among the actions configured for its type: `POST /access/v1/search/action` (§8.6). */
export async function searchAction(options: AuthzenOptions, body: JsonObject): Promise<SearchResults> {
  const { resource } = requestOf({ ...body, action: { name: 'any' } });
  const { limit, after } = pageOf(body);
  const names = own(options.config.search, resource.type)?.actions ?? [];
  const first = after === undefined ? 0 : names.indexOf(after) + 1;
  return withView(options, async (view) => {
    await standStill(view);
    const results: JsonObject[] = [];
    for (let i = first; i < names.length; i++) {
      const action = { name: names[i]! };
      const { decision } = await ask(options, view, requestOf({ ...body, action }));
      if (decision) results.push(action);
      if (results.length === limit && i + 1 < names.length) return pageWith(results, names[i]!);
    }
    return pageWith(results);
  });
}

async function searchEntities(
  options: AuthzenOptions,
  body: JsonObject,
  part: 'subject' | 'resource',
  type: string,
): Promise<SearchResults> {
  const { limit, after } = pageOf(body);
  const source = own(options.config.search, type);
  if (source === undefined) return pageWith([]);
  const given = body[part] as JsonObject;
  return withView(options, async (view) => {
    await standStill(view);
    const results: JsonObject[] = [];
    let last = after;
    for (let tries = 0; tries < triesMax; ) {
      const page = await options.facts.scan(source.namespace, last, Math.min(scanSize, triesMax - tries));
      for (const entry of page.entries) {
        if (++tries % asksPerTick === 0) await setImmediate();
        last = entry.key;
        const found = await tryCandidate(options, view, body, part, candidateOf(source, type, given, entry));
        if (found !== undefined) results.push(found);
        if (results.length === limit) return pageWith(results, last);
      }
      if (page.next === undefined) return pageWith(results);
      last = page.next;
    }
    return pageWith(results, last);
  });
}

async function tryCandidate(
  options: AuthzenOptions,
  view: AuthzenView,
  body: JsonObject,
  part: 'subject' | 'resource',
  candidate: { readonly type: string; readonly id: string; readonly properties: JsonObject } | undefined,
): Promise<JsonObject | undefined> {
  if (candidate === undefined) return undefined;
  const { decision } = await ask(options, view, requestOf({ ...body, [part]: candidate as unknown as Json }));
  return decision ? { type: candidate.type, id: candidate.id } : undefined;
}

/** A candidate has the members of its entry as properties, and over them those that the request gives to all. */
function candidateOf(source: SearchSource, type: string, given: JsonObject, entry: FactPage['entries'][number]) {
  const id = source.idField === undefined ? entry.key : idIn(entry.value, source.idField);
  if (id === undefined || id === '') return undefined;
  const own = isJsonObject(entry.value) ? entry.value : {};
  const shared = isJsonObject(given['properties']) ? given['properties'] : {};
  return { type, id, properties: { ...own, ...shared } };
}

function idIn(value: Json, field: string): string | undefined {
  let at: Json | undefined = value;
  for (const name of field.split('.')) at = isJsonObject(at) && Object.hasOwn(at, name) ? at[name] : undefined;
  return typeof at === 'string' ? at : typeof at === 'number' ? String(at) : undefined;
}

function entityType(body: JsonObject, part: 'subject' | 'resource'): string {
  const entity = body[part];
  if (!isJsonObject(entity)) throw invalid(part, `expected \`${part}\` to be an object`);
  const { type } = entity;
  if (typeof type !== 'string' || type === '')
    throw invalid(`${part}.type`, `expected \`${part}.type\` to be a string`);
  return type;
}

/** `page.token` and `page.limit`; other members are ignored. */
function pageOf(body: JsonObject): { readonly limit: number; readonly after: string | undefined } {
  const page = body['page'];
  if (page === undefined) return { limit: pageSizeDefault, after: undefined };
  if (!isJsonObject(page)) throw invalid('page', 'expected `page` to be an object');
  const { limit, token } = page;
  if (limit !== undefined && (typeof limit !== 'number' || !Number.isSafeInteger(limit) || limit < 1))
    throw invalid('page.limit', 'expected `page.limit` to be a whole number, 1 or more');
  if (token !== undefined && typeof token !== 'string')
    throw invalid('page.token', 'expected `page.token` to be a string');
  return {
    limit: Math.min(typeof limit === 'number' ? limit : pageSizeDefault, pageSizeMax),
    after: token === undefined || token === '' ? undefined : afterToken(token),
  };
}

function pageWith(results: readonly JsonObject[], last?: string): SearchResults {
  const next_token = last === undefined ? '' : Buffer.from(JSON.stringify([last])).toString('base64url');
  return { results, page: { next_token, count: results.length } };
}

function afterToken(token: string): string {
  try {
    const [last] = JSON.parse(Buffer.from(token, 'base64url').toString('utf8')) as unknown[];
    if (typeof last === 'string') return last;
  } catch {
    // Told below, like any other token that is not one of ours.
  }
  throw invalid('page.token', '`page.token` is not one that a search of this service gave');
}

function own<T>(record: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}
