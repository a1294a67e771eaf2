import { IpeError } from '@ipe/core';
import type { Route, RouteRequest, RouteResponse } from './method.ts';
import { conditional } from './precondition.ts';
import { integer } from './query.ts';

/** What REST needs of an entry, as `get` answers it. */
interface Entry {
  readonly value?: unknown;
  readonly value_base64?: string;
  readonly version: number;
  readonly etag: string;
  readonly created_at: number;
  readonly updated_at: number;
  readonly expires_at?: number;
}

/** What REST needs of a write's result. */
interface Written {
  readonly version: number;
  readonly etag: string;
  /** Nothing was there before. */
  readonly created?: true;
}

/** The data plane for people and curl: one entry a URL, its value the body, its metadata in headers. */
export const dataRoutes: readonly Route[] = [
  { method: 'GET', path: '/data', guard: 'query', handle: queryEntries },
  { method: 'GET', path: '/data/:key', guard: 'get', handle: getEntry },
  { method: 'PUT', path: '/data/:key', guard: 'put', handle: putEntry },
  { method: 'DELETE', path: '/data/:key', guard: 'delete', handle: deleteEntry },
];

async function queryEntries(request: RouteRequest): Promise<RouteResponse> {
  const pattern = request.query.get('pattern');
  if (pattern === null)
    throw new IpeError('invalid_params', '`pattern` is missing, such as `approvals.*`', {
      details: { field: 'pattern' },
    });
  const params: Record<string, unknown> = { pattern };
  for (const name of ['cursor', 'filter']) if (request.query.has(name)) params[name] = request.query.get(name);
  const limit = integer(request.query, 'limit');
  if (limit !== undefined) params['limit'] = limit;
  return { status: 200, body: await request.call('query', params) };
}

async function getEntry(request: RouteRequest): Promise<RouteResponse> {
  const key = request.params['key']!;
  const fresh = request.query.get('fresh_as_of');
  const entry = (await request.call('get', fresh === null ? { key } : { key, fresh_as_of: fresh })) as Entry | null;
  if (entry === null) throw new IpeError('not_found', `no entry at \`${key}\``, { details: { key } });
  const headers: Record<string, string> = {
    ...tags(entry),
    'ipe-created-at': String(entry.created_at),
    'ipe-updated-at': String(entry.updated_at),
    'last-modified': new Date(entry.updated_at * 1000).toUTCString(),
    ...(entry.expires_at === undefined ? {} : { 'ipe-expires-at': String(entry.expires_at) }),
  };
  const known = request.headers['if-none-match'];
  if (known !== undefined && (known.trim() === '*' || etagList(known).includes(entry.etag)))
    return { status: 304, headers };
  if (entry.value_base64 === undefined) return { status: 200, headers, body: entry.value };
  return {
    status: 200,
    headers: { ...headers, 'content-type': 'application/octet-stream' },
    body: Buffer.from(entry.value_base64, 'base64'),
  };
}

async function putEntry(request: RouteRequest): Promise<RouteResponse> {
  const key = request.params['key']!;
  const params: Record<string, unknown> = { key, ...readValue(request), ...readConditions(request) };
  const ttl = request.headers['ipe-ttl'];
  if (ttl !== undefined) {
    if (!/^\d+(\.\d+)?$/.test(ttl))
      throw new IpeError('invalid_params', '`IPE-TTL` is a number of seconds', { details: { field: 'IPE-TTL' } });
    params['ttl'] = Number(ttl);
  }
  if (request.headers['ipe-ack'] !== undefined) params['ack'] = request.headers['ipe-ack'];
  if (request.headers['idempotency-key'] !== undefined) params['request_id'] = request.headers['idempotency-key'];
  const written = (await conditional(request, () => request.call('put', params))) as Written;
  return { status: written.created ? 201 : 200, headers: tags(written), body: written };
}

async function deleteEntry(request: RouteRequest): Promise<RouteResponse> {
  const params = { key: request.params['key']!, ...readConditions(request) };
  const deleted = (await conditional(request, () => request.call('delete', params))) as Written;
  return { status: 204, headers: tags(deleted) };
}

const jsonTypes = new Set(['application/json', 'application/x-www-form-urlencoded', '']);

/** JSON for JSON's media types (curl's default counts as one); any other type is kept as bytes. */
function readValue(request: RouteRequest): Record<string, unknown> {
  if (jsonTypes.has(request.contentType) || request.contentType.endsWith('+json')) return { value: request.json() };
  return { value_base64: Buffer.from(request.body).toString('base64') };
}

function readConditions(request: RouteRequest): Record<string, unknown> {
  const match = request.headers['if-match'];
  const noneMatch = request.headers['if-none-match'];
  if (match !== undefined && noneMatch !== undefined)
    throw new IpeError('invalid_params', '`If-Match` and `If-None-Match` exclude each other', {
      details: { field: 'If-Match' },
    });
  if (noneMatch !== undefined) {
    if (noneMatch.trim() !== '*')
      throw new IpeError('invalid_params', 'a write takes `If-None-Match: *` alone', {
        details: { field: 'If-None-Match' },
      });
    return { if_version: 0 };
  }
  if (match === undefined) return {};
  const etags = etagList(match);
  if (etags.length !== 1)
    throw new IpeError('invalid_params', '`If-Match` takes one etag in double quotes', {
      details: { field: 'If-Match' },
    });
  return { if_match: etags[0] };
}

const etagList = (header: string) => [...header.matchAll(/(?:W\/)?"([^"]*)"/g)].map((match) => match[1]!);

const tags = ({ etag, version }: Written) => ({ etag: `"${etag}"`, 'ipe-version': String(version) });
