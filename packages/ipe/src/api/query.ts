import { IpeError } from '@ipe/core';

/** A whole number from a query string; undefined where it is absent. @throws IpeError `invalid_params`. */
export function integer(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null) return undefined;
  if (!/^\d{1,15}$/.test(text))
    throw new IpeError('invalid_params', `\`${name}\` must be a whole number`, { details: { field: name } });
  return Number(text);
}
