import { skewMaxMs } from '@ipe/core/replica';
import type { LeaseStatus } from '../cluster/lease-keeper.ts';
import type { ReplicationStatus } from '../replication/index.ts';

/** Something about a cluster that does not mend by itself, or not soon. */
export interface Alarm {
  readonly alarm: 'evicted' | 'lease' | 'skew' | 'quarantine' | 'divergence' | 'strategy';
  readonly message: string;
}

/** What needs an operator's eye, out of what the parts of a node tell. */
export function alarmsOf(
  replication: Pick<ReplicationStatus, 'clockAheadMs' | 'heldBack' | 'mismatched' | 'repair'>,
  leases: LeaseStatus,
  ownState: 'active' | 'evicted',
): Alarm[] {
  const alarms: Alarm[] = [];
  const raise = (alarm: Alarm['alarm'], message: string) => void alarms.push({ alarm, message });
  const { clockAheadMs, heldBack, mismatched, repair } = replication;
  if (ownState === 'evicted') raise('evicted', 'this instance was evicted: nobody takes its writes, and it gets none');
  if (leases.waitsFor !== null)
    raise('lease', `the lease of ${leases.lapsed.join(', ')} has run out; eviction waits for ${leases.waitsFor}`);
  if (clockAheadMs !== null && Math.abs(clockAheadMs) > skewMaxMs)
    raise('skew', `the clock is ${Math.abs(clockAheadMs)} ms ${clockAheadMs > 0 ? 'ahead of' : 'behind'} its peers'`);
  if (heldBack > 0)
    raise('quarantine', `${heldBack} records are held back, their time lies far ahead: see \`ipe data conflicts\``);
  if (mismatched.length > 0)
    raise('strategy', `${mismatched.join(', ')}: conflict strategies differ from a peer's, nothing is exchanged`);
  const differing = (repair?.peers ?? []).filter(({ differing: leaves }) => leaves > 0);
  if (differing.length > 0) {
    const places = differing.map(({ peer, namespace }) => `${namespace} (${peer})`).join(', ');
    raise(
      'divergence',
      `facts differ from a peer's although the same writes are held, and are being repaired: ${places}`,
    );
  }
  return alarms;
}

const intervalMs = 1_000;

/** Logs alarms as they begin and end. @returns how to stop */
export function watchAlarms(
  alarms: () => readonly Alarm[],
  log: Record<'warn' | 'info', (details: object, message: string) => void>,
): () => void {
  let known = new Map<string, string>();
  const timer = setInterval(() => {
    const current = new Map(alarms().map(({ alarm, message }) => [alarm as string, message]));
    for (const [alarm, message] of current) if (!known.has(alarm)) log.warn({ alarm }, message);
    for (const [alarm, message] of known) if (!current.has(alarm)) log.info({ alarm }, `over: ${message}`);
    known = current;
  }, intervalMs).unref();
  return () => clearInterval(timer);
}
