import type { Facts } from '@ipe/core/eval';

/** Runs `use` on a view of the facts and releases it when the result is there. */
export function released<T>(view: Facts, use: (view: Facts) => T | Promise<T>): T | Promise<T> {
  let result: T | Promise<T>;
  try {
    result = use(view);
  } catch (error) {
    view.release();
    throw error;
  }
  if (result instanceof Promise) return result.finally(() => view.release());
  view.release();
  return result;
}
