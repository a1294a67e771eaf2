import { IpeError } from '@ipe/core';
import type { Route, RouteRequest, RouteResponse } from './method.ts';
import { conditional } from './precondition.ts';
import { integer } from './query.ts';

/** What REST needs of a policy, as `get-policy` answers it. */
interface Policy {
  readonly version: string;
  readonly source?: string;
}

/** The control plane for people and curl: policies as YAML, the tree and its history as JSON. */
export const controlRoutes: readonly Route[] = [
  {
    method: 'GET',
    path: '/policies',
    guard: 'list-policies',
    handle: forward('list-policies', ['prefix', 'cursor', 'root']),
  },
  { method: 'GET', path: '/policies/:path', guard: 'get-policy', handle: getPolicy },
  { method: 'PUT', path: '/policies/:path', guard: 'put-policy', handle: putPolicy },
  { method: 'DELETE', path: '/policies/:path', guard: 'delete-policy', handle: deletePolicy },
  { method: 'GET', path: '/tree', guard: 'get-subtree', handle: forward('get-subtree', ['order', 'cursor', 'root']) },
  {
    method: 'GET',
    path: '/tree/:path',
    guard: 'get-subtree',
    handle: forward('get-subtree', ['order', 'cursor', 'root']),
  },
  { method: 'GET', path: '/log', guard: 'log', handle: forward('log', ['path', 'ref', 'cursor']) },
  { method: 'GET', path: '/diff/:from/:to', guard: 'diff', handle: forward('diff', []) },
  { method: 'GET', path: '/root', guard: 'status', handle: getRoot },
];

/** A route whose path and query are the parameters of one method. */
function forward(method: string, texts: readonly string[]) {
  return async (request: RouteRequest): Promise<RouteResponse> => {
    const params: Record<string, unknown> = { ...request.params };
    if (method === 'get-subtree') params['path'] ??= '';
    for (const name of texts) if (request.query.has(name)) params[name] = request.query.get(name);
    for (const name of ['limit', 'depth']) {
      const value = integer(request.query, name);
      if (value !== undefined) params[name] = value;
    }
    return { status: 200, body: await request.call(method, params) };
  };
}

/** The source as YAML with the version as ETag; everything about the policy where JSON is asked for. */
async function getPolicy(request: RouteRequest): Promise<RouteResponse> {
  const root = request.query.get('root');
  const params = { path: request.params['path'], source: true, ...(root === null ? {} : { root }) };
  const policy = (await request.call('get-policy', params)) as Policy;
  const headers = tag(policy.version);
  if (request.headers['if-none-match'] === headers.etag) return { status: 304, headers };
  const accept = request.headers['accept'] ?? '*/*';
  if (accept.includes('json') || policy.source === undefined) return { status: 200, headers, body: policy };
  return { status: 200, headers: { ...headers, 'content-type': 'application/yaml' }, body: Buffer.from(policy.source) };
}

async function putPolicy(request: RouteRequest): Promise<RouteResponse> {
  const path = request.params['path']!;
  const params = {
    path,
    source: Buffer.from(request.body).toString('utf8'),
    ...message(request),
    ...expectation(request),
  };
  const existed = await request.call('get-policy', { path }).then(
    () => true,
    () => false,
  );
  const written = (await conditional(request, () => request.call('put-policy', params))) as Policy;
  return { status: existed ? 200 : 201, headers: tag(written.version), body: written };
}

async function deletePolicy(request: RouteRequest): Promise<RouteResponse> {
  const params = { path: request.params['path'], ...message(request), ...expectation(request) };
  return { status: 200, body: await conditional(request, () => request.call('delete-policy', params)) };
}

async function getRoot(request: RouteRequest): Promise<RouteResponse> {
  const { root, commit } = (await request.call('status', {})) as { root: string; commit: string };
  return { status: 200, headers: tag(root), body: { root, commit } };
}

const tag = (id: string) => ({ etag: `"${id}"` });

const message = (request: RouteRequest) => {
  const text = request.query.get('message');
  return text === null ? {} : { message: text };
};

/** `If-Match` is the version the caller saw, `If-None-Match: *` that there is none. */
function expectation(request: RouteRequest): Record<string, unknown> {
  const match = request.headers['if-match'];
  if (request.headers['if-none-match']?.trim() === '*') return { expected_version: null };
  if (match === undefined) return {};
  const version = /^"([^"]+)"$/.exec(match.trim())?.[1];
  if (version === undefined)
    throw new IpeError('invalid_params', '`If-Match` takes one version in double quotes', {
      details: { field: 'If-Match' },
    });
  return { expected_version: version };
}
