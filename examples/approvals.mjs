// RFC-005, use case 1: a deployment tool writes approvals, `prod.deployment.approval` wants two seniors.
//   npm start                      (in another terminal)
//   node examples/approvals.mjs
import { isIpeClientError } from '@ipe/client';
import { close, decisions, facts } from './connect.mjs';

const deployment = `deploy-${process.pid}`;
const question = {
  subject: { type: 'user', id: 'carol' },
  action: { name: 'deploy' },
  resource: { type: 'deployment', id: deployment, properties: { environment: 'production' } },
};

/** Asks, with a token of the newest write so that the decision has surely seen it. */
async function ask(/** @type {string | undefined} */ fresh_as_of) {
  const { decision, reasons } = await decisions.evaluation.evaluate('prod.deployment.approval', {
    ...question,
    ...(fresh_as_of === undefined ? {} : { fresh_as_of }),
  });
  console.log(`${decision.padEnd(5)} ${reasons.map(({ message }) => message).join('; ')}`);
}

/** Adds an approval to what is there; tries again when somebody else approved at the same moment. */
async function approve(/** @type {string} */ user) {
  const key = `approvals.${deployment}`;
  for (;;) {
    const entry = await facts.data.get(key);
    const before = /** @type {{approvers: object[]} | undefined} */ (entry?.value) ?? { approvers: [] };
    const approval = { user, role: 'senior_engineer', timestamp: Math.floor(Date.now() / 1000) };
    const value = /** @type {any} */ ({ deployment_id: deployment, approvers: [...before.approvers, approval] });
    try {
      const { token } = await facts.data.put(key, value, { if_version: entry?.version ?? 0 });
      console.log(`      ${user} approves`);
      return token;
    } catch (error) {
      if (!(isIpeClientError(error) && error.reason === 'conflict')) throw error;
    }
  }
}

await ask(undefined);
await ask(await approve('alice'));
// Two people approve at once: neither approval is lost, because each write names the version it was made against.
const [first, second] = await Promise.all([approve('bob'), approve('dave')]);
await ask(first);
await ask(second);
close();
