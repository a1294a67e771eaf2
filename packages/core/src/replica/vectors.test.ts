import { expect, test } from 'vitest';
import { toHex } from '../bytes/index.ts';
import { ByteWriter } from './codec.ts';
import { dotsTag, dotWord, Sources } from './dot.ts';
import { isCausal, stateOf } from './join.ts';
import type { LogRecord, Operation } from './record.ts';
import { decodeRecord, encodeRecord } from './record-codec.ts';
import { writeState } from './state-codec.ts';

// What is written to disk and sent to peers, as data that any language can check itself against. A change here is a
// change of format: it needs a new format number, not an updated file.
const sources = new Sources();
const source = sources.of('00112233445566aa', 0x0102030405);
const seen = { source: sources.of('ffeeddccbbaa0099', 7), seq: 3, idx: 1 };

const operations: Readonly<Record<string, Operation>> = {
  put: {
    op: 'put',
    key: 'ns.a',
    version: 2,
    createdMs: 1_699_999_999_000,
    expiresMs: 1_700_000_060_000,
    json: '{"né":"😀"}',
    bytes: undefined,
    context: undefined,
    over: undefined,
    isConditional: false,
  },
  bytes: {
    op: 'put',
    key: 'ns.a.b',
    version: 1,
    createdMs: 1_700_000_000_000,
    expiresMs: 0,
    json: undefined,
    bytes: Uint8Array.of(0, 255),
    context: undefined,
    over: undefined,
    isConditional: false,
  },
  causal: {
    op: 'put',
    key: 'ns.a',
    version: 300,
    createdMs: 1_700_000_000_000,
    expiresMs: 0,
    json: 'null',
    bytes: undefined,
    context: [seen],
    over: undefined,
    isConditional: false,
  },
  delete: {
    op: 'delete',
    key: 'ns.a',
    version: 2,
    createdMs: 1_700_000_000_000,
    context: undefined,
    over: undefined,
    isConditional: false,
  },
  conditional: {
    op: 'put',
    key: 'ns.a',
    version: 3,
    createdMs: 1_700_000_000_000,
    expiresMs: 0,
    json: '1',
    bytes: undefined,
    context: undefined,
    over: dotWord(seen),
    isConditional: true,
  },
  'conditional delete': {
    op: 'delete',
    key: 'ns.a',
    version: 3,
    createdMs: 1_700_000_000_000,
    context: undefined,
    over: dotWord(seen),
    isConditional: true,
  },
  add: {
    op: 'add',
    key: 'ns.c',
    version: 1,
    createdMs: 1_700_000_000_000,
    reset: { ...seen, ms: 5, count: 6 },
    windowStartMs: 1_699_999_980_000,
    windowMs: 60_000,
    plus: 2 ** 40,
    minus: 1,
  },
  reset: { op: 'reset', key: 'ns.c', version: 4 },
  members: {
    op: 'members',
    key: 'ns.s',
    version: 1,
    createdMs: 1_700_000_000_000,
    changes: [
      { member: '"a"', present: true, context: [] },
      { member: '7', present: false, context: [seen] },
    ].sort((a, b) => (a.member < b.member ? -1 : 1)),
  },
};

test('spec/vectors/replica.json holds the encodings of records and states', async () => {
  const vectors = Object.entries(operations).map(([name, operation]) => {
    const record: LogRecord = {
      namespace: 'ns',
      source,
      seq: 129,
      ms: 1_700_000_000_000,
      count: 9,
      operations: [operation],
    };
    const bytes = encodeRecord(record);
    expect(decodeRecord(bytes, sources)).toEqual(record);
    const out = new ByteWriter();
    writeState(out, stateOf(record, 0, isCausal(operation)));
    return { name, operation: describe(operation), record: toHex(bytes), state: toHex(out.take()) };
  });
  const file = {
    source: source.id,
    seq: 129,
    ms: 1_700_000_000_000,
    count: 9,
    tag: dotsTag([{ source, seq: 129, idx: 0 }, seen]),
    vectors,
  };
  await expect(`${JSON.stringify(file, null, 2)}\n`).toMatchFileSnapshot('../../../../spec/vectors/replica.json');
});

/** An operation as JSON: sources by id, bytes in hexadecimal. */
function describe(operation: Operation): unknown {
  return JSON.parse(
    JSON.stringify(operation, (name, value) =>
      name === 'source' ? value.id : value instanceof Uint8Array ? toHex(value) : value,
    ),
  );
}
