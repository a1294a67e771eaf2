/** Timers that fire when told to, and a clock that moves with them. */
export function fakeTime() {
  let nowMs = 1_000_000;
  let timers: { at: number; callback: () => void }[] = [];
  return {
    clock: () => nowMs,
    timer(callback: () => void, delayMs: number) {
      const timer = { at: nowMs + delayMs, callback };
      timers.push(timer);
      return () => {
        timers = timers.filter((each) => each !== timer);
      };
    },
    /** Moves on, firing what falls due. */
    async advance(ms: number) {
      const until = nowMs + ms;
      for (;;) {
        const next = timers.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
        if (next === undefined) break;
        timers = timers.filter((each) => each !== next);
        nowMs = Math.max(nowMs, next.at);
        next.callback();
        for (let i = 0; i < 20; i++) await Promise.resolve();
        await new Promise((resolve) => setImmediate(resolve));
      }
      nowMs = until;
    },
  };
}
