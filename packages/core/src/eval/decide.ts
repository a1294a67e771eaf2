import { IpeError } from '../errors.ts';
import { type Observer, type PlannedPolicy, Timestamp } from '../policy/index.ts';
import type { EvaluationRequest } from '../policy/request.ts';
import type { Decision } from '../policy/test-document.ts';
import { type FactKey, type Facts, type RecordedLookup, RecordingFacts } from './facts.ts';
import {
  evaluatePolicy,
  type Fault,
  type PolicyOutcome,
  type PolicyVerdict,
  type Violation,
} from './policy-outcome.ts';

/** A policy at a place of the tree. */
export interface PolicyAt {
  readonly path: string;
  /** Id of the policy's tree, named in the receipt. */
  readonly id: string;
  readonly planned: PlannedPolicy;
}

export interface DecideInput {
  /** Every policy that can apply, in path order: all below the directory asked, or the one asked. */
  readonly policies: readonly PolicyAt[];
  readonly request: EvaluationRequest;
  readonly facts: Facts;
  /** Unix seconds, perhaps fractional. */
  readonly now: number;
  /** Steps one policy may take; default 1,000,000. */
  readonly policyStepsMax?: number;
  /** Steps all policies of the request may take together; default 20,000,000. */
  readonly requestStepsMax?: number;
  /** Is told the value of every sub-expression, when the policies are planned for it. */
  readonly observer?: Observer;
}

/** Something a policy said, for the caller. */
export interface Finding extends Violation {
  readonly path: string;
}

/** An expression that could not be evaluated, whatever came of it. */
export interface PolicyFault extends Fault {
  readonly path: string;
}

export interface AppliedPolicy {
  readonly path: string;
  readonly id: string;
  readonly outcome: Exclude<PolicyVerdict, 'not_applicable'>;
}

/** A decision with everything it rests on. */
export interface Outcome {
  readonly decision: Decision;
  /** Why it is a denial: every validation that did not hold, in path order, then document order. */
  readonly reasons: readonly Finding[];
  /** The same of policies that warn. */
  readonly warnings: readonly Finding[];
  /** The same of policies that audit: for the decision log, not for the caller. */
  readonly audits: readonly Finding[];
  readonly errors: readonly PolicyFault[];
  /** Policies that applied, in path order. */
  readonly applied: readonly AppliedPolicy[];
  /** Every look-up made, in order; a key may stand more than once. */
  readonly lookups: readonly RecordedLookup[];
  /** `staleness_ms` of the namespaces looked at; undefined: not held. */
  readonly stalenessMs: ReadonlyMap<string, number | undefined>;
  readonly now: number;
  /** Passes made: 1 when every fact was hot. */
  readonly passes: number;
}

/** Passes of one decision: each loads at least one new key, so only a chain of look-ups this long can need as many. */
export const passesMax = 64;

const defaultPolicySteps = 1_000_000;
const defaultRequestSteps = 20_000_000;

/**
 * The decision of the given policies: any denial denies; else allow where one applied; else not applicable.
 *
 * Each pass is synchronous. When every fact is hot the outcome is returned at once, else a promise of it: cold facts are
 * loaded in one batch and the pass is repeated, so that the outcome, reads included, does not depend on what was hot.
 *
 * The caller owns `facts` and releases it.
 * @throws IpeError `unavailable` (rejects) when facts stay cold for `passesMax` passes
 */
export function decide(input: DecideInput): Outcome | Promise<Outcome> {
  const result = decideOnce(input, 1);
  return Array.isArray(result) ? decideCold(input, result) : (result as Outcome);
}

async function decideCold(input: DecideInput, firstCold: readonly FactKey[]): Promise<Outcome> {
  let cold = firstCold;
  for (let pass = 2; pass <= passesMax; pass++) {
    await input.facts.load(distinct(cold));
    const result = decideOnce(input, pass);
    if (!Array.isArray(result)) return result as Outcome;
    cold = result as readonly FactKey[];
  }
  const [key] = cold;
  throw new IpeError('unavailable', `fact \`${key!.namespace}.${key!.key}\` could not be read in ${passesMax} passes`, {
    details: { reason: 'facts_cold', key: `${key!.namespace}.${key!.key}` },
  });
}

/** One pass over hot facts: the outcome, or the keys to load before asking again. */
export function decideOnce(input: DecideInput, passes: number): Outcome | readonly FactKey[] {
  const facts = new RecordingFacts(input.facts);
  const now = Timestamp.fromMillis(input.now * 1000);
  const policyStepsMax = input.policyStepsMax ?? defaultPolicySteps;
  let requestSteps = input.requestStepsMax ?? defaultRequestSteps;
  const combined = new Combination();
  for (const at of input.policies) {
    const stepBudget = Math.min(policyStepsMax, requestSteps);
    const { outcome, stepsLeft } = evaluatePolicy({
      policy: at.planned,
      request: input.request,
      now,
      facts,
      stepBudget,
      observer: input.observer ?? null,
    });
    requestSteps -= stepBudget - Math.max(0, stepsLeft);
    combined.add(at, outcome);
  }
  if (facts.cold.length > 0) return facts.cold;
  for (const { namespace } of facts.lookups) if (!facts.staleness.has(namespace)) facts.stalenessMs(namespace);
  return {
    decision: combined.decision,
    reasons: combined.reasons,
    warnings: combined.warnings,
    audits: combined.audits,
    errors: combined.errors,
    applied: combined.applied,
    lookups: facts.lookups,
    stalenessMs: facts.staleness,
    now: input.now,
    passes,
  };
}

/** Deny overrides; what each policy found is kept by what its actions say. */
class Combination {
  decision: Decision = 'not_applicable';
  readonly reasons: Finding[] = [];
  readonly warnings: Finding[] = [];
  readonly audits: Finding[] = [];
  readonly errors: PolicyFault[] = [];
  readonly applied: AppliedPolicy[] = [];

  add({ path, id, planned }: PolicyAt, { verdict, violations, faults }: PolicyOutcome): void {
    for (const fault of faults) this.errors.push({ path, ...fault });
    if (verdict === 'not_applicable') return;
    this.applied.push({ path, id, outcome: verdict });
    if (verdict === 'deny') this.decision = 'deny';
    else if (verdict === 'allow' && this.decision === 'not_applicable') this.decision = 'allow';
    for (const { reason, message } of violations) {
      const finding = { path, reason, message };
      if (planned.denies) this.reasons.push(finding);
      if (planned.warns) this.warnings.push(finding);
      if (planned.audits) this.audits.push(finding);
    }
  }
}

function distinct(keys: readonly FactKey[]): readonly FactKey[] {
  const seen = new Set<string>();
  return keys.filter(({ namespace, key }) => {
    const full = `${namespace}.${key}`;
    if (seen.has(full)) return false;
    seen.add(full);
    return true;
  });
}
