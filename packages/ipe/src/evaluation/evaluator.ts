import { IpeError } from '@ipe/core';
import type { Primitives } from '@ipe/core/bytes';
import {
  decide,
  type Explanation,
  ExplanationCollector,
  type Facts,
  type Finding,
  makeReceipt,
  type Outcome,
  type PolicyFault,
  type Receipt,
  type ReceiptKind,
  type ReceiptSigner,
} from '@ipe/core/eval';
import type { Decision, EvaluationRequest } from '@ipe/core/policy';
import type { PolicySnapshot } from '@ipe/core/tree';
import { nearestPath } from '../control/lookup.ts';
import type { PolicyReader, Scope } from './policy-reader.ts';

/** One question to one root, with everything it is asked against. */
export interface Question {
  readonly snapshot: PolicySnapshot;
  readonly path: string;
  readonly request: EvaluationRequest;
  readonly facts: Facts;
  /** Unix seconds. */
  readonly now: number;
  readonly receipt: ReceiptKind;
  /** Whether the answer tells how every expression came out; at most `explainedMax` policies are. */
  readonly explain?: boolean;
}

/** A decision as the wire has it. */
export interface Answer {
  readonly decision: Decision;
  readonly reasons: readonly Finding[];
  readonly warnings: readonly Finding[];
  readonly errors: readonly PolicyFault[];
  readonly receipt: Receipt | null;
  readonly explain?: Explanation;
}

/** Policies of one request that are explained, at most. */
export const explainedMax = 100;

/** What the node's logs and metrics are told of every decision. */
export interface DecisionRecord {
  readonly path: string;
  readonly root: string;
  readonly request: EvaluationRequest;
  readonly outcome: Outcome;
  /** The receipt that the caller got, if any. */
  readonly receipt: Receipt | null;
  /** A plain receipt, made when asked for. */
  readonly describe: () => Receipt;
}

export interface EvaluatorOptions {
  readonly reader: PolicyReader;
  readonly primitives: Primitives;
  readonly policyStepsMax: number;
  readonly newId: () => string;
  readonly engine: string;
  readonly instance: string;
  /** Absent: `signed` receipts are refused. */
  readonly signer?: ReceiptSigner;
  readonly onDecision?: (record: DecisionRecord) => void;
}

/** Answers questions; at once when policies and facts are in memory, else as a promise. */
export class Evaluator {
  readonly #options: EvaluatorOptions;

  constructor(options: EvaluatorOptions) {
    this.#options = options;
  }

  /**
   * @throws IpeError `not_found` with the nearest path where nothing stands at the path; `evaluation_error` for a signed
   * receipt without a key; `corrupt`, `unavailable`
   */
  answer(question: Question): Answer | Promise<Answer> {
    if (question.receipt === 'signed' && this.#options.signer === undefined)
      throw new IpeError(
        'evaluation_error',
        'this instance has no key to sign receipts with; ask for `plain` or `full`',
      );
    const scope = this.#options.reader.resolve(question.snapshot, question.path, question.request);
    if (scope instanceof Promise) return scope.then((found) => this.#decide(question, found));
    return this.#decide(question, scope);
  }

  /** Like `answer`, but undefined where nothing stands at the path. */
  answerIfThere(question: Question): Answer | undefined | Promise<Answer | undefined> {
    const scope = this.#options.reader.resolve(question.snapshot, question.path, question.request);
    if (scope instanceof Promise)
      return scope.then((found) => (found === undefined ? undefined : this.#decide(question, found)));
    return scope === undefined ? undefined : this.#decide(question, scope);
  }

  #decide(question: Question, scope: Scope | undefined): Answer | Promise<Answer> {
    if (scope === undefined) return noSuchPath(question.snapshot, question.path);
    if (question.explain === true) return this.#explain(question, scope);
    const { request, facts, now } = question;
    const outcome = decide({
      policies: scope.policies,
      request,
      facts,
      now,
      policyStepsMax: this.#options.policyStepsMax,
    });
    if (outcome instanceof Promise) return outcome.then((made) => this.#finish(question, scope, made));
    return this.#finish(question, scope, outcome);
  }

  async #explain(question: Question, scope: Scope): Promise<Answer> {
    const { snapshot, request, facts, now } = question;
    if (scope.policies.length > explainedMax)
      throw new IpeError(
        'too_large',
        `${scope.policies.length} policies can apply to the request, at most ${explainedMax} are explained; ask one of them`,
        { details: { field: 'explain', max_policies: explainedMax } },
      );
    const policies = await this.#options.reader.observed(snapshot, scope.policies);
    const observer = new ExplanationCollector();
    const outcome = await decide({
      policies,
      request,
      facts,
      now,
      policyStepsMax: this.#options.policyStepsMax,
      observer,
    });
    return { ...this.#finish(question, scope, outcome), explain: observer.explain(policies, outcome) };
  }

  #finish(question: Question, scope: Scope, outcome: Outcome): Answer {
    const { receipt: kind } = question;
    const receipt = kind === 'none' ? null : this.#receipt(question, scope, outcome, kind);
    const { path, request, snapshot } = question;
    const describe = () => this.#receipt(question, scope, outcome, 'plain');
    this.#options.onDecision?.({ path, root: snapshot.root, request, outcome, receipt, describe });
    const { decision, reasons, warnings, errors } = outcome;
    return { decision, reasons, warnings, errors, receipt };
  }

  #receipt(
    { path, request, snapshot }: Question,
    scope: Scope,
    outcome: Outcome,
    kind: Exclude<ReceiptKind, 'none'>,
  ): Receipt {
    const { primitives, newId, engine, instance, signer } = this.#options;
    const { root, commit } = snapshot;
    return makeReceipt(
      {
        kind,
        id: newId(),
        path,
        root,
        commit,
        scope: { kind: scope.kind, id: scope.id },
        request,
        outcome,
        engine,
        instance,
        ...(signer === undefined ? {} : { signer }),
      },
      primitives,
    );
  }
}

async function noSuchPath(snapshot: PolicySnapshot, path: string): Promise<never> {
  const near = await nearestPath(snapshot, path);
  const hint = near === undefined ? '' : `; did you mean \`${near}\`?`;
  throw new IpeError('not_found', `no policy or directory at \`${path}\`${hint}`, {
    details: { path, ...(near === undefined ? {} : { nearest: near }) },
  });
}
