import {
  type Alias,
  Composer,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type ParsedNode,
  Parser,
  type Scalar,
  visit,
  type YAMLError,
  type YAMLMap,
} from 'yaml';
import type { Json } from './json.ts';

import { type Problem, underline } from './problem.ts';
import { scalarMap } from './scalar-map.ts';

/** Any node of a parsed document; `null` where a key has no value at all. */
export type YamlNode = ParsedNode | null;

/** Problems told of one document. */
const problemsMax = 1_000;

/** What a document may be; anything beyond is a problem, found before work is spent on it. */
export const yamlLimits = {
  /** UTF-16 code units of a whole test document, which holds facts too. */
  textLengthMax: 262_144,
  /** UTF-16 code units of a whole policy. */
  policyLengthMax: 65_536,
  /** Collections inside collections. */
  depthMax: 64,
  /** Values after aliases are followed, over the whole document. */
  valuesMax: 50_000,
} as const;

/**
 * The text of a YAML document with its nodes and their places, and the problems found in it so far.
 *
 * Everything that reads a document reports here, so that one reading tells all that is wrong.
 */
export class YamlSource {
  readonly text: string;
  readonly root: YamlNode;
  readonly problems: Problem[] = [];
  readonly #lines: LineCounter;
  readonly #document: Document.Parsed | undefined;
  /** What each alias stands for. Found in one walk, because the library's own `resolve` walks the document for each. */
  readonly #targets = new Map<Alias, ParsedNode>();
  #valuesLeft = yamlLimits.valuesMax as number;

  constructor(text: string, textLengthMax: number = yamlLimits.textLengthMax) {
    this.text = text;
    this.#lines = new LineCounter();
    this.#document = this.#compose(textLengthMax);
    this.root = this.#document?.contents ?? null;
    if (this.wellFormed) this.#walk();
  }

  /** Whether the text is one well-formed YAML document; when not, `root` is not worth reading. */
  get wellFormed(): boolean {
    return this.#document !== undefined && this.#document.errors.length === 0;
  }

  #compose(textLengthMax: number): Document.Parsed | undefined {
    const { length } = this.text;
    if (length > textLengthMax) {
      this.report('too_large', `the document has ${length} characters, more than ${textLengthMax}`, 0, 1);
      return undefined;
    }
    this.#lines.addNewLine(0);
    const parser = new Parser(this.#lines.addNewLine);
    // Schema `core` has no dates, binaries or merge keys: what a value is can be seen from the text. The library compares
    // each key of a mapping with each other; `#walk` does it in one pass.
    const composer = new Composer({ schema: 'core', uniqueKeys: false, strict: true, prettyErrors: false });
    const documents: Document[] = [];
    for (const lexeme of new Lexer().lex(this.text)) {
      for (const token of parser.next(lexeme)) documents.push(...composer.next(token));
      // What is open now, the document itself included: nothing deeper is ever composed, so recursion over it is safe.
      if (parser.stack.length > yamlLimits.depthMax + 2) {
        const at = parser.offset;
        this.report('too_deep', `collections are nested deeper than ${yamlLimits.depthMax} levels`, at, at + 1);
        return undefined;
      }
      if (documents.length > 1) break;
    }
    for (const token of parser.end()) documents.push(...composer.next(token));
    documents.push(...composer.end(true, length));
    this.#reportYaml(documents.flatMap((document) => [...document.errors, ...document.warnings]));
    const [first, second] = documents;
    if (second !== undefined) {
      const at = second.range?.[0] ?? 0;
      this.report('yaml_syntax', 'expected one YAML document in the file, got a second one', at, at + 3);
    }
    return first as Document.Parsed | undefined;
  }

