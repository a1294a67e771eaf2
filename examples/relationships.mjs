// RFC-005, use case 2: an identity service writes who is in which group, `prod.database.access` reads it, and an
// application follows the changes.
//   node examples/relationships.mjs
import { close, decisions, facts } from './connect.mjs';

const user = `user-${process.pid}`;
const key = `relationships.user-${user}`;

async function ask(/** @type {string} */ action, /** @type {string | undefined} */ fresh_as_of) {
  const { decision, reasons } = await decisions.evaluation.evaluate('prod.database.access', {
    subject: { type: 'user', id: user },
    action: { name: action },
    resource: { type: 'database', id: 'orders' },
    ...(fresh_as_of === undefined ? {} : { fresh_as_of }),
  });
  console.log(`${action.padEnd(5)} ${decision.padEnd(5)} ${reasons.map(({ message }) => message).join('; ')}`);
}

const stop = new AbortController();
const following = (async () => {
  for await (const event of facts.data.watch('relationships.*', { signal: stop.signal }))
    if (event.key === key) console.log(`      ${event.type} ${event.key} ${JSON.stringify(event.value ?? null)}`);
})();

const member = (/** @type {string[]} */ ...groups) =>
  facts.data.put(key, { user_id: user, groups, manager: 'charlie' });

await ask('read', undefined);
const joined = await member('engineering');
await ask('read', joined.token);
await ask('write', joined.token);
const promoted = await member('engineering', 'senior-engineers');
await ask('write', promoted.token);
const { token } = await facts.data.delete(key);
await ask('read', token);

stop.abort();
await following;
close();
