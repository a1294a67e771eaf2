// Writes the table of time zones that CEL expressions may name, from a compiled IANA database (TZif files, RFC 8536).
//
//   node scripts/generate-time-zones.mjs /usr/share/zoneinfo packages/core/src/policy/cel/time-zones.data.ts
//
// The table is part of the language: a new one may change decisions, so it comes with a new language version.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [directory, output] = process.argv.slice(2);
if (output === undefined) throw new Error('usage: generate-time-zones.mjs <zoneinfo directory> <output file>');

const source = readFileSync(join(directory, 'tzdata.zi'), 'utf8');
const version = /^# version (\S+)/.exec(source)[1];
const names = [...source.matchAll(/^Z (\S+)/gm)].map((match) => match[1]);
const links = [...source.matchAll(/^L \S+ (\S+)/gm)].map((match) => match[1]);
const wanted = [...names, ...links].filter((name) => name !== 'Factory').sort();

/** Transitions since 1970 as [seconds, offset], the offset before them, and the rule after them. */
function readZone(name) {
  const file = readFileSync(join(directory, name));
  const header = (at) => [20, 24, 28, 32, 36, 40].map((offset) => file.readUInt32BE(at + offset));
  const [isUtc, isStd, leap, times, types, chars] = header(0);
  const second = 44 + times * 5 + types * 6 + chars + leap * 8 + isStd + isUtc;
  const [isUtc2, isStd2, leap2, times2, types2, chars2] = header(second);
  const start = second + 44;
  const typesAt = start + times2 * 9;
  const offsets = Array.from({ length: types2 }, (_, i) => file.readInt32BE(typesAt + i * 6));
  const transitions = Array.from({ length: times2 }, (_, i) => [
    Number(file.readBigInt64BE(start + i * 8)),
    offsets[file[start + times2 * 8 + i]],
  ]);
  const footer = file
    .subarray(typesAt + types2 * 6 + chars2 + leap2 * 12 + isStd2 + isUtc2)
    .toString()
    .trim();
  const before = transitions.filter(([at]) => at <= 0);
  const kept = [];
  let offset = before.length > 0 ? before.at(-1)[1] : offsets[0];
  const initial = offset;
  for (const [at, next] of transitions) {
    if (at <= 0 || next === offset) continue;
    kept.push([at, next]);
    offset = next;
  }
  return { initial, transitions: trim(kept, footer), rule: simplify(footer) };
}

/** `EST5EDT,M3.2.0,M11.1.0` without its letters: `5,4,M3.2.0,M11.1.0`; offsets in seconds east. */
function simplify(footer) {
  const part = /^(?:<[^>]+>|[A-Za-z]+)(-?[\d:]+)(?:(?:<[^>]+>|[A-Za-z]+)(-?[\d:]+)?,([^,]+),([^,]+))?$/.exec(footer);
  if (part === null) throw new Error(`unknown rule ${footer}`);
  const seconds = (text) => {
    const [h, m = 0, s = 0] = text.replace('-', '').split(':').map(Number);
    return (text.startsWith('-') ? -1 : 1) * (h * 3600 + m * 60 + s);
  };
  const standard = -seconds(part[1]) || 0;
  if (part[3] === undefined) return `${standard}`;
  return `${standard},${part[2] === undefined ? standard + 3600 : -seconds(part[2])},${part[3]},${part[4]}`;
}

/** Drops the last transitions as far as the rule gives them too: same moments, same offsets, none missing between. */
function trim(transitions, footer) {
  if (!footer.includes(',')) return transitions;
  const rule = parseRule(simplify(footer));
  let keep = transitions.length;
  while (keep > 1) {
    const [at, offset] = transitions[keep - 1];
    const year = new Date(at * 1000).getUTCFullYear();
    const isStart = offset === rule.daylight && at === ruleTime(rule.start, year, rule.standard);
    const isEnd = offset === rule.standard && at === ruleTime(rule.end, year, rule.daylight);
    const next = transitions[keep]?.[0] ?? at;
    if ((!isStart && !isEnd) || next - at > 320 * 86_400) break;
    keep--;
  }
  return transitions.slice(0, keep + 1);
}

function parseRule(text) {
  const [standard, daylight, start, end] = text.split(',');
  return { standard: Number(standard), daylight: Number(daylight), start, end };
}

function ruleTime(text, year, offset) {
  const [date, time = '2'] = text.split('/');
  const [h, m = 0] = time.replace('-', '').split(':').map(Number);
  const seconds = (time.startsWith('-') ? -1 : 1) * (h * 3600 + m * 60) - offset;
  if (!date.startsWith('M')) throw new Error(`unknown date ${date}`);
  const [month, week, day] = date.slice(1).split('.').map(Number);
  const first = new Date(Date.UTC(year, month - 1, 1)).getUTCDay();
  let dayOfMonth = 1 + ((day - first + 7) % 7) + (week - 1) * 7;
  const length = new Date(Date.UTC(year, month, 0)).getUTCDate();
  if (dayOfMonth > length) dayOfMonth -= 7;
  return Date.UTC(year, month - 1, dayOfMonth) / 1000 + seconds;
}

/** Offsets are whole multiples of half a minute since 1970. */
function units(offset) {
  if (offset % 30 !== 0) throw new Error(`offset of ${offset} s`);
  return (offset / 30).toString(36);
}

const zones = new Map();
for (const name of wanted) {
  const { initial, transitions, rule } = readZone(name);
  let last = 0;
  const parts = transitions.map(([at, offset]) => {
    const step = (at - last).toString(36);
    last = at;
    return `${step}:${units(offset)}`;
  });
  const key = `${units(initial)}|${parts.join(' ')}|${rule}`;
  zones.set(key, [...(zones.get(key) ?? []), name]);
}
const lines = [...zones].map(([key, all]) => `${all.join(' ')}|${key}`);
writeFileSync(
  output,
  `/**
 * The IANA time zone database, release ${version} (public domain), from 1970 on; written by scripts/generate-time-zones.mjs.
 *
 * A line is \`names|offset at 1970|transitions|rule after them\`. A transition is \`step:offset\`: seconds since the one
 * before, and the offset from then on, in base 36; offsets are half minutes east of UTC. The rule is the offset in
 * seconds, or \`standard,daylight,start,end\` with POSIX dates.
 */
export const timeZoneRelease = '${version}';

export const timeZoneTable = \`
${lines.join('\n')}
\`;
`,
);
console.log(`${wanted.length} names, ${lines.length} zones, release ${version}`);
