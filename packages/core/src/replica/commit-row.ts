import { ByteReader, type ByteWriter, malformed } from './codec.ts';
import type { Source, Sources } from './dot.ts';
import type { Change } from './events.ts';
import type { LogRecord } from './record.ts';
import { readStamp, writeStamp } from './state-codec.ts';
import type { SupersededWrite } from './superseded.ts';

/** A row of `commits`: which record was applied under its number, and what each operation did here. */
export interface CommitEntry {
  readonly namespace: string;
  readonly source: Source;
  readonly seq: number;
  /** One an operation; undefined where all took effect as they stand in the record. */
  readonly effects: readonly Change['effect'][] | undefined;
  /** By place of the operation: conditional writes that lost against it. */
  readonly superseded: ReadonlyMap<number, SupersededWrite>;
}

const effects = ['whole', 'merged', 'none'] as const satisfies readonly Change['effect'][];

export function encodeCommit(record: LogRecord, changes: readonly Change[], out: ByteWriter): Uint8Array {
  out.text(record.namespace);
  out.source(record.source);
  out.uint(record.seq);
  const isPlain = changes.every(({ effect }) => effect === 'whole');
  out.uint(isPlain ? 0 : changes.length);
  if (!isPlain) for (const { effect } of changes) out.u8(effects.indexOf(effect));
  changes.forEach(({ superseded }, place) => {
    if (superseded === undefined) return;
    out.uint(place);
    writeStamp(out, superseded);
    out.uint(superseded.version);
  });
  return out.take();
}

const nothing: ReadonlyMap<number, SupersededWrite> = new Map();

/** @throws IpeError `corrupt` */
export function decodeCommit(bytes: Uint8Array, sources: Sources): CommitEntry {
  const input = new ByteReader(bytes, sources);
  const namespace = input.text();
  const source = input.source();
  const seq = input.uint();
  const list: Change['effect'][] = [];
  for (let left = input.count(); left > 0; left--) {
    const effect = effects[input.u8()];
    if (effect === undefined) throw malformed('an unknown effect');
    list.push(effect);
  }
  let superseded = nothing;
  while (input.remaining > 0) {
    const place = input.uint();
    superseded = new Map([...superseded, [place, { ...readStamp(input), version: input.uint() }]]);
  }
  return { namespace, source, seq, effects: list.length === 0 ? undefined : list, superseded };
}
