import { IpeError } from '@ipe/core';

/**
 * Reads things again, each whatever becomes of the others: a certificate that does not fit its key must not keep a token
 * from being revoked.
 * @throws what a step threw; of several, IpeError `invalid_params` that holds what all of them say
 */
export async function reloadEach(steps: readonly (() => Promise<void>)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const step of steps) await step().catch((error: unknown) => void failures.push(error));
  if (failures.length === 1) throw failures[0];
  if (failures.length > 1)
    throw new IpeError('invalid_params', failures.map(messageOf).join('; '), { cause: failures });
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
