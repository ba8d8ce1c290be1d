// How a call is cut short.

/** Tells the parts of a call to stop. Smaller than an `AbortController`, and it keeps no listener. */
export class Stop {
  #listeners: Set<() => void> | undefined;
  #isStopped = false;
  #reason: unknown;

  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Why it was stopped: what the call throws. */
  get reason(): unknown {
    return this.#reason;
  }

  /** Only the first time counts. */
  stop(reason: unknown): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#reason = reason;
    const listeners = this.#listeners;
    this.#listeners = undefined;
    listeners?.forEach((listener) => listener());
  }

  /** Calls `listener` when stopped. Returns what forgets it. */
  on(listener: () => void): () => void {
    if (this.#isStopped) {
      listener();
      return () => {};
    }
    const listeners = (this.#listeners ??= new Set());
    listeners.add(listener);
    return () => listeners.delete(listener);
  }
}

/** Waits for so many milliseconds, or until stopped. */
export function sleep(ms: number, stop: Stop): Promise<void> {
  return new Promise((resolve) => {
    let forget = (): void => {};
    const timer = setTimeout(() => {
      forget();
      resolve();
    }, ms);
    forget = stop.on(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
