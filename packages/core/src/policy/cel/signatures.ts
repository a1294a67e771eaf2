import {
  bool,
  bytes,
  double,
  duration,
  dyn,
  int,
  listOf,
  mapOf,
  nullType,
  optionalOf,
  parameter,
  string,
  type Type,
  timestamp,
  typeOf,
  uint,
} from './types.ts';

/** One way to call a function: types of its arguments (a target first) and of its result. */
export interface Signature {
  readonly parameters: readonly Type[];
  /** The last parameter may be given again and again. */
  readonly variadic: boolean;
  readonly result: Type;
  /** As written in the table. */
  readonly text: string;
}

const numbers = ['int', 'uint', 'double'] as const;
const pairs = numbers.flatMap((a) => numbers.map((b) => `(${a}, ${b}) -> bool`));
const ordered = [
  ...pairs,
  ...['bool', 'string', 'bytes', 'timestamp', 'duration'].map((type) => `(${type}, ${type}) -> bool`),
];
const sameNumbers = numbers.map((type) => `(${type}, ${type}) -> ${type}`);
const zoned = ['(timestamp) -> int', '(timestamp, string) -> int'];
const zonedOrDuration = [...zoned, '(duration) -> int'];

/** Operators and functions called as `fn(args)`. A, B and C stand for any type, the same throughout a line. */
const globalTable: Readonly<Record<string, readonly string[]>> = {
  '!_': ['(bool) -> bool'],
  '-_': ['(int) -> int', '(double) -> double'],
  '_+_': [
    ...sameNumbers,
    '(string, string) -> string',
    '(bytes, bytes) -> bytes',
    '(list(A), list(A)) -> list(A)',
    '(timestamp, duration) -> timestamp',
    '(duration, timestamp) -> timestamp',
    '(duration, duration) -> duration',
  ],
  '_-_': [
    ...sameNumbers,
    '(timestamp, timestamp) -> duration',
    '(timestamp, duration) -> timestamp',
    '(duration, duration) -> duration',
  ],
  '_*_': sameNumbers,
  '_/_': sameNumbers,
  '_%_': ['(int, int) -> int', '(uint, uint) -> uint'],
  '_==_': ['(A, A) -> bool', ...pairs],
  '_!=_': ['(A, A) -> bool', ...pairs],
  '_<_': ordered,
  '_<=_': ordered,
  '_>_': ordered,
  '_>=_': ordered,
  '_?_:_': ['(bool, A, A) -> A'],
  '@in': ['(A, list(A)) -> bool', '(A, map(A, B)) -> bool', ...numbers.map((a) => `(${a}, list(dyn)) -> bool`)],
  // Whole doubles index too, so that numbers of JSON do.
  '_[_]': [
    '(list(A), int) -> A',
    '(list(A), double) -> A',
    '(map(A, B), A) -> B',
    '(optional(list(A)), int) -> optional(A)',
    '(optional(map(A, B)), A) -> optional(B)',
  ],
  '_[?_]': [
    '(list(A), int) -> optional(A)',
    '(list(A), double) -> optional(A)',
    '(map(A, B), A) -> optional(B)',
    '(optional(list(A)), int) -> optional(A)',
    '(optional(map(A, B)), A) -> optional(B)',
  ],
  size: ['(string) -> int', '(bytes) -> int', '(list(A)) -> int', '(map(A, B)) -> int'],
  matches: ['(string, string) -> bool'],
  int: ['(int) -> int', '(uint) -> int', '(double) -> int', '(string) -> int', '(timestamp) -> int'],
  uint: ['(uint) -> uint', '(int) -> uint', '(double) -> uint', '(string) -> uint'],
  double: ['(double) -> double', '(int) -> double', '(uint) -> double', '(string) -> double'],
  string: [
    '(string) -> string',
    '(bool) -> string',
    '(int) -> string',
    '(uint) -> string',
    '(double) -> string',
    '(bytes) -> string',
    '(timestamp) -> string',
    '(duration) -> string',
  ],
  bytes: ['(bytes) -> bytes', '(string) -> bytes'],
  bool: ['(bool) -> bool', '(string) -> bool'],
  timestamp: ['(timestamp) -> timestamp', '(string) -> timestamp', '(int) -> timestamp'],
  duration: ['(duration) -> duration', '(string) -> duration', '(int) -> duration'],
  dyn: ['(A) -> dyn'],
  type: ['(A) -> type(A)'],
  'math.greatest': [
    '(int, ...) -> int',
    '(uint, ...) -> uint',
    '(double, ...) -> double',
    '(dyn, ...) -> dyn',
    '(list(A)) -> A',
  ],
  'math.least': [
    '(int, ...) -> int',
    '(uint, ...) -> uint',
    '(double, ...) -> double',
    '(dyn, ...) -> dyn',
    '(list(A)) -> A',
  ],
  'math.ceil': ['(double) -> double'],
  'math.floor': ['(double) -> double'],
  'math.round': ['(double) -> double'],
  'math.trunc': ['(double) -> double'],
  'math.isNaN': ['(double) -> bool'],
  'math.isInf': ['(double) -> bool'],
  'math.isFinite': ['(double) -> bool'],
  'math.abs': numbers.map((type) => `(${type}) -> ${type}`),
  'math.sign': numbers.map((type) => `(${type}) -> ${type}`),
  'math.sqrt': numbers.map((type) => `(${type}) -> double`),
  'math.bitNot': ['(int) -> int', '(uint) -> uint'],
  'math.bitAnd': ['(int, int) -> int', '(uint, uint) -> uint'],
  'math.bitOr': ['(int, int) -> int', '(uint, uint) -> uint'],
  'math.bitXor': ['(int, int) -> int', '(uint, uint) -> uint'],
  'math.bitShiftLeft': ['(int, int) -> int', '(uint, int) -> uint'],
  'math.bitShiftRight': ['(int, int) -> int', '(uint, int) -> uint'],
  'strings.quote': ['(string) -> string'],
  'base64.encode': ['(bytes) -> string'],
  'base64.decode': ['(string) -> bytes'],
  'sets.contains': ['(list(A), list(A)) -> bool'],
  'sets.equivalent': ['(list(A), list(A)) -> bool'],
  'sets.intersects': ['(list(A), list(A)) -> bool'],
  'lists.range': ['(int) -> list(int)'],
  'optional.of': ['(A) -> optional(A)'],
  'optional.ofNonZeroValue': ['(A) -> optional(A)'],
  'optional.none': ['() -> optional(A)'],
  'optional.unwrap': ['(list(optional(A))) -> list(A)'],
};

