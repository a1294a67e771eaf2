const durationUnits = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const sizeUnits = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const;

/** Milliseconds of `"500ms"`, `"5s"`, `"10m"`, `"24h"`, `"7d"`. @throws RangeError on any other text. */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text);
  if (match === null) throw new RangeError(`\`${text}\` is not a duration`);
  return Math.round(Number(match[1]) * durationUnits[match[2] as keyof typeof durationUnits]);
}

/** Bytes of a number or of `"64KiB"`, `"10MiB"`, `"1GiB"`, `"512B"`. @throws RangeError on any other text. */
export function parseSize(value: string | number): number {
  if (typeof value === 'number') return value;
  const match = /^(\d+(?:\.\d+)?)(B|KiB|MiB|GiB)$/.exec(value);
  if (match === null) throw new RangeError(`\`${value}\` is not a size`);
  return Math.round(Number(match[1]) * sizeUnits[match[2] as keyof typeof sizeUnits]);
}
