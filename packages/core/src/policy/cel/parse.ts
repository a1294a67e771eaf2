import { parse } from '@bufbuild/cel';
import type { Expression, Problem, ProblemCode } from './ast.ts';
import { ConversionError, convert } from './convert.ts';
import { type Lexed, lex } from './lexer.ts';
import { defaultLimits, type ExpressionLimits } from './limits.ts';
import { SpanFinder, spanIn } from './spans.ts';
import { explainSyntaxError, findOverlooked, type SyntaxFault } from './syntax-error.ts';

export type ParseResult =
  | { readonly ok: true; readonly expression: Expression }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/**
 * Parses CEL text into a numbered tree with spans. Never throws: hostile text gives a problem, not a full stack.
 *
 * The grammar is `@bufbuild/cel`'s. Before it runs, size and nesting are checked on the tokens, comments are blanked, and
 * the marks it does not know (`a.?b`, `a[?b]`, `[?a]`, `{?a: b}`, backticks) are replaced by text of equal length, to be
 * put back by offset afterwards.
 *
 * @example
 * const parsed = parseExpression('resource.id in data.approvals');
 * if (!parsed.ok) throw new Error(parsed.problems[0].message);
 * Source: cel-spec, langdef.md, "Syntax" and "Macros".
 */
export function parseExpression(text: string, limits: ExpressionLimits = defaultLimits): ParseResult {
  if (limits !== defaultLimits || text.length > rememberedLength) return parseNow(text, limits);
  const held = remembered.get(text);
  if (held !== undefined) return held;
  const result = parseNow(text, limits);
  if (remembered.size >= rememberedMax) remembered.delete(remembered.keys().next().value!);
  remembered.set(text, result);
  return result;
}

/**
 * Results by text, oldest first. Parsing is the slow step (0.1 to 0.3 ms) and policies repeat themselves: the same text
 * is parsed when a policy is written, tested, received and explained. Results are immutable and depend on nothing else.
 */
const remembered = new Map<string, ParseResult>();
const rememberedMax = 1_000;
const rememberedLength = 500;

function parseNow(text: string, limits: ExpressionLimits): ParseResult {
  const refuse = (code: ProblemCode, message: string, offset = 0, length = 0): ParseResult => ({
    ok: false,
    problems: [{ code, message, span: spanIn(text, offset, length), nodeId: 0, nearest: null }],
  });
  if (text.length > limits.maxTextLength) {
    return refuse(
      'too_large',
      `the expression has ${text.length} characters; at most ${limits.maxTextLength} are allowed`,
    );
  }
  const lone = /\p{Surrogate}/u.exec(text);
  if (lone !== null) return refuse('syntax', 'half of a surrogate pair is not a character', lone.index, 1);
  const lexed = lex(text);
  const deep = firstTooDeep(text, lexed, limits.maxDepth);
  if (deep !== -1) return refuse('too_deep', `nested deeper than ${limits.maxDepth} levels; use variables`, deep, 1);
  const overlooked = findOverlooked(text, lexed.tokens);
  if (overlooked !== null) return refuse('syntax', overlooked.message, overlooked.offset, overlooked.length);

  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(plainText(text, lexed));
  } catch (error) {
    if (error instanceof RangeError && /stack/.test(error.message)) {
      return refuse('too_deep', 'nested too deep to be parsed; use variables');
    }
    const found = explainSyntaxError(text, lexed.tokens, parserSaid(error));
    return refuse('syntax', found.message, found.offset, found.length);
  }
  try {
    return { ok: true, expression: convert(parsed, text, lexed.tokens, limits) };
  } catch (error) {
    if (!(error instanceof ConversionError)) throw error;
    const finder = new SpanFinder(text, lexed.tokens);
    const token = lexed.tokens[finder.tokenAt(error.offset)];
    return refuse(error.code, error.message, error.offset, token === undefined ? 0 : token.end - token.start);
  }
}

/** Offset of the token that nests too deep, or -1: brackets, and conditionals within one bracket. */
function firstTooDeep(text: string, { tokens }: Lexed, maxDepth: number): number {
  const conditionals = [0];
  for (const token of tokens) {
    if (token.kind !== 'punctuation') continue;
    const char = text[token.start]!;
    if ('([{'.includes(char)) conditionals.push(0);
    else if (')]}'.includes(char) && conditionals.length > 1) conditionals.pop();
    else if (char === '?') conditionals[conditionals.length - 1]! += 1;
    if (conditionals.length > maxDepth || conditionals.at(-1)! > maxDepth) return token.start;
  }
  return -1;
}

/** The text with everything the parser library does not know blanked or replaced, at the same offsets. */
function plainText(text: string, { tokens, comments }: Lexed): string {
  const edits = comments.map(({ start, end }) => ({ start, end, by: ' '.repeat(end - start) }));
  for (const { kind, start, end } of tokens) {
    if (kind === 'optional-mark') edits.push({ start, end, by: ' ' });
    if (kind === 'quoted-name') edits.push({ start, end, by: '_'.repeat(end - start) });
  }
  edits.sort((a, b) => a.start - b.start);
  let plain = '';
  let at = 0;
  for (const { start, end, by } of edits) {
    plain += text.slice(at, start) + by;
    at = end;
  }
  return plain + text.slice(at);
}

/** The parser's own words; its error classes are not exported, so they are known by their fields. */
function parserSaid(error: unknown): SyntaxFault {
  const { location, rawMessage, found, message } = error as {
    location?: { start: { offset: number }; end: { offset: number } };
    rawMessage?: string;
    found?: string | null;
    message?: string;
  };
  const offset = location?.start.offset ?? 0;
  const length = Math.max((location?.end.offset ?? offset) - offset, 0);
  const said =
    found === undefined || found === null ? (rawMessage ?? message ?? 'syntax error') : `unexpected \`${found}\``;
  return { offset, length, message: said };
}
