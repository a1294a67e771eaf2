import { z } from 'zod';
import { parseDuration, parseSize } from './units.ts';

/** What the generated reference says of a field: what it means and what it is measured in. */
type Meta = { description: string; unit?: string };

const describe = (description: string, unit?: string): Meta =>
  unit === undefined ? { description } : { description, unit };

/** A whole number within bounds. */
export const count = (
  fallback: number,
  description: string,
  bounds: { min?: number; max?: number; unit?: string } = {},
) =>
  z
    .int()
    .min(bounds.min ?? 0)
    .max(bounds.max ?? Number.MAX_SAFE_INTEGER)
    .prefault(fallback)
    .meta(describe(description, bounds.unit));

export const flag = (fallback: boolean, description: string) => z.boolean().prefault(fallback).meta({ description });

export const choice = <const T extends readonly [string, ...string[]]>(
  values: T,
  fallback: T[number],
  description: string,
) =>
  z
    .enum(values)
    .prefault(fallback as never)
    .meta({ description });

/** Text that may be left out. */
export const text = (description: string) => z.string().min(1).optional().meta({ description });

export const texts = (description: string) => z.array(z.string().min(1)).optional().meta({ description });

/** A span of time, written `"500ms"`, `"5s"`, `"10m"`, `"24h"`, `"7d"`; milliseconds once read. */
const durationText = z
  .string()
  .regex(/^\d+(\.\d+)?(ms|s|m|h|d)$/, 'expected a duration such as `500ms`, `5s`, `10m`, `24h` or `7d`')
  .transform(parseDuration);

export const duration = (fallback: string, description: string, { minMs = 0 } = {}) =>
  durationText
    .refine((ms) => ms >= minMs, `expected at least \`${minMs}ms\``)
    .prefault(fallback)
    .meta(describe(description, 'duration'));

export const optionalDuration = (description: string) =>
  durationText.optional().meta(describe(description, 'duration'));

/** An amount of bytes, written as a number or `"64KiB"`, `"10MiB"`, `"1GiB"`; bytes once read. */
const sizeText = z
  .union([
    z.int().min(0),
    z.string().regex(/^\d+(\.\d+)?(B|KiB|MiB|GiB)$/, 'expected a size such as `65536`, `64KiB`, `10MiB` or `1GiB`'),
  ])
  .transform(parseSize);

export const size = (fallback: string, description: string) =>
  sizeText.prefault(fallback).meta(describe(description, 'bytes'));

/** `host:port`; an IPv6 host stands in brackets. */
const addressText = z
  .string()
  .regex(/^(\[[0-9a-fA-F:.]+\]|[^\s:[\]/]+):\d{1,5}$/, 'expected `host:port`, such as `127.0.0.1:7400` or `[::1]:7400`')
  .refine((value) => !(Number(value.slice(value.lastIndexOf(':') + 1)) > 65535), 'a port is at most 65535');

export const address = (description: string) => addressText.optional().meta(describe(description, 'host:port'));

export const addresses = (description: string) =>
  z.array(addressText).optional().meta(describe(description, 'host:port'));

/** A table all of whose keys are known; left out, every field takes its default. */
export const table = <S extends z.ZodRawShape>(description: string, shape: S) =>
  z
    .strictObject(shape)
    .prefault({} as never)
    .meta({ description });
