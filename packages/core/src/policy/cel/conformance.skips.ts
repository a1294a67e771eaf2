/** A test of the conformance suite that does not pass, and why. One that passes after all fails the suite's run. */
export interface Skip {
  /** Beginning of the test's id, `suite/section/name`. */
  readonly test: string;
  readonly category: 'optimizer' | 'custom-functions' | 'nullable';
  readonly reason: string;
}

export const skips: readonly Skip[] = [
  {
    test: 'block_ext/',
    category: 'optimizer',
    reason: '`cel.block` is what optimizers emit, not what people write; IPE plans common parts itself',
  },
  ...['functions/function_result_type', 'type_parameters/multiple_parameters'].map(
    (name): Skip => ({
      test: `type_deductions/${name}`,
      category: 'custom-functions',
      reason:
        'declares a function of its own; the functions of policies are fixed, so that a root means the same anywhere',
    }),
  ),
  {
    test: 'type_deductions/legacy_nullable_types/null_assignable_to_abstract_parameter_candidate',
    category: 'nullable',
    reason: 'cel-go takes null for an empty optional; here null is a value of its own type only',
  },
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
