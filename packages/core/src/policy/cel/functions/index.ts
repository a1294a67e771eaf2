import { conversionFunctions } from './conversions.ts';
import { encoderFunctions } from './encoders.ts';
import { listFunctions } from './lists.ts';
import { mathFunctions } from './math.ts';
import { optionalFunctions } from './optionals.ts';
import { stringFunctions } from './strings.ts';
import type { FunctionTable } from './table.ts';
import { timeFunctions } from './time.ts';

const tables: readonly FunctionTable[] = [
  conversionFunctions,
  encoderFunctions,
  listFunctions,
  mathFunctions,
  optionalFunctions,
  stringFunctions,
  timeFunctions,
];

function merge<K extends keyof FunctionTable>(arity: K): ReadonlyMap<string, NonNullable<FunctionTable[K]>[string]> {
  return new Map(tables.flatMap((table) => Object.entries(table[arity] ?? {}))) as ReadonlyMap<
    string,
    NonNullable<FunctionTable[K]>[string]
  >;
}

/** All functions, by number of arguments; see `FunctionTable`. */
export const unaryFunctions = merge('unary');
export const binaryFunctions = merge('binary');
export const ternaryFunctions = merge('ternary');
export const variadicFunctions = merge('variadic');
