import type { Write } from '../../replica/index.ts';
import type { Random } from './random.ts';

/** Draws what clients write, and which keys they read together. */
export interface Workload {
  readonly namespace: string;
  /** Whether it deletes, or writes what expires: then instances purge. */
  readonly forgets: boolean;
  readonly writes: (random: Random, serial: number) => readonly Write[];
  readonly reads: (random: Random) => readonly string[];
}

const keysMax = 5;
const membersMax = 4;

/** By name, after the invariant that each is about. */
export const workloads: readonly Workload[] = [
  // Registers: puts, deletes, short lives; concurrent ones are settled by the total order.
  {
    namespace: 'plain',
    forgets: true,
    writes: (random, serial) =>
      random.chance(0.1)
        ? [put(random, 'plain', serial), put(random, 'plain', serial)]
        : [put(random, 'plain', serial)],
    reads: oneKey('plain'),
  },
  // Transactions: both keys always hold the same value, at every instance, at every read.
  {
    namespace: 'pairs',
    forgets: false,
    writes: (_, serial) =>
      ['left', 'right'].map((side) => ({ op: 'put', namespace: 'pairs', key: `pairs.${side}`, json: `${serial}` })),
    reads: () => ['pairs.left', 'pairs.right'],
  },
  // Grants and revocations that race.
  {
    namespace: 'approvals',
    forgets: true,
    writes: (random, serial) => [put(random, 'approvals', serial, 0.4)],
    reads: oneKey('approvals'),
  },
  {
    namespace: 'grants',
    forgets: true,
    writes: (random, serial) => [put(random, 'grants', serial, 0.4)],
    reads: oneKey('grants'),
  },
  // Siblings: a writer that has seen several values settles them, another is refused.
  {
    namespace: 'notes',
    forgets: true,
    writes: (random, serial) => [{ ...put(random, 'notes', serial, 0.2), ...(random.chance(0.5) && { ifMatch: '*' }) }],
    reads: oneKey('notes'),
  },
  // Counters in windows and out of them, reset now and then.
  {
    namespace: 'counts',
    forgets: true,
    writes: (random) => {
      const key = keyOf(random, 'counts');
      if (random.chance(0.1)) return [{ op: 'delete', namespace: 'counts', key }];
      return [
        {
          op: 'add',
          namespace: 'counts',
          key,
          amount: random.int(-3, 5),
          ...(key.endsWith('1') && { windowMs: 10_000 }),
        },
      ];
    },
    reads: oneKey('counts'),
  },
  // Counters that nobody resets: their value is the sum of what was added.
  {
    namespace: 'sums',
    forgets: false,
    writes: (random) => [{ op: 'add', namespace: 'sums', key: 'sums.all', amount: random.int(1, 9) }],
    reads: () => ['sums.all'],
  },
  // Sets: members come, go and come back.
  {
    namespace: 'groups',
    forgets: true,
    writes: (random) => [
      {
        op: random.chance(0.6) ? 'set-add' : 'set-remove',
        namespace: 'groups',
        key: keyOf(random, 'groups'),
        members: [JSON.stringify(`m${random.int(1, membersMax)}`)],
      },
    ],
    reads: oneKey('groups'),
  },
  // Members that are added once and never removed: each that was acknowledged is there in the end.
  {
    namespace: 'adds',
    forgets: false,
    writes: (_, serial) => [{ op: 'set-add', namespace: 'adds', key: 'adds.all', members: [`${serial}`] }],
    reads: () => ['adds.all'],
  },
];

function put(random: Random, namespace: string, serial: number, deletes = 0.3): Write {
  const key = keyOf(random, namespace);
  if (random.chance(deletes)) return { op: 'delete', namespace, key };
  return {
    op: 'put',
    namespace,
    key,
    json: `${serial}`,
    ...(random.chance(0.15) && { ttlMs: random.int(500, 15_000) }),
  };
}

function oneKey(namespace: string) {
  return (random: Random) => [keyOf(random, namespace)];
}

const keyOf = (random: Random, namespace: string) => `${namespace}.k${random.int(1, keysMax)}`;