/** Functions called as `target.fn(args)`; the target's type comes first. */
const memberTable: Readonly<Record<string, readonly string[]>> = {
  size: globalTable.size!,
  matches: globalTable.matches!,
  contains: ['(string, string) -> bool'],
  startsWith: ['(string, string) -> bool'],
  endsWith: ['(string, string) -> bool'],
  charAt: ['(string, int) -> string'],
  indexOf: ['(string, string) -> int', '(string, string, int) -> int'],
  lastIndexOf: ['(string, string) -> int', '(string, string, int) -> int'],
  lowerAscii: ['(string) -> string'],
  upperAscii: ['(string) -> string'],
  replace: ['(string, string, string) -> string', '(string, string, string, int) -> string'],
  split: ['(string, string) -> list(string)', '(string, string, int) -> list(string)'],
  join: ['(list(string)) -> string', '(list(string), string) -> string'],
  substring: ['(string, int) -> string', '(string, int, int) -> string'],
  trim: ['(string) -> string'],
  reverse: ['(string) -> string', '(list(A)) -> list(A)'],
  format: ['(string, list(dyn)) -> string'],
  slice: ['(list(A), int, int) -> list(A)'],
  flatten: ['(list(list(A))) -> list(A)', '(list(dyn)) -> list(dyn)', '(list(dyn), int) -> list(dyn)'],
  distinct: ['(list(A)) -> list(A)'],
  sort: ['(list(A)) -> list(A)'],
  first: ['(list(A)) -> optional(A)'],
  last: ['(list(A)) -> optional(A)'],
  hasValue: ['(optional(A)) -> bool'],
  value: ['(optional(A)) -> A'],
  or: ['(optional(A), optional(A)) -> optional(A)'],
  orValue: ['(optional(A), A) -> A'],
  unwrapOpt: ['(list(optional(A))) -> list(A)'],
  getFullYear: zoned,
  getMonth: zoned,
  getDayOfYear: zoned,
  getDayOfMonth: zoned,
  getDate: zoned,
  getDayOfWeek: zoned,
  getHours: zonedOrDuration,
  getMinutes: zonedOrDuration,
  getSeconds: zonedOrDuration,
  getMilliseconds: zonedOrDuration,
};

const plainTypes: Readonly<Record<string, Type>> = {
  bool,
  bytes,
  double,
  duration,
  dyn,
  int,
  null: nullType,
  string,
  timestamp,
  uint,
};

/** Reads a type of the tables above; they are written here, so anything malformed is a programming mistake. */
function readType(text: string): Type {
  const part = /^(\w+)\((.*)\)$/.exec(text);
  if (part === null) return plainTypes[text] ?? parameter(text);
  const inner = splitTypes(part[2]!).map(readType);
  if (part[1] === 'list') return listOf(inner[0]!);
  if (part[1] === 'map') return mapOf(inner[0]!, inner[1]!);
  if (part[1] === 'optional') return optionalOf(inner[0]!);
  if (part[1] === 'type') return typeOf(inner[0]!);
  throw new TypeError(`unknown type ${text}`);
}

/** Splits at commas outside of parentheses. */
function splitTypes(text: string): readonly string[] {
  const parts: string[] = [];
  let depth = 0;
  let part = '';
  for (const char of text) {
    if (char === '(') depth++;
    if (char === ')') depth--;
    if (char === ',' && depth === 0) {
      parts.push(part.trim());
      part = '';
    } else part += char;
  }
  return part.trim() === '' ? parts : [...parts, part.trim()];
}

function readSignature(text: string): Signature {
  const [, parameters, result] = /^\((.*)\) -> (.*)$/.exec(text)!;
  const names = splitTypes(parameters!);
  const variadic = names.at(-1) === '...';
  return {
    parameters: (variadic ? names.slice(0, -1) : names).map(readType),
    variadic,
    result: readType(result!),
    text,
  };
}

const read = new Map<string, readonly Signature[]>();

/** The ways to call a function; empty when there is none of that name. */
export function signaturesOf(name: string, style: 'global' | 'member'): readonly Signature[] {
  const table = style === 'global' ? globalTable : memberTable;
  if (!Object.hasOwn(table, name)) return [];
  const key = `${style} ${name}`;
  let found = read.get(key);
  if (found === undefined) {
    found = table[name]!.map(readSignature);
    read.set(key, found);
  }
  return found;
}

/** Names of functions, without operators: for suggestions and documentation. */
export function functionNames(style: 'global' | 'member'): readonly string[] {
  return Object.keys(style === 'global' ? globalTable : memberTable).filter((name) => /^[a-z]/.test(name));
}
