/** What has been opened and must be closed again, last first; also when opening the next thing fails. */
export class Closers {
  readonly #steps: { what: string; close: () => unknown }[] = [];

  add(what: string, close: () => unknown): void {
    this.#steps.push({ what, close });
  }

  /** Closes everything, each even where another fails. @param onError told of what failed. */
  async closeAll(onError: (what: string, error: unknown) => void): Promise<void> {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step.close();
      } catch (error) {
        onError(step.what, error);
      }
    }
  }
}
