import { describe, expect, test } from 'vitest';
import { isTimeZone, timeZoneNames, zoneOffset } from './time-zones.ts';
import { CelError } from './values.ts';

const at = (text: string): number => Date.parse(text) / 1000;

/** What the host's own tz data says; it may be of another release, so only settled history is compared. */
function hostOffset(zone: string, seconds: number): number {
  const parts = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  }).formatToParts(seconds * 1000);
  const part = (type: string): number => Number(parts.find((one) => one.type === type)!.value);
  const local = Date.UTC(part('year'), part('month') - 1, part('day'), part('hour'), part('minute'), part('second'));
  return local / 1000 - seconds;
}

describe('time zones', () => {
  test('give the offset on both sides of a change of clocks, to the second', () => {
    expect(zoneOffset('Europe/Rome', at('2026-03-29T00:59:59Z'))).toBe(3600);
    expect(zoneOffset('Europe/Rome', at('2026-03-29T01:00:00Z'))).toBe(7200);
    expect(zoneOffset('America/New_York', at('2026-11-01T05:59:59Z'))).toBe(-14_400);
    expect(zoneOffset('America/New_York', at('2026-11-01T06:00:00Z'))).toBe(-18_000);
    expect(zoneOffset('Australia/Lord_Howe', at('2026-10-03T15:30:00Z'))).toBe(39_600);
    expect(zoneOffset('Europe/Dublin', at('2026-07-01T00:00:00Z'))).toBe(3600);
    expect(zoneOffset('Asia/Kathmandu', at('2026-07-01T00:00:00Z'))).toBe(20_700);
  });

  test('follow their rules beyond the listed changes', () => {
    expect(zoneOffset('Europe/Berlin', at('2199-07-01T00:00:00Z'))).toBe(7200);
    expect(zoneOffset('Australia/Sydney', at('2199-07-01T00:00:00Z'))).toBe(36_000);
    expect(zoneOffset('Australia/Sydney', at('2199-01-01T00:00:00Z'))).toBe(39_600);
  });

  test('accept fixed offsets and UTC', () => {
    expect(zoneOffset('UTC', 0)).toBe(0);
    expect(zoneOffset('+05:30', 0)).toBe(19_800);
    expect(zoneOffset('-00:30', -1)).toBe(-1800);
  });

  test('refuse what they do not know, and named zones before 1970', () => {
    expect(zoneOffset('Mars/Olympus', 0)).toBeInstanceOf(CelError);
    expect(zoneOffset('+25:00', 0)).toBeInstanceOf(CelError);
    expect(zoneOffset('Europe/Rome', -1)).toBeInstanceOf(CelError);
    expect(isTimeZone('__proto__')).toBe(false);
  });

  test('agree with the host for every zone it knows, from 1980 to 2023, when later releases changed nothing', () => {
    const known = new Set(Intl.supportedValuesOf('timeZone'));
    const differing: string[] = [];
    let state = 7;
    for (const zone of timeZoneNames()) {
      if (!known.has(zone)) continue;
      for (let i = 0; i < 30; i++) {
        state = (state * 48_271) % 2_147_483_647;
        const seconds =
          at('1980-01-01T00:00:00Z') + (state % (at('2023-01-01T00:00:00Z') - at('1980-01-01T00:00:00Z')));
        if (zoneOffset(zone, seconds) !== hostOffset(zone, seconds)) differing.push(`${zone} ${seconds}`);
      }
    }
    expect(differing).toEqual([]);
  });
});
