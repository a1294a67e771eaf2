import { IpeError, isIpeError } from '@ipe/core';
import type { RouteRequest } from './method.ts';

/** A conflict that REST answers with 412. */
export class PreconditionFailed extends IpeError {
  constructor(conflict: IpeError) {
    super('conflict', conflict.message, { details: conflict.details, state: conflict.state, cause: conflict });
  }
}

/** Runs a write; a conflict with a condition that stood in the headers is HTTP's 412, not 409. */
export async function conditional(request: RouteRequest, write: () => Promise<unknown>): Promise<unknown> {
  try {
    return await write();
  } catch (error) {
    const asked = request.headers['if-match'] ?? request.headers['if-none-match'];
    if (isIpeError(error) && error.reason === 'conflict' && asked !== undefined) throw new PreconditionFailed(error);
    throw error;
  }
}
