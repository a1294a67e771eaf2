/**
 * The few assertions that conformance kits need. The kits bring their own, so that they run under any test runner and
 * in any runtime.
 */

/** @throws when `condition` is false. */
export function assertTrue(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}

/** @throws when the values differ in structure; byte arrays are compared by content, whatever their class. */
export function assertDeepEqual(actual: unknown, expected: unknown, context = ''): void {
  const [a, b] = [canonical(actual), canonical(expected)];
  if (a !== b) throw new Error(`${context === '' ? '' : `${context}: `}expected ${shorten(b)}, got ${shorten(a)}`);
}

/** @throws when the promise resolves, or rejects with an error that `matches` does not accept. */
export async function assertRejects(run: () => unknown, matches: (error: unknown) => boolean): Promise<void> {
  let error: unknown;
  try {
    await run();
  } catch (caught) {
    if (matches(caught)) return;
    error = caught;
  }
  throw new Error(error === undefined ? 'expected an error, got none' : `unexpected error: ${String(error)}`);
}

function canonical(value: unknown): string {
  if (value === undefined) return 'undefined';
  if (typeof value === 'bigint') return `${value}n`;
  if (value instanceof Uint8Array) return `bytes[${[...value].join(' ')}]`;
  if (Array.isArray(value)) return `[${value.map(canonical).join(', ')}]`;
  if (typeof value === 'object' && value !== null)
    return `{${Object.entries(value)
      .filter(([, field]) => field !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, field]) => `${name}: ${canonical(field)}`)
      .join(', ')}}`;
  return JSON.stringify(value);
}

const shorten = (text: string) => (text.length <= 600 ? text : `${text.slice(0, 600)}… (${text.length} characters)`);
