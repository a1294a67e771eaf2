// RFC-005, use case 3: an API gateway asks `api.rate_limit` about every request and writes its counts, which expire
// with their window. Requests come faster than writes are worth: the gateway counts in memory and writes each user's
// count at most ten times a second, so the limit is kept to within what one tenth of a second lets through.
//   node examples/rate-limiting.mjs [requests]
import { performance } from 'node:perf_hooks';
import { close, decisions, facts } from './connect.mjs';

const requests = Number(process.argv[2] ?? 20_000);
const users = 50;
const windowSeconds = 3600;
const flushEveryMs = 100;

/** @type {Map<string, number>} */
const counts = new Map();
const changed = new Set();

async function flush() {
  const entries = [...changed].map((user) => ({
    key: `rate_limits.user-${user}`,
    value: { user_id: user, endpoint: '/api/deployments', requests_in_window: counts.get(user) ?? 0 },
    ttl: windowSeconds,
  }));
  changed.clear();
  if (entries.length > 0) await facts.data.putAll(entries);
}

const asking = await decisions.session({ maxInFlight: 256 });
const outcome = { allow: 0, deny: 0, not_applicable: 0 };

async function request(/** @type {string} */ user) {
  const { decision } = await asking.evaluation.evaluate('api.rate_limit', {
    subject: { type: 'user', id: user },
    action: { name: 'call' },
    resource: { type: 'endpoint', id: '/api/deployments' },
    receipt: 'none',
  });
  outcome[decision]++;
  if (decision !== 'allow') return;
  counts.set(user, (counts.get(user) ?? 0) + 1);
  changed.add(user);
}

const started = performance.now();
let flushing = Promise.resolve();
const timer = setInterval(() => {
  flushing = flushing.then(flush);
}, flushEveryMs);
/** @type {Promise<void>[]} */
let underWay = [];
for (let sent = 0; sent < requests; sent++) {
  underWay.push(request(`${process.pid}-${sent % users}`));
  if (underWay.length === 1000) {
    await Promise.all(underWay);
    underWay = [];
  }
}
await Promise.all(underWay);
clearInterval(timer);
await flushing.then(flush);
const seconds = (performance.now() - started) / 1000;
await asking.close();
close();

console.log(
  `${requests} requests of ${users} users in ${seconds.toFixed(2)} s: ${Math.round(requests / seconds)} a second`,
);
console.log(`allowed ${outcome.allow}, limited ${outcome.deny} (300 a user and window are allowed)`);
