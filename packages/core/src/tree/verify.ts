import { fromHex, toHex } from '../bytes/index.ts';
import { IpeError, isIpeError } from '../errors.ts';
import { decodeCommit, IdSet, isObjectId } from '../git/index.ts';
import type { KvOperation } from '../store/index.ts';
import { versionOf } from './commits.ts';
import { rebuildRows, walkDirectories } from './load-index.ts';
import { walkReachable } from './reach.ts';
import { decodeDeletedRow, decodeIndexTag, decodePolicyRow, fromAscii, metadataKeys } from './rows.ts';
import { emptyHead, mainRef, type StoreState } from './state.ts';
import {
  emptyRoot,
  type ObjectId,
  type PolicyFamily,
  type ScrubSlice,
  type VerifyLevel,
  type VerifyOptions,
  type VerifyProblem,
  type VerifyReport,
} from './types.ts';

const listedProblems = 1000;

class Findings {
  count = 0;
  readonly problems: VerifyProblem[] = [];

  add(kind: VerifyProblem['kind'], subject: string, message: string): void {
    this.count++;
    if (this.problems.length < listedProblems) this.problems.push({ kind, subject, message });
  }

  addError(id: ObjectId, error: IpeError): void {
    this.add(error.details['problem'] === 'missing' ? 'missing' : 'damaged', id, error.message);
  }
}

/**
 * Checks a store at one of three levels. Reads around the caches and changes nothing.
 *
 * An update may go on meanwhile: what it adds is checked or not, and is never taken for damage.
 */
export async function verifyStore(state: StoreState, options: VerifyOptions): Promise<VerifyReport> {
  const level = options.level ?? 'full';
  if (!['quick', 'connectivity', 'full'].includes(level)) {
    throw new IpeError('invalid_params', `level \`${level}\` is none of \`quick\`, \`connectivity\`, \`full\``);
  }
  state.objects.forget();
  state.records.forget();
  const findings = new Findings();
  const head = state.heads.get(mainRef) ?? emptyHead;
  const reached = new IdSet();
  let unreachableObjects: number | undefined;
  await checkRefs(state, findings, reached);
  if (level !== 'quick') {
    await checkReachable(state, level, findings, reached, options);
    if (level === 'full') {
      unreachableObjects = await checkAll(state, findings, reached, options);
      await checkIndex(state, findings);
    }
  }
  return {
    level,
    root: head.root,
    commit: head.commit,
    checkedObjects: reached.size + (unreachableObjects ?? 0),
    ...(unreachableObjects === undefined ? {} : { unreachableObjects }),
    problemCount: findings.count,
    problems: findings.problems,
  };
}

async function checkRefs(state: StoreState, findings: Findings, reached: IdSet): Promise<void> {
  for (const head of state.heads.values()) {
    if (head.commit === null) continue;
    try {
      const { tree } = await state.records.commit(head.commit);
      if (head.damage === undefined && tree !== head.root) {
        findings.add('ref', head.name, `\`${head.name}\` serves \`${head.root}\`, and its commit has \`${tree}\``);
      }
      if (tree !== emptyRoot) await state.objects.read(tree, 'tree');
    } catch (error) {
      if (!isIpeError(error)) throw error;
      const id = String(error.details['object'] ?? head.commit);
      if (!isObjectId(id)) findings.add('ref', head.name, error.message);
      else if (reached.add(id)) findings.addError(id, error);
    }
  }
  const tag = decodeIndexTag(await state.kv.get('metadata', metadataKeys.index));
  const commit = state.loaded?.commit ?? null;
  if (commit !== null && tag?.commit !== commit && commit === state.heads.get(mainRef)?.commit) {
    findings.add(
      'index',
      'path_index',
      'the path index on disk belongs to another root; it is rebuilt at the next start',
    );
  }
}

/** Follows everything from refs and version chains. */
async function checkReachable(
  state: StoreState,
  level: VerifyLevel,
  findings: Findings,
  reached: IdSet,
  options: VerifyOptions,
): Promise<void> {
  const shallow = new Set<ObjectId>();
  for await (const [key] of state.kv.entries('metadata', {
    gte: metadataKeys.shallow(''),
    lt: metadataKeys.shallow('g'),
  })) {
    shallow.add(fromAscii(key).slice('shallow/'.length));
  }
  const starts: ObjectId[] = [];
  for (const { commit, damage } of state.heads.values())
    if (commit !== null && damage === undefined) starts.push(commit);
  for await (const [key, value] of state.kv.entries('path_index')) {
    const text = fromAscii(key);
    const path = text.slice(1);
    const row =
      text[0] === 'p' ? decodePolicyRow(path, value) : text[0] === 'x' ? decodeDeletedRow(path, value) : undefined;
    if (row !== undefined) starts.push(row.version);
  }
  const blobs: ObjectId[] = [];
  await walkReachable(state, starts, reached, {
    parents: (id) => !shallow.has(id),
    readBlobs: level === 'full',
    damaged: (id, _, error) => findings.addError(id, error),
    visit: (id, type) => {
      if (type === 'blob' && level === 'connectivity') blobs.push(id);
    },
    breathe: async () => {
      options.progress?.({ checked: reached.size });
      await state.breathe();
    },
  });
  for (const id of await state.objects.missing(blobs)) findings.add('missing', id, `object \`${id}\` is missing`);
}

