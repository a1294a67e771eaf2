const rfc3339 = /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(\.\d{1,9})?(Z|z|[+-]\d{2}:\d{2})$/;

/**
 * Unix seconds (with a fraction) of an RFC 3339 timestamp, or undefined when `text` is none. Leap seconds are refused.
 *
 * @example parseTimestamp('2026-01-01T00:00:00Z') // 1767225600
 */
export function parseTimestamp(text: string): number | undefined {
  const match = rfc3339.exec(text);
  if (match === null) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const zone = match[8]!;
  const zoneMinutes = zone.length === 1 ? 0 : Number(zone.slice(1, 3)) * 60 + Number(zone.slice(4));
  if (month < 1 || month > 12 || day < 1 || day > daysIn(year, month) || hour > 23 || minute > 59 || second > 59)
    return undefined;
  if (zone.length > 1 && (Number(zone.slice(1, 3)) > 23 || Number(zone.slice(4)) > 59)) return undefined;
  const offsetSeconds = zoneMinutes * 60 * (zone.startsWith('-') ? -1 : 1);
  return (
    daysSince1970(year, month, day) * 86_400 +
    hour * 3_600 +
    minute * 60 +
    second -
    offsetSeconds +
    Number(match[7] ?? 0)
  );
}

/** RFC 3339 text, in UTC, of Unix seconds; to the microsecond, without trailing zeros. */
export function formatTimestamp(seconds: number): string {
  const micros = Math.round(seconds * 1e6);
  const whole = Math.floor(micros / 1e6);
  const fraction = String(micros - whole * 1e6)
    .padStart(6, '0')
    .replace(/0+$/, '');
  const text = new Date(whole * 1000).toISOString().slice(0, -5);
  return `${text}${fraction === '' ? '' : `.${fraction}`}Z`;
}

function daysIn(year: number, month: number): number {
  if (month === 2) return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28;
  return [4, 6, 9, 11].includes(month) ? 30 : 31;
}

/** Days of the proleptic Gregorian calendar, by years that begin in March (H. Hinnant, `days_from_civil`). */
function daysSince1970(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  return (
    era * 146_097 + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear - 719_468
  );
}
