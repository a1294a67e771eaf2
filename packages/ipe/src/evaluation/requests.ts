import { IpeError } from '@ipe/core';
import { type ReceiptKind, receiptKinds } from '@ipe/core/eval';
import { type EvaluationRequest, readRequest } from '@ipe/core/policy';
import type { Caller } from '../api/method.ts';
import { readParams } from '../api/params.ts';

/** One `evaluate` as it was asked, checked and allowed. */
export interface Ask {
  readonly path: string;
  readonly request: EvaluationRequest;
  readonly receipt: ReceiptKind | undefined;
  readonly freshAsOf: string | undefined;
  readonly explain: boolean;
  /** Unix seconds, where an admin sets the clock. */
  readonly now: number | undefined;
  /** Root, commit or ref, where an admin asks another than the current one. */
  readonly root: string | undefined;
}

const askFields = [
  'path',
  'subject',
  'action',
  'resource',
  'context',
  'receipt',
  'fresh_as_of',
  'explain',
  'now',
  'root',
] as const;

/** Latest `now` that a timestamp can carry: the end of the year 9999. */
const nowMax = 253_402_300_799;
const nowMin = -62_135_596_800;

/**
 * Reads the parameters of `evaluate`, or one item of a batch (which has an `id` besides).
 *
 * @throws IpeError `invalid_params` naming the field; `too_large`; `forbidden` for what the caller's token does not open
 */
export function readAsk(params: unknown, caller: Caller, where = ''): Ask {
  const fields = readParams(params, where === '' ? askFields : [...askFields, 'id'], where);
  const path = fields.string('path', { maxBytes: 4608 });
  const read = readRequest(params);
  if (!read.ok) {
    const { kind, field, message } = read.problem;
    const at = where === '' ? field : `${where}.${field}`;
    throw new IpeError(
      kind === 'too_large' ? 'too_large' : 'invalid_params',
      where === '' ? message : `${where}: ${message}`,
      {
        details: { field: at },
      },
    );
  }
  const ask = {
    path,
    request: read.request,
    receipt: fields.oneOf('receipt', receiptKinds),
    freshAsOf: fields.optionalString('fresh_as_of', { maxBytes: 16_384, empty: false }),
    explain: fields.boolean('explain'),
    now: fields.optionalNumber('now', { min: nowMin, max: nowMax }),
    root: fields.optionalString('root', { maxBytes: 256, empty: false }),
  };
  authorize(ask, caller);
  return ask;
}

/** Time and root are part of a request's identity and not the application's to choose; explanations show facts. */
function authorize(ask: Ask, caller: Caller): void {
  if (caller.kind === 'admin') return;
  for (const name of ['now', 'root'] as const)
    if (ask[name] !== undefined)
      throw new IpeError('forbidden', `\`${name}\` is for admin tokens`, { details: { field: name } });
  if (ask.explain && !(caller.grants ?? []).includes('explain'))
    throw new IpeError('forbidden', 'this token was not granted `explain`', { details: { field: 'explain' } });
}
