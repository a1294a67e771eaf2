import type { Timestamp } from './values.ts';

/** Calendar arithmetic on the proleptic Gregorian calendar, without `Date` and its host's zone data. */

/** A moment as a calendar shows it; month and days count as people count them, from 1. */
export interface CivilTime {
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly hours: number;
  readonly minutes: number;
  readonly seconds: number;
  /** 0 is Sunday. */
  readonly weekday: number;
  /** 1 is the first of January. */
  readonly yearday: number;
}

/** Days since 1970-01-01 of a date. Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil. */
export function daysFromCivil(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  return (
    era * 146_097 + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear - 719_468
  );
}

/** The calendar's view of `localSeconds`, seconds since 1970 already moved into the zone. Source: as above, civil_from_days. */
export function civilTime(localSeconds: number): CivilTime {
  const days = Math.floor(localSeconds / 86_400);
  const rest = localSeconds - days * 86_400;
  const z = days + 719_468;
  const era = Math.floor(z / 146_097);
  const dayOfEra = z - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shifted = Math.floor((5 * dayOfYear + 2) / 153);
  const month = shifted < 10 ? shifted + 3 : shifted - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  return {
    year,
    month,
    day: dayOfYear - Math.floor((153 * shifted + 2) / 5) + 1,
    hours: Math.floor(rest / 3600),
    minutes: Math.floor(rest / 60) % 60,
    seconds: rest % 60,
    weekday: (((days + 4) % 7) + 7) % 7,
    yearday: days - daysFromCivil(year, 1, 1) + 1,
  };
}

const pad = (value: number, width: number): string => String(value).padStart(width, '0');

/** The timestamp in RFC 3339, in UTC, with as many digits of a second as it has. */
export function formatTimestamp(timestamp: Timestamp): string {
  const t = civilTime(timestamp.seconds);
  const date = `${pad(t.year, 4)}-${pad(t.month, 2)}-${pad(t.day, 2)}`;
  const time = `${pad(t.hours, 2)}:${pad(t.minutes, 2)}:${pad(t.seconds, 2)}`;
  return `${date}T${time}${fraction(timestamp.nanos)}Z`;
}

/** `.5` for 500,000,000 nanoseconds; empty for none. */
export function fraction(nanos: number): string {
  return nanos === 0 ? '' : `.${pad(nanos, 9).replace(/0+$/, '')}`;
}

const rfc3339 = /^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d{2}):(\d{2}))$/;
const monthLengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** Seconds and nanoseconds since 1970 of an RFC 3339 text; null when it is not one. */
export function parseTimestamp(text: string): { readonly seconds: number; readonly nanos: number } | null {
  const parts = rfc3339.exec(text);
  if (parts === null) return null;
  const [year, month, day, hours, minutes, seconds] = parts.slice(1, 7).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  const length = month === 2 && leap ? 29 : (monthLengths[month - 1] ?? 0);
  if (day < 1 || day > length || hours > 23 || minutes > 59 || seconds > 59) return null;
  const offsetHours = Number(parts[9] ?? 0);
  const offsetMinutes = Number(parts[10] ?? 0);
  if (offsetHours > 23 || offsetMinutes > 59) return null;
  const offset = (parts[8] === '-' ? -1 : 1) * (offsetHours * 3600 + offsetMinutes * 60);
  return {
    seconds: daysFromCivil(year, month, day) * 86_400 + hours * 3600 + minutes * 60 + seconds - offset,
    nanos: Number((parts[7] ?? '').padEnd(9, '0')),
  };
}

const durationUnits: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1_000n,
  µs: 1_000n,
  μs: 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
};

/** Nanoseconds of a duration such as `1h30m` or `-1.5s`; null when it is not one. Source: Go, time.ParseDuration. */
export function parseDuration(text: string): bigint | null {
  const sign = /^[+-]/.test(text) ? text[0] : '';
  const body = text.slice(sign!.length);
  if (body === '0') return 0n;
  if (body.length > 128 || !/^(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/.test(body)) return null;
  let nanos = 0n;
  for (const [, whole, decimals, unit] of body.matchAll(/(\d*)\.?(\d*)(ns|us|µs|μs|ms|s|m|h)/g)) {
    const size = durationUnits[unit!]!;
    nanos += BigInt(whole || '0') * size;
    if (decimals) nanos += (BigInt(decimals) * size) / 10n ** BigInt(decimals.length);
  }
  return sign === '-' ? -nanos : nanos;
}

/** The duration in seconds, as `string(duration)` has it: `1.5s`. */
export function formatDuration(nanos: bigint): string {
  const magnitude = nanos < 0n ? -nanos : nanos;
  const sign = nanos < 0n ? '-' : '';
  return `${sign}${magnitude / 1_000_000_000n}${fraction(Number(magnitude % 1_000_000_000n))}s`;
}

/** Seconds east of UTC of a fixed offset (`+02:00`, `-3:30`, `02:00`) or `UTC`; null for anything else. */
export function fixedOffset(zone: string): number | null {
  if (zone === 'UTC' || zone === 'Z') return 0;
  const parts = /^([+-]?)(\d{1,2}):(\d{2})$/.exec(zone);
  if (parts === null || Number(parts[2]) > 23 || Number(parts[3]) > 59) return null;
  return (parts[1] === '-' ? -1 : 1) * (Number(parts[2]) * 3600 + Number(parts[3]) * 60);
}
