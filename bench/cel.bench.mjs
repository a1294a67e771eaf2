import { celEnv, celMap, parse, plan } from '@bufbuild/cel';
import {
  Activation,
  defaultStepBudget,
  parseExpression,
  planExpression,
  policyEnvironment,
} from '@ipe/core/policy/cel';

const params = { required: 2 };
const subject = { type: 'user', id: 'alice', properties: { roles: ['deployer', 'reader'], team: 'payments' } };
const action = { name: 'deploy', properties: {} };
const resource = {
  type: 'deployment',
  id: 'd1',
  properties: { environment: 'production', image: 'registry/app:1.2.3' },
};
const context = { region: 'eu-west-1' };
const entry = {
  approvers: [
    { id: 'bob', role: 'senior_engineer' },
    { id: 'carol', role: 'engineer' },
    { id: 'dave', role: 'senior_engineer' },
  ],
};

/** The expressions of DESIGN's approval policy, and one of each common kind. */
const expressions = {
  'literal in': 'resource.properties.environment in ["production", "staging"]',
  'fact, conditional': 'resource.id in data.approvals ? data.approvals[resource.id].approvers : []',
  filter: 'data.approvals[resource.id].approvers.filter(a, a.role == "senior_engineer")',
  'count seniors':
    'size(data.approvals[resource.id].approvers.filter(a, a.role == "senior_engineer")) >= params.required',
  exists: 'subject.properties.roles.exists(r, r == "deployer")',
  regex: 'resource.properties.image.matches("^registry/[a-z]+:[0-9.]+$")',
  'string concat': '"has " + string(size(subject.properties.roles)) + " roles"',
  'time window': 'now.getHours() >= 9 && now.getHours() < 17',
};

const nowMs = Date.UTC(2026, 0, 2, 10);
const facts = {
  lookup: (namespace, key) =>
    namespace === 'approvals' && key === 'd1' ? { kind: 'value', value: entry } : { kind: 'absent' },
  stalenessMs: () => 0,
};

/** Facts for the library as a map read lazily, which is the fastest it offers. */
function libraryBindings(nowValue) {
  const approvals = new Map([['d1', entry]]);
  const data = celMap(new Map([['approvals', celMap(approvals)]]));
  return { subject, action, resource, context, params, now: nowValue, data };
}

export const benches = [
  {
    id: 'cel/evaluate',
    question: 'How fast is one expression, against the library that parses for us?',
    sizes: 'one request of AuthZEN with 3 properties, one fact of 3 approvers; 200,000 evaluations a round',
    async run(b) {
      const { timestampFromMs } = await import('@bufbuild/protobuf/wkt');
      const { Timestamp } = await import('@ipe/core/policy/cel');
      const env = policyEnvironment({ params });
      const roots = [subject, action, resource, context, params, Timestamp.fromMillis(nowMs)];
      const library = celEnv();
      const bindings = libraryBindings(timestampFromMs(nowMs));
      const count = b.size(200_000);
      for (const [name, text] of Object.entries(expressions)) {
        const parsed = parseExpression(text);
        const program = planExpression(parsed.expression, env);
        const other = plan(library, parse(text));
        const mine = program.evaluate(new Activation(roots, facts));
        const theirs = other(bindings);
        const size = (value) => (typeof value === 'object' ? (value.length ?? value.size) : value);
        b.check(String(size(mine)) === String(size(theirs)), `${text}: ${String(mine)} against ${String(theirs)}`);
        await b.compare(
          name,
          { count },
          {
            ipe: () => {
              for (let i = 0; i < count; i++) program.evaluate(new Activation(roots, facts, [], defaultStepBudget));
            },
            '@bufbuild/cel': () => {
              for (let i = 0; i < count; i++) other(bindings);
            },
          },
        );
      }
    },
  },
  {
    id: 'cel/prepare',
    question: 'How long does it take to make an expression ready?',
    sizes: 'the eight expressions of cel/evaluate',
    async run(b) {
      const env = policyEnvironment({ params });
      const { checkExpression, decodeExpression, encodeExpression } = await import('@ipe/core/policy/cel');
      const texts = Object.values(expressions);
      const parsed = texts.map((text) => parseExpression(text).expression);
      const stored = parsed.map((expression) => encodeExpression(expression));
      b.check(
        stored.every((one) => decodeExpression(one).ok),
        'a stored expression does not load',
      );
      const rounds = b.size(2_000);
      const count = rounds * texts.length;
      const each = (list, make) => () => {
        for (let i = 0; i < rounds; i++) for (const item of list) make(item);
      };
      await b.rate(
        'parse',
        { count },
        each(texts, (text) => parseExpression(text)),
      );
      await b.rate(
        'check',
        { count },
        each(parsed, (expression) => checkExpression(expression, env)),
      );
      await b.rate(
        'plan',
        { count },
        each(parsed, (expression) => planExpression(expression, env)),
      );
      await b.rate(
        'decode',
        { count },
        each(stored, (one) => decodeExpression(one)),
      );
    },
  },
];
