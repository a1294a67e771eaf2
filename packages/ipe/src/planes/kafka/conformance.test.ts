import { setTimeout as sleep } from 'node:timers/promises';
import { type PlaneFixture, runPlaneConformance } from '@ipe/core/testkit';
import { describe, test } from 'vitest';
import { missingBroker, startKafka } from '../../testkit/brokers.ts';
import { openKafkaPlane } from './plane.ts';

const runner = {
  // Side by side: the mock waits three seconds before it lets anybody into a group.
  test: (title: string, run: () => Promise<void>) => test.concurrent(title, run),
  skipTest: (title: string) => test.skip(title, () => {}),
  turn: () => sleep(20),
};

describe('Kafka plane', () => {
  const missing = missingBroker('kafka');
  if (missing) test.skip(`conformance (skipped: ${missing})`, () => {});
  else {
    let group = 0;
    const setUp = async (): Promise<PlaneFixture> => {
      const broker = await startKafka();
      return {
        open: () => openKafkaPlane({ url: broker.url, groupId: `kit-${group++}` }),
        close: () => broker.close(),
      };
    };
    runPlaneConformance({ ...runner, setUp, offers: ['resume', 'order'] });
  }
});