  /** One slip of syntax makes the parser stumble on; the first error of a line is the one to tell. */
  #reportYaml(errors: readonly YAMLError[]): void {
    const lines = new Set<number>();
    for (const error of errors) {
      const [start, end] = error.pos;
      const { line } = this.place(start, end);
      if (lines.has(line)) continue;
      lines.add(line);
      const hint = hintFor(error, lineAround(this.text, start));
      this.report('yaml_syntax', lowerFirst(error.message), start, Math.max(end, start + 1), hint);
    }
  }

  /** Reports a problem at offsets `[start, end)` of the document. */
  report(
    code: string,
    message: string,
    start: number,
    end: number,
    hint?: string,
    severity: Problem['severity'] = 'error',
  ): void {
    this.#add({ severity, code, message, ...this.place(start, end), ...(hint === undefined ? {} : { hint }) });
  }

  /** What is told beyond this would not be read, and telling it costs. */
  #add(problem: Problem): void {
    if (this.problems.length < problemsMax) this.problems.push(problem);
  }

  /** Reports a problem at a node: the first line it covers. */
  reportAt(
    node: YamlNode,
    code: string,
    message: string,
    hint?: string,
    severity: Problem['severity'] = 'error',
  ): void {
    const [start, end] = node?.range ?? [0, 1];
    this.report(code, message, start, end, hint, severity);
  }

  /** Line and columns of offsets `[start, end)`; a range over several lines is cut at the end of the first. */
  place(start: number, end: number): { line: number; column: number; endColumn: number } {
    const at = Math.min(start, this.text.length);
    const { line, col } = this.#lines.linePos(at);
    const width = Math.max(1, Math.min(end, this.#lineEnd(line)) - at);
    const column = Math.max(1, col);
    return { line: Math.max(1, line), column, endColumn: column + width };
  }

  /** Offset at which a line (from 1) ends, before its line break. */
  #lineEnd(line: number): number {
    const next = this.#lines.lineStarts[line];
    if (next === undefined) return this.text.length;
    return this.text[next - 2] === '\r' ? next - 2 : next - 1;
  }

  /**
   * Reports a problem at `[start, end)` of an expression that stands in a scalar of this document: the place is that
   * of the characters in the file, the underline that in the expression.
   */
  reportInside(
    node: Scalar,
    start: number,
    end: number,
    problem: Pick<Problem, 'severity' | 'code' | 'message' | 'hint'>,
  ): void {
    const expression = String(node.value);
    const from = Math.max(0, Math.min(start, expression.length));
    const to = Math.max(from, Math.min(end, expression.length));
    const map = scalarMap(node, this.text);
    const place = this.place(map[from] ?? 0, Math.max(map[to] ?? 0, (map[from] ?? 0) + 1));
    const lineStart = expression.lastIndexOf('\n', from - 1) + 1;
    const feed = expression.indexOf('\n', from);
    const lineEnd = feed < 0 ? expression.length : feed;
    const line = expression.slice(lineStart, lineEnd);
    this.#add({
      ...problem,
      ...place,
      expression: line,
      underline: underline(line, from - lineStart, Math.min(to, lineEnd) - lineStart),
    });
  }

  /** Finds what aliases stand for, and fields that stand twice. */
  #walk(): void {
    const anchors = new Map<string, ParsedNode>();
    const note = (_key: unknown, node: { anchor?: string | undefined }) => {
      if (node.anchor !== undefined) anchors.set(node.anchor, node as ParsedNode);
    };
    visit(this.#document!, {
      Scalar: note,
      Seq: note,
      Map: (key, map) => {
        note(key, map);
        this.#reportDuplicates(map as YAMLMap);
      },
      Alias: (_key, alias) => {
        const target = anchors.get(alias.source);
        if (target !== undefined) this.#targets.set(alias, target);
        else this.reportAt(alias as YamlNode, 'yaml_syntax', `no anchor \`&${alias.source}\` stands above this alias`);
      },
    });
  }

  #reportDuplicates(map: YAMLMap): void {
    const seen = new Set<unknown>();
    for (const { key } of map.items) {
      if (!isScalar(key)) continue;
      if (seen.has(key.value))
        this.reportAt(key as YamlNode, 'duplicate_field', 'this field stands twice in the same mapping');
      seen.add(key.value);
    }
  }

  /** The node that an alias stands for; any other node as it is. */
  follow(node: YamlNode): YamlNode {
    return isAlias(node) ? (this.#targets.get(node) ?? null) : node;
  }

  /** The JSON value of a node. What JSON cannot say is reported, and undefined returned. */
  json(node: YamlNode, depth = 0): Json | undefined {
    if (--this.#valuesLeft < 0) {
      if (this.#valuesLeft === -1)
        this.reportAt(
          node,
          'too_large',
          `with its aliases followed the document has more than ${yamlLimits.valuesMax} values`,
        );
      return undefined;
    }
    if (depth > yamlLimits.depthMax) {
      this.reportAt(node, 'too_deep', `aliases nest values deeper than ${yamlLimits.depthMax} levels`);
      return undefined;
    }
    const target = this.follow(node);
    if (target === null) return null;
    if (isScalar(target)) return this.#scalarJson(target);
    if (isSeq(target)) return this.#listJson(target.items as YamlNode[], depth);
    if (isMap(target)) return this.#mapJson(target.items as { key: YamlNode; value: YamlNode }[], depth);
    return undefined;
  }

  #scalarJson(node: Scalar.Parsed): Json | undefined {
    const value = node.value as unknown;
    if (typeof value === 'number' && !Number.isFinite(value)) {
      this.reportAt(node, 'wrong_type', `expected a JSON number, got \`${node.source}\``);
      return undefined;
    }
    if (typeof value === 'number' && /^[-+]?\d+$/.test(node.source) && !Number.isSafeInteger(value)) {
      const hint = 'numbers are doubles; put an id in quotes';
      this.reportAt(node, 'wrong_value', `\`${node.source}\` is no whole number that a double holds exactly`, hint);
      return undefined;
    }
    if (typeof value === 'string' && /\p{Surrogate}/u.test(value)) {
      this.reportAt(node, 'wrong_type', 'expected well-formed Unicode text, got a lone surrogate');
      return undefined;
    }
    return value as Json;
  }

  #listJson(items: readonly YamlNode[], depth: number): Json {
    const list: Json[] = [];
    for (const item of items) {
      if (this.#valuesLeft < 0) break;
      const value = this.json(item, depth + 1);
      if (value !== undefined) list.push(value);
    }
    return list;
  }

  #mapJson(pairs: readonly { key: YamlNode; value: YamlNode }[], depth: number): Json {
    const entries: [string, Json][] = [];
    for (const { key, value } of pairs) {
      if (this.#valuesLeft < 0) break;
      const name = this.keyText(key);
      const member = this.json(value, depth + 1);
      if (name !== undefined && member !== undefined) entries.push([name, member]);
    }
    return Object.fromEntries(entries);
  }

  /** A mapping key as text; keys that are not plain text are reported. */
  keyText(key: YamlNode): string | undefined {
    const node = this.follow(key);
    if (isScalar(node) && typeof node.value === 'string') return node.value;
    this.reportAt(
      key,
      'wrong_type',
      `expected a text key, got ${describe(node)}`,
      isScalar(node) ? 'put it in quotes' : undefined,
    );
    return undefined;
  }
}

/** What a node is, in words for "expected …, got …". */
export function describe(node: YamlNode): string {
  if (node === null) return 'nothing';
  if (isMap(node)) return 'a mapping';
  if (isSeq(node)) return 'a list';
  if (isAlias(node)) return 'an alias';
  const value: unknown = node.value;
  if (value === null) return node.source === '' ? 'nothing' : 'null';
  if (typeof value === 'string') return 'text';
  return typeof value === 'number' ? `the number \`${node.source}\`` : `the boolean \`${node.source}\``;
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1).replace(/\.$/, '');
}

function lineAround(text: string, offset: number): string {
  const start = text.lastIndexOf('\n', offset - 1) + 1;
  const feed = text.indexOf('\n', offset);
  return text.slice(start, feed < 0 ? text.length : feed);
}

/** The usual cause of a YAML error on the line of an expression: CEL's own `: `, `#`, quotes or brackets. */
function hintFor(error: YAMLError, line: string): string | undefined {
  if (error.code === 'TAB_AS_INDENT') return 'indent with spaces';
  if (/[-{,\s]\s*(?:expression|messageExpression):\s*[^|>\s'"]/.test(line))
    return 'put the expression in quotes, or below `expression: |`';
  return undefined;
}