/** Rehashes what no ref reaches. @returns how many such objects there are */
async function checkAll(
  state: StoreState,
  findings: Findings,
  reached: IdSet,
  options: VerifyOptions,
): Promise<number> {
  let unreachable = 0;
  let looked = 0;
  for await (const [key, stored] of state.kv.entries('objects')) {
    if (++looked % 256 === 0) await state.breathe();
    if (key.length === 32 && reached.hasBytes(key)) continue;
    unreachable++;
    const problem = checkStored(state, key, stored);
    if (problem !== undefined) findings.add(problem.kind, problem.subject, problem.message);
    options.progress?.({ checked: reached.size + unreachable });
  }
  return unreachable;
}

function checkStored(state: StoreState, key: Uint8Array, stored: Uint8Array): VerifyProblem | undefined {
  const id = toHex(key);
  if (key.length !== 32) return { kind: 'damaged', subject: id, message: `\`${id}\` is not the key of an object` };
  try {
    state.objects.decode(id, stored);
    return undefined;
  } catch (error) {
    if (!isIpeError(error)) throw error;
    return { kind: 'damaged', subject: id, message: error.message };
  }
}

/** Builds the index from trees and history, and compares it with the rows; and each version with its policy. */
async function checkIndex(state: StoreState, findings: Findings): Promise<void> {
  const head = state.heads.get(mainRef) ?? emptyHead;
  if (head.commit === null || head.damage !== undefined) return;
  try {
    const tree = await walkDirectories(state, head.root);
    if (tree.damages.size > 0) return;
    const { operations } = await rebuildRows(state, head, tree);
    if (state.loaded?.commit !== head.commit) return;
    await compareRows(state, operations, findings);
    for (const info of state.loaded.policies()) {
      const commit = await state.objects.find(info.version);
      if (commit?.type !== 'commit') continue;
      const version = decodeCommit(state.primitives, commit.body);
      if (version.tree === info.hash && versionOf(version)?.path === info.path) continue;
      findings.add('chain', info.path, `version \`${info.version}\` is not one of \`${info.path}\` at its content`);
    }
  } catch (error) {
    // Damaged objects are listed already; without them there is nothing to compare with.
    if (!isIpeError(error)) throw error;
    if (error.reason !== 'corrupt') findings.add('record', 'history', error.message);
  }
}

async function compareRows(
  state: StoreState,
  operations: readonly KvOperation<PolicyFamily>[],
  findings: Findings,
): Promise<void> {
  const expected = new Map<string, KvOperation<PolicyFamily>>();
  for (const operation of operations) expected.set(`${operation.family}/${fromAscii(operation.key)}`, operation);
  for (const operation of expected.values()) {
    const row = await state.kv.get(operation.family, operation.key);
    const value = operation.type === 'put' ? operation.value : undefined;
    if (row === undefined ? value === undefined : value !== undefined && toHex(row) === toHex(value)) continue;
    const subject = fromAscii(operation.key);
    findings.add('index', subject, `row \`${subject}\` of the path index is not what the history says`);
  }
}

/** Rehashes some objects in id order. */
export async function scrubSlice(state: StoreState, cursor: string | undefined, objects: number): Promise<ScrubSlice> {
  if (cursor !== undefined && !isObjectId(cursor)) throw new IpeError('invalid_params', 'no cursor of a scrub');
  const problems: VerifyProblem[] = [];
  let checkedObjects = 0;
  let last: string | undefined;
  const range = cursor === undefined ? { limit: objects } : { gt: fromHex(cursor), limit: objects };
  for await (const [key, stored] of state.kv.entries('objects', range)) {
    const problem = checkStored(state, key, stored);
    if (problem !== undefined) problems.push(problem);
    last = toHex(key);
    if (++checkedObjects % 64 === 0) await state.breathe();
  }
  return checkedObjects === objects && last !== undefined
    ? { checkedObjects, problems, cursor: last }
    : { checkedObjects, problems };
}
