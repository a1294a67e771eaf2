import type { ErrorBody } from '@ipe/client/protocol';
import { IpeError } from '@ipe/core';

/** JSON-RPC 2.0 response to one request. */
export type RpcResponse =
  | { readonly jsonrpc: '2.0'; readonly id: RpcId; readonly result: unknown }
  | { readonly jsonrpc: '2.0'; readonly id: RpcId; readonly error: ErrorBody };

type RpcId = string | number | null;

export interface RpcOptions {
  readonly maxBatch: number;
  call(method: string, params: unknown): Promise<unknown>;
  explain(error: unknown): ErrorBody;
}

/**
 * Answers one JSON-RPC 2.0 body: a request, or a batch array whose requests are begun in order and answered in order.
 * @returns the response or the array of responses; undefined where there is none to give (notifications only).
 */
export async function answerRpc(body: unknown, options: RpcOptions): Promise<RpcResponse | RpcResponse[] | undefined> {
  if (!Array.isArray(body)) return answerOne(body, options);
  if (body.length === 0) return failure(null, new IpeError('invalid_request', 'a batch must not be empty'), options);
  if (body.length > options.maxBatch) {
    const error = new IpeError(
      'too_large',
      `a batch has at most ${options.maxBatch} requests, this one has ${body.length}`,
      {
        details: { limit: options.maxBatch, unit: 'requests' },
      },
    );
    return failure(null, error, options);
  }
  const answers = await Promise.all(body.map((each) => answerOne(each, options)));
  const given = answers.filter((answer) => answer !== undefined);
  return given.length === 0 ? undefined : given;
}

async function answerOne(request: unknown, options: RpcOptions): Promise<RpcResponse | undefined> {
  let id: RpcId | undefined;
  try {
    const envelope = readEnvelope(request);
    id = envelope.id;
    const result = await options.call(envelope.method, envelope.params);
    return id === undefined ? undefined : { jsonrpc: '2.0', id, result: result === undefined ? null : result };
  } catch (error) {
    if (error instanceof BadEnvelope) return failure(error.id, new IpeError('invalid_request', error.message), options);
    const failed = failure(id ?? null, error, options);
    return id === undefined ? undefined : failed;
  }
}

function failure(id: RpcId, error: unknown, options: RpcOptions): RpcResponse {
  return { jsonrpc: '2.0', id, error: options.explain(error) };
}

/** An envelope that is not a request: answered even without an id, as the specification asks. */
class BadEnvelope extends Error {
  readonly id: RpcId;
  constructor(id: RpcId, message: string) {
    super(message);
    this.id = id;
  }
}

function readEnvelope(request: unknown): { id: RpcId | undefined; method: string; params: unknown } {
  if (typeof request !== 'object' || request === null || Array.isArray(request))
    throw new BadEnvelope(null, 'a JSON-RPC request is an object');
  const { id, jsonrpc, method, params } = request as Record<string, unknown>;
  if (id !== undefined && id !== null && typeof id !== 'string' && typeof id !== 'number')
    throw new BadEnvelope(null, '`id` must be a string, a number or null');
  if (jsonrpc !== '2.0') throw new BadEnvelope(id ?? null, '`jsonrpc` must be "2.0"');
  if (typeof method !== 'string') throw new BadEnvelope(id ?? null, '`method` must be a string');
  return { id, method, params };
}
