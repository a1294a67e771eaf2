/** How long a plane that closes waits for its broker's answers: what they would acknowledge is in the log besides. */
export const closeTimeoutMs = 2_000;

/** Resolves once the work has settled, whichever way, or the time is over. */
export async function settledWithin(timeoutMs: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs);
  });
  await Promise.race([work.catch(() => {}), timeout]);
  clearTimeout(timer);
}
