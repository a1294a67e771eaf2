import { type CivilTime, civilTime } from '../calendar.ts';
import { zoneOffset } from '../time-zones.ts';
import { Duration, isFailure, Timestamp } from '../values.ts';
import type { FunctionTable } from './table.ts';

type Field = (time: CivilTime, timestamp: Timestamp) => number;

const fields: Readonly<Record<string, Field>> = {
  getFullYear: (time) => time.year,
  getMonth: (time) => time.month - 1,
  getDayOfYear: (time) => time.yearday - 1,
  getDayOfMonth: (time) => time.day - 1,
  getDate: (time) => time.day,
  getDayOfWeek: (time) => time.weekday,
  getHours: (time) => time.hours,
  getMinutes: (time) => time.minutes,
  getSeconds: (time) => time.seconds,
  getMilliseconds: (_, timestamp) => Math.floor(timestamp.nanos / 1_000_000),
};

/** Units of a duration in nanoseconds; milliseconds alone are what is left beyond the second. */
const durationFields: Readonly<Record<string, (nanos: bigint) => bigint>> = {
  getHours: (nanos) => nanos / 3_600_000_000_000n,
  getMinutes: (nanos) => nanos / 60_000_000_000n,
  getSeconds: (nanos) => nanos / 1_000_000_000n,
  getMilliseconds: (nanos) => (nanos % 1_000_000_000n) / 1_000_000n,
};

function inUtc(name: string, field: Field): (a: unknown) => unknown {
  const ofDuration = durationFields[name];
  return (value) => {
    if (value instanceof Timestamp) return BigInt(field(civilTime(value.seconds), value));
    return ofDuration !== undefined && value instanceof Duration ? ofDuration(value.nanos) : undefined;
  };
}

function inZone(field: Field): (a: unknown, b: unknown) => unknown {
  return (value, zone) => {
    if (!(value instanceof Timestamp) || typeof zone !== 'string') return undefined;
    const offset = zoneOffset(zone, value.seconds);
    return isFailure(offset) ? offset : BigInt(field(civilTime(value.seconds + offset), value));
  };
}

/** Parts of timestamps and durations. Source: cel-spec, langdef.md, "List of Standard Definitions". */
export const timeFunctions: FunctionTable = {
  unary: Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, inUtc(name, field)])),
  binary: Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, inZone(field)])),
};
