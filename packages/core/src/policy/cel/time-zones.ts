import { civilTime, daysFromCivil, fixedOffset } from './calendar.ts';
import { timeZoneRelease, timeZoneTable } from './time-zones.data.ts';
import { CelError } from './values.ts';

/**
 * Offsets of IANA time zones from a table of our own, so that they do not depend on the tz data of the host.
 * Source: RFC 8536 and POSIX.1 TZ strings, section 8.3 of XBD.
 */

/** A zone since 1970: from `starts[i]` on its offset is `offsets[i + 1]`; after the last start, the rule's. */
interface Zone {
  readonly starts: readonly number[];
  readonly offsets: readonly number[];
  readonly rule: Rule;
}

interface Rule {
  readonly standard: number;
  /** Null where clocks are not changed. */
  readonly summer: { readonly offset: number; readonly start: RuleDate; readonly end: RuleDate } | null;
}

/** The `week`th `weekday` of `month` (5: the last), and seconds after its midnight, possibly beyond the day. */
interface RuleDate {
  readonly month: number;
  readonly week: number;
  readonly weekday: number;
  readonly seconds: number;
}

/** Lines of the table by name, and zones already read; both only save work. */
let lines: Map<string, string> | null = null;
const zones = new Map<string, Zone>();

/**
 * Seconds east of UTC in `zone` at `seconds` since 1970, or an error for a zone unknown or a moment before 1970 in a
 * named zone.
 *
 * @param zone `UTC`, an offset such as `+02:00`, or an IANA name such as `Europe/Rome`
 */
export function zoneOffset(zone: string, seconds: number): number | CelError {
  const fixed = fixedOffset(zone);
  if (fixed !== null) return fixed;
  const rules = findZone(zone);
  if (rules === null) {
    return new CelError(
      'invalid_argument',
      `unknown time zone \`${zone.slice(0, 100)}\` (IANA release ${timeZoneRelease})`,
    );
  }
  if (seconds < 0) {
    return new CelError('out_of_range', `the rules of \`${zone}\` are known from 1970 on; use a fixed offset before`);
  }
  return offsetAt(rules, seconds);
}

export function isTimeZone(zone: string): boolean {
  return fixedOffset(zone) !== null || findZone(zone) !== null;
}

/** Names of all zones known, aliases included. */
export function timeZoneNames(): Iterable<string> {
  return tableLines().keys();
}

function tableLines(): Map<string, string> {
  if (lines !== null) return lines;
  lines = new Map();
  for (const line of timeZoneTable.trim().split('\n')) {
    for (const name of line.slice(0, line.indexOf('|')).split(' ')) lines.set(name, line);
  }
  return lines;
}

function findZone(name: string): Zone | null {
  const held = zones.get(name);
  if (held !== undefined) return held;
  const line = tableLines().get(name);
  if (line === undefined) return null;
  const zone = readZone(line);
  zones.set(name, zone);
  return zone;
}

function readZone(line: string): Zone {
  const [, initial, transitions, rule] = line.split('|') as [string, string, string, string];
  const starts: number[] = [];
  const offsets = [Number.parseInt(initial, 36) * 30];
  let at = 0;
  for (const transition of transitions === '' ? [] : transitions.split(' ')) {
    const [step, offset] = transition.split(':') as [string, string];
    at += Number.parseInt(step, 36);
    starts.push(at);
    offsets.push(Number.parseInt(offset, 36) * 30);
  }
  return { starts, offsets, rule: readRule(rule) };
}

function readRule(text: string): Rule {
  const [standard, offset, start, end] = text.split(',');
  const summer = offset === undefined ? null : { offset: Number(offset), start: readDate(start!), end: readDate(end!) };
  return { standard: Number(standard), summer };
}

/** `M3.2.0/2:30`: at half past two on the second Sunday of March; two o'clock when no time is given. */
function readDate(text: string): RuleDate {
  const [, month, week, weekday, sign, hours, minutes] = /^M(\d+)\.(\d)\.(\d)(?:\/(-?)(\d+)(?::(\d+))?)?$/.exec(text)!;
  const seconds = Number(hours ?? 2) * 3600 + Number(minutes ?? 0) * 60;
  return {
    month: Number(month),
    week: Number(week),
    weekday: Number(weekday),
    seconds: sign === '-' ? -seconds : seconds,
  };
}

function offsetAt({ starts, offsets, rule }: Zone, seconds: number): number {
  if (starts.length === 0 || seconds >= starts.at(-1)!) return offsetByRule(rule, seconds);
  let low = 0;
  let high = starts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (starts[middle]! <= seconds) low = middle + 1;
    else high = middle;
  }
  return offsets[low]!;
}

function offsetByRule({ standard, summer }: Rule, seconds: number): number {
  if (summer === null) return standard;
  const { year } = civilTime(seconds + standard);
  const start = momentOf(summer.start, year) - standard;
  const end = momentOf(summer.end, year) - summer.offset;
  const isSummer = start < end ? seconds >= start && seconds < end : seconds >= start || seconds < end;
  return isSummer ? summer.offset : standard;
}

/** The local moment of a rule's date in a year. */
function momentOf(date: RuleDate, year: number): number {
  const first = daysFromCivil(year, date.month, 1);
  const next = date.month === 12 ? daysFromCivil(year + 1, 1, 1) : daysFromCivil(year, date.month + 1, 1);
  const weekday = (((first + 4) % 7) + 7) % 7;
  let day = first + ((date.weekday - weekday + 7) % 7) + (date.week - 1) * 7;
  if (day >= next) day -= 7;
  return day * 86_400 + date.seconds;
}
