import { type ByteReader, type ByteWriter, malformed } from './codec.ts';
import { compareDots, type Dot, type Stamp } from './dot.ts';
import type { Context, Counter, KeyState, Mark, Member, Members, Siblings, Total, Version } from './state.ts';

const kinds = { version: 0, siblings: 1, counter: 2, members: 3 } as const;
const flags = { json: 1, bytes: 2, expires: 4, createdBefore: 8, conditional: 16 } as const;

/** Appends the canonical encoding of a state. */
export function writeState(out: ByteWriter, state: KeyState): void {
  out.u8(kinds[state.kind]);
  if (state.kind === 'version') writeVersion(out, state);
  else if (state.kind === 'counter') writeCounter(out, state);
  else if (state.kind === 'members') writeMembers(out, state);
  else {
    out.uint(state.live.length);
    for (const version of state.live) writeVersion(out, version);
    writeContext(out, state.context);
  }
}

/** @throws IpeError `corrupt` */
export function readState(input: ByteReader): KeyState {
  switch (input.u8()) {
    case kinds.version:
      return readVersion(input);
    case kinds.siblings:
      return readSiblings(input);
    case kinds.counter:
      return readCounter(input);
    case kinds.members:
      return readMembers(input);
    default:
      throw malformed('an unknown kind of state');
  }
}

function writeVersion(out: ByteWriter, version: Version): void {
  const createdBefore = version.createdMs !== version.ms;
  out.u8(
    (version.json !== undefined ? flags.json : 0) |
      (version.bytes !== undefined ? flags.bytes : 0) |
      (version.expiresMs !== 0 ? flags.expires : 0) |
      (createdBefore ? flags.createdBefore : 0) |
      (version.isConditional ? flags.conditional : 0),
  );
  writeStamp(out, version);
  out.uint(version.version);
  if (createdBefore) out.u48(version.createdMs);
  if (version.expiresMs !== 0) out.u48(version.expiresMs);
  if (version.json !== undefined) out.text(version.json);
  else if (version.bytes !== undefined) out.framed(version.bytes);
}

function readVersion(input: ByteReader): Version {
  const bits = input.u8();
  if (bits > 31 || (bits & 3) === 3) throw malformed('unknown flags');
  const { source, seq, idx, ms, count } = readStamp(input);
  const version = input.uint();
  const createdMs = bits & flags.createdBefore ? input.u48() : ms;
  const expiresMs = bits & flags.expires ? input.u48() : 0;
  if ((bits & flags.createdBefore && createdMs === ms) || (bits & flags.expires && expiresMs === 0))
    throw malformed('a default written out');
  const json = bits & flags.json ? input.text() : undefined;
  const bytes = bits & flags.bytes ? input.framed() : undefined;
  const isConditional = (bits & flags.conditional) !== 0;
  return { kind: 'version', source, seq, idx, ms, count, version, createdMs, expiresMs, json, bytes, isConditional };
}

function readSiblings(input: ByteReader): Siblings {
  const live = readSorted(input, () => readVersion(input), compareDots);
  return { kind: 'siblings', live, context: readContext(input) };
}

function writeCounter(out: ByteWriter, state: Counter): void {
  out.u8((state.reset !== undefined ? 1 : 0) | (state.windowMs !== 0 ? 2 : 0));
  if (state.reset !== undefined) writeStamp(out, state.reset);
  if (state.windowMs !== 0) {
    out.u48(state.windowStartMs);
    out.uint(state.windowMs);
  }
  out.uint(state.version);
  out.u48(state.createdMs);
  out.uint(state.totals.length);
  for (const total of state.totals) {
    writeStamp(out, total);
    out.uint(total.plus);
    out.uint(total.minus);
  }
}

function readCounter(input: ByteReader): Counter {
  const bits = input.u8();
  if (bits > 3) throw malformed('unknown flags');
  const reset = bits & 1 ? readStamp(input) : undefined;
  const windowStartMs = bits & 2 ? input.u48() : 0;
  const windowMs = bits & 2 ? input.uint() : 0;
  if (bits & 2 && windowMs === 0) throw malformed('a window without length');
  const version = input.uint();
  const createdMs = input.u48();
  const readTotal = (): Total => ({ ...readStamp(input), plus: input.uint(), minus: input.uint() });
  const totals = readSorted(input, readTotal, compareDots);
  return { kind: 'counter', reset, windowStartMs, windowMs, totals, version, createdMs };
}

function writeMembers(out: ByteWriter, state: Members): void {
  out.uint(state.version);
  out.u48(state.createdMs);
  out.uint(state.members.length);
  for (const { member, live, context } of state.members) {
    out.text(member);
    out.uint(live.length);
    for (const mark of live) {
      writeStamp(out, mark);
      out.u8(mark.present ? 1 : 0);
    }
    writeContext(out, context);
  }
}

function readMembers(input: ByteReader): Members {
  const version = input.uint();
  const createdMs = input.u48();
  const readMark = (): Mark => {
    const stamp = readStamp(input);
    const present = input.u8();
    if (present > 1) throw malformed('unknown flags');
    return { ...stamp, present: present === 1 };
  };
  const readMember = (): Member => ({
    member: input.text(),
    live: readSorted(input, readMark, compareDots),
    context: readContext(input),
  });
  const members = readSorted(input, readMember, (a, b) => (a.member < b.member ? -1 : a.member > b.member ? 1 : 0));
  return { kind: 'members', members, version, createdMs };
}

/** Source, seq, idx, hybrid time. */
export function writeStamp(out: ByteWriter, stamp: Stamp): void {
  writeDot(out, stamp);
  out.u48(stamp.ms);
  out.u16(stamp.count);
}

export function readStamp(input: ByteReader): Stamp {
  return { ...readDot(input), ms: input.u48(), count: input.u16() };
}

export function writeContext(out: ByteWriter, context: Context): void {
  out.uint(context.length);
  for (const dot of context) writeDot(out, dot);
}

export function readContext(input: ByteReader): Context {
  return readSorted(input, () => readDot(input), compareDots);
}

function writeDot(out: ByteWriter, dot: Dot): void {
  out.source(dot.source);
  out.uint(dot.seq);
  out.uint(dot.idx);
}

function readDot(input: ByteReader): Dot {
  return { source: input.source(), seq: input.uint(), idx: input.uint() };
}

function readSorted<T>(input: ByteReader, readOne: () => T, compare: (a: T, b: T) => number): T[] {
  const items: T[] = [];
  for (let left = input.count(); left > 0; left--) {
    const item = readOne();
    const last = items.at(-1);
    if (last !== undefined && compare(last, item) >= 0) throw malformed('a list out of order');
    items.push(item);
  }
  return items;
}
