interface Scheduled {
  readonly atMs: number;
  readonly serial: number;
  readonly run: () => void;
}

/** Virtual time: what is to happen, in order of time and then of scheduling. A binary heap. */
export class Scheduler {
  nowMs = 0;
  ran = 0;
  #serial = 0;
  readonly #heap: Scheduled[] = [];

  after(delayMs: number, run: () => void): void {
    this.#push({ atMs: this.nowMs + Math.max(0, delayMs), serial: this.#serial++, run });
  }

  /** Runs everything that is due up to a time, which is then now. */
  runUntil(untilMs: number): void {
    while (this.#heap.length > 0 && this.#heap[0]!.atMs <= untilMs) {
      const next = this.#pop();
      this.nowMs = next.atMs;
      this.ran++;
      next.run();
    }
    this.nowMs = untilMs;
  }

  #push(item: Scheduled): void {
    const heap = this.#heap;
    let at = heap.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(heap[at]!, heap[parent]!)) break;
      [heap[at], heap[parent]] = [heap[parent]!, heap[at]!];
      at = parent;
    }
  }

  #pop(): Scheduled {
    const heap = this.#heap;
    const top = heap[0]!;
    const last = heap.pop()!;
    if (heap.length > 0) {
      heap[0] = last;
      for (let at = 0; ; ) {
        let least = at;
        for (const child of [2 * at + 1, 2 * at + 2]) {
          if (child < heap.length && isBefore(heap[child]!, heap[least]!)) least = child;
        }
        if (least === at) break;
        [heap[at], heap[least]] = [heap[least]!, heap[at]!];
        at = least;
      }
    }
    return top;
  }
}

const isBefore = (a: Scheduled, b: Scheduled) => a.atMs < b.atMs || (a.atMs === b.atMs && a.serial < b.serial);
