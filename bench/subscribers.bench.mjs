import { factOf, keyOf } from './harness/facts.mjs';
import { concurrently } from './harness/recorder.mjs';
import { cpuSeconds, dataSession, startIpe } from './harness/servers.mjs';

const writers = 64;

/** Opens `count` subscriptions, a hundred a session, and counts what they are told. */
async function follow(b, node, count, patternOf) {
  const told = { events: 0 };
  const open = [];
  for (let at = 0; at < count; at += 100) {
    const session = await dataSession(b, node, {
      onNotification: ({ event }) => {
        if (event === 'data-changed') told.events++;
      },
    });
    for (let i = at; i < Math.min(at + 100, count); i++)
      open.push([session, await session.data.call('subscribe', { pattern: patternOf(i) })]);
  }
  told.close = () => Promise.all(open.map(([session, subscription]) => session.data.call('unsubscribe', subscription)));
  return told;
}

async function waitUntil(holds) {
  const deadline = performance.now() + 60_000;
  while (!holds()) {
    if (performance.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return true;
}

export const benches = [
  {
    id: 'data/subscribers',
    question: 'What do a thousand subscribers cost whoever writes?',
    sizes:
      'single puts of 100 bytes to 1,000 keys, 64 in flight over one session, `durability = "wal"`; subscriptions on ten sessions of another client in the same process; a put and its events counted together',
    async run(b) {
      const node = await startIpe(b, '[predicate_service.data_plane]\ndurability = "wal"\n');
      const { data } = await dataSession(b, node);
      const put = (i) => data.put(keyOf(i % 1000), factOf(i));
      await put(7);
      b.check((await data.get(keyOf(7))).value.user_id === 'user-7', 'the node answers something else');
      const count = b.size(20_000);
      const cases = [
        ['no subscriber', 0, undefined, 0],
        ['1,000 subscribers of another namespace', 1000, (i) => `orders.user-${i}`, 0],
        ['1,000 subscribers of other keys', 1000, (i) => `limits.other-${i}.*`, 0],
        ['1,000 subscribers, one a key', 1000, keyOf, 1],
        ['10 subscribers of everything', 10, () => 'limits.*', 10],
      ];
      await concurrently(count, writers, put);
      for (const [name, subscribers, patternOf, eventsAPut] of cases) {
        const told = await follow(b, node, subscribers, patternOf);
        await concurrently(Math.ceil(count / 10), writers, put);
        const warm = Math.ceil(count / 10) * eventsAPut;
        b.check(await waitUntil(() => told.events >= warm), `${name}: ${told.events} events instead of ${warm}`);
        const before = cpuSeconds(node.pid);
        const started = performance.now();
        const times = await concurrently(count, writers, put);
        const seconds = (performance.now() - started) / 1000;
        const all = warm + count * eventsAPut;
        b.check(await waitUntil(() => told.events >= all), `${name}: ${told.events} events instead of ${all}`);
        b.percentiles(`put, ${writers} in flight, ${name}`, times);
        b.value(`puts a second, ${name}`, count / seconds, 'puts/s');
        const microseconds = ((cpuSeconds(node.pid) - before) * 1e6) / count;
        b.value(`processor time of the node a put, ${name}`, microseconds, 'µs');
        await told.close();
      }
    },
  },
];
