/** What an expression may measure. Everything recursive here relies on `maxDepth`. */
export interface ExpressionLimits {
  /** Longest text, in UTF-16 units. */
  readonly maxTextLength: number;
  /** Deepest nesting of brackets, operators and selections. */
  readonly maxDepth: number;
  /** Most nodes. */
  readonly maxNodes: number;
}

/** Generous for people, harmless for the stack: cel-go allows a depth of 250 too. */
export const defaultLimits: ExpressionLimits = { maxTextLength: 32_768, maxDepth: 250, maxNodes: 8_192 };
