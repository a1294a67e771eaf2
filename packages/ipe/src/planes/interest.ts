import type { PlaneInterest } from '@ipe/core/plane';

/** Whether an interest covers a namespace. */
export function wants(interest: PlaneInterest, namespace: string): boolean {
  return interest === 'all' || interest.includes(namespace);
}
