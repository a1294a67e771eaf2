import type { AccessRequest, Decision } from '@ipe/client/protocol';
import { IpeError, nearest } from '@ipe/core';
import { decideOnce, ExplanationCollector, factsFromMap, type ObservedPolicyAt, type Outcome } from '@ipe/core/eval';
import { readRequest } from '@ipe/core/policy';
import { parse } from 'yaml';
import type { Cli } from './cli.ts';
import { readPolicies } from './offline.ts';

/**
 * Decides from a folder of policies and a file of facts, without a node.
 *
 * @param facts YAML or JSON: full keys to values, as in the `data` of tests; absent: no facts
 * @throws IpeError `policy_invalid` where a policy asked does not compile, `not_found` naming the nearest path,
 *   `evaluation_error` where the request is none
 */
export async function decideLocally(
  cli: Cli,
  question: {
    readonly folder: string;
    readonly facts?: string;
    readonly path: string;
    readonly request: AccessRequest;
    readonly now?: number;
    readonly explain?: boolean;
  },
): Promise<Decision> {
  const { path } = question;
  const local = await readPolicies(cli, question.folder, question.explain);
  const errors = local.problems.filter(({ severity }) => severity === 'error');
  if (errors.length > 0)
    throw new IpeError('policy_invalid', `\`${question.folder}\` has errors`, { details: { problems: errors } });
  const policies = local.below(path);
  if (policies === undefined) {
    const close = nearest(path, knownPaths(local.policies.map((policy) => policy.path)));
    throw new IpeError(
      'not_found',
      `no policy or directory at \`${path}\`${close === undefined ? '' : `; did you mean \`${close}\`?`}`,
    );
  }
  const read = readRequest(question.request as never);
  if (!read.ok) throw new IpeError('evaluation_error', `the request cannot be evaluated: ${read.problem.message}`);
  const facts = factsFromMap(
    new Map(Object.entries(question.facts === undefined ? {} : await readFacts(cli, question.facts))),
  );
  const now = question.now ?? cli.io.now() / 1000;
  const collector = question.explain ? new ExplanationCollector() : undefined;
  const observer = collector === undefined ? {} : { observer: collector };
  const outcome = decideOnce({ policies, request: read.request, facts, now, ...observer }, 1) as Outcome; // facts from a map are never cold
  const { decision, reasons, warnings } = outcome;
  return {
    decision,
    reasons,
    warnings,
    errors: outcome.errors.map((fault) => ({ ...fault })),
    receipt: null,
    ...(collector === undefined
      ? {}
      : { explain: collector.explain(policies as readonly ObservedPolicyAt[], outcome) }),
  };
}

async function readFacts(cli: Cli, file: string): Promise<Record<string, unknown>> {
  const facts: unknown = parse(await cli.readInput(file));
  if (facts === null) return {};
  if (typeof facts !== 'object' || Array.isArray(facts))
    throw new IpeError(
      'invalid_params',
      `\`${file}\` must map keys to facts, such as \`approvals.d1: {approvers: []}\``,
    );
  return facts as Record<string, unknown>;
}

/** Policies and the directories above them. */
function knownPaths(policies: readonly string[]): Set<string> {
  const all = new Set<string>();
  for (const path of policies) {
    const segments = path.split('.');
    for (let length = 1; length <= segments.length; length++) all.add(segments.slice(0, length).join('.'));
  }
  return all;
}
