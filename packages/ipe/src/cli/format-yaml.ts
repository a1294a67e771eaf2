import { IpeError } from '@ipe/core';
import { type Document, isMap, isScalar, type Pair, parseDocument } from 'yaml';

/** Fields of a policy and of a test document in the order in which people read them (DESIGN §3). */
const policyOrder = [
  'description',
  'matchConditions',
  'variables',
  'validations',
  'params',
  'validationActions',
  'failurePolicy',
];
const testOrder = ['description', 'path', 'now', 'staleness_ms', 'data', 'request', 'tests'];

/**
 * A policy or test document in the one layout: fields in the order of the documentation, two spaces, comments kept.
 * Expressions are left as they are.
 *
 * @param file its name, which tells policies from tests, and stands in messages
 * @throws IpeError `policy_invalid` where the text is not YAML
 */
export function formatYaml(text: string, file: string): string {
  const document = parseDocument(text, { uniqueKeys: true });
  const error = document.errors[0];
  if (error !== undefined) {
    const line = error.linePos?.[0].line;
    throw new IpeError(
      'policy_invalid',
      `${file}${line === undefined ? '' : `:${line}`}: ${error.message.split('\n')[0]}`,
    );
  }
  const before = JSON.stringify(sorted(document.toJS()));
  orderFields(document, file.endsWith('.test.yaml') ? testOrder : policyOrder);
  const formatted = document.toString({ indent: 2, lineWidth: 0, flowCollectionPadding: false });
  if (JSON.stringify(sorted(parseDocument(formatted).toJS())) !== before)
    throw new IpeError('internal', `formatting \`${file}\` would change its meaning; it was left as it is`, {
      state: 'unchanged',
    });
  return formatted.endsWith('\n') ? formatted : `${formatted}\n`;
}

/** Moves known fields to their places. A test's anchors stay before their aliases, because `request` precedes `tests`. */
function orderFields(document: Document, order: readonly string[]): void {
  const { contents } = document;
  if (!isMap(contents) || contents.flow) return;
  const place = ({ key }: Pair) => {
    const at = order.indexOf(String(isScalar(key) ? key.value : key));
    return at === -1 ? order.length : at;
  };
  const items = [...contents.items];
  const first = items[0];
  items.sort((a, b) => place(a) - place(b));
  // The comment above the first field belongs to the document, whichever field comes first afterwards.
  if (first !== undefined && first !== items[0] && isScalar(first.key) && first.key.commentBefore) {
    document.commentBefore = [document.commentBefore, first.key.commentBefore].filter(Boolean).join('\n');
    first.key.commentBefore = null;
  }
  contents.items = items;
}

/** The same value with keys in one order, for comparison. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, each]) => [key, sorted(each)]));
}
