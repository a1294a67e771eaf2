/** A test of the conformance suite that does not pass, and why. One that passes after all fails the suite's run. */
export interface Skip {
  /** Beginning of the test's id, `suite/section/name`. */
  readonly test: string;
  readonly category: 'optimizer' | 'time-zones';
  readonly reason: string;
}

export const skips: readonly Skip[] = [
  {
    test: 'block_ext/',
    category: 'optimizer',
    reason: '`cel.block` is what optimizers emit, not what people write; IPE plans common parts itself',
  },
  ...['getDate', 'getDayOfMonth_name_pos', 'getDayOfMonth_name_neg', 'getDayOfYear', 'getMinutes'].map(
    (name): Skip => ({
      test: `timestamps/timestamp_selectors_tz/${name}`,
      category: 'time-zones',
      reason: 'needs a table of named time zones',
    }),
  ),
];

/**
 * Names that exist only where Protocol Buffers messages do. IPE's values are JSON: it has no messages, enums or wrapper
 * types, so tests about them are counted apart and not run.
 */
const messageNames =
  /\b(?:TestAllTypes|NestedTestAllTypes|GlobalEnum|TestRequired|proto[23])\b|google\.protobuf\.(?!Timestamp\b|Duration\b)|google\.api|\b(?:Bool|Bytes|Double|Float|Int32|Int64|List|Null|String|UInt32|UInt64)?Value ?\{|NullValue\.|\b(?:Any|Struct|Empty|FieldMask|Timestamp|Duration) ?\{/;

/** Whether a test's expression is about messages. */
export function needsMessages(expression: string): boolean {
  return messageNames.test(expression);
}
