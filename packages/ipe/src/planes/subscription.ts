import type { PlaneDelivery, PlaneInterest, PlaneMessage, PlaneSubscription } from '@ipe/core/plane';
import { readCursor } from './cursor.ts';
import { Deliveries } from './deliveries.ts';

/** What a plane is asked for by `subscribe`. */
export interface SubscriptionRequest {
  readonly interest: PlaneInterest;
  readonly deliver: (delivery: PlaneDelivery) => Promise<void>;
  readonly cursor: string | undefined;
  /** Called once, when the subscription closes. */
  readonly onClose: (subscription: PlaneSubscription) => void;
}

/**
 * What the subscriptions of all brokers have in common: whom they deliver to, what is wanted, and a position for each
 * part of the broker that is read, which goes forward when a delivery was taken and travels as the cursor.
 */
export abstract class BrokerSubscription<Position> implements PlaneSubscription {
  readonly ready: Promise<void>;
  protected readonly deliveries: Deliveries;
  protected readonly positions: Map<string, Position>;
  protected interest: PlaneInterest;
  protected becomeReady: () => void = () => {};
  readonly #onClose: SubscriptionRequest['onClose'];

  constructor({ interest, deliver, cursor, onClose }: SubscriptionRequest) {
    this.ready = new Promise((resolve) => {
      this.becomeReady = resolve;
    });
    this.deliveries = new Deliveries(deliver);
    this.positions = readCursor(cursor);
    this.interest = interest;
    this.#onClose = onClose;
  }

  get delivered(): number {
    return this.deliveries.delivered;
  }

  update(interest: PlaneInterest): void {
    this.interest = interest;
    this.interestChanged();
  }

  async close(): Promise<void> {
    this.#onClose(this);
    const closed = this.deliveries.close();
    await this.stopReading();
    await closed;
  }

  /** Reads what is wanted now; called after `interest` was replaced. */
  protected abstract interestChanged(): void;

  /** Ends reading; deliveries are closed already. Resolves when nothing is read any more. */
  protected abstract stopReading(): Promise<void>;

  /** Hands a message over, and moves the position of its part behind it. @returns false when the subscription closed */
  protected async take(part: string, position: Position, message: PlaneMessage): Promise<boolean> {
    const cursor = JSON.stringify({ ...Object.fromEntries(this.positions), [part]: position });
    const taken = await this.deliveries.push({ ...message, cursor });
    if (taken) this.positions.set(part, position);
    return taken;
  }
}
