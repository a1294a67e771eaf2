import type { PlaneStatus } from '@ipe/core/plane';

/** What a plane keeps of itself for its status. */
export interface PlaneState {
  /** Why it is not connected; undefined while it is. */
  readonly problem: string | undefined;
  readonly published: number;
  readonly reconnects: number;
  readonly subscriptions: Iterable<{ readonly delivered: number }>;
}

/** The status of a plane, its deliveries summed over its subscriptions. */
export function statusOf({ problem, published, reconnects, subscriptions }: PlaneState): PlaneStatus {
  let delivered = 0;
  for (const subscription of subscriptions) delivered += subscription.delivered;
  return {
    connected: problem === undefined,
    published,
    delivered,
    reconnects,
    ...(problem !== undefined && { problem }),
  };
}
