// The callers whose resolves share requests: each waits for its targets, until its deadline.

import { ClientClosed, copied, DeadlineExceeded, JetonError } from "./errors.js";
import { now } from "./http.js";
import type { Batch, Outcome, Waiter } from "./lanes.js";
import { unref } from "./runtime.js";
import type { Payload } from "./types.js";

/** One call of `resolve` or `resolveMany`. */
export class Group {
  readonly endsAt: number;
  readonly outcomes: Promise<(Payload | null)[]>;
  readonly waiters: Waiter[];
  readonly #found: Outcome[];
  #left: number;
  #resolve!: (payloads: (Payload | null)[]) => void;
  #reject!: (reason: unknown) => void;

  constructor(count: number, endsAt: number) {
    this.endsAt = endsAt;
    this.#left = count;
    this.#found = new Array<Outcome>(count).fill(null);
    this.waiters = this.#found.map((_, at) => ({
      endsAt,
      settle: (outcome: Outcome): void => this.#settle(at, outcome),
    }));
    this.outcomes = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  #settle(at: number, outcome: Outcome): void {
    if (this.#left <= 0) return;
    this.#found[at] = outcome;
    if (--this.#left > 0) return;
    const payloads: (Payload | null)[] = [];
    for (const found of this.#found) {
      if (found instanceof JetonError) return this.#reject(copied(found));
      payloads.push(found);
    }
    this.#resolve(payloads);
  }

  /** Ends the call before its time. A batch in which nobody is left is stopped. */
  abandon(reason: unknown): void {
    if (this.#left <= 0) return;
    this.#left = 0;
    this.#reject(reason);
    const batches = new Set<Batch>();
    for (const waiter of this.waiters) {
      if (waiter.batch !== undefined && waiter.batch.drop(waiter)) batches.add(waiter.batch);
    }
    for (const batch of batches) batch.stop?.stop(new ClientClosed("nobody waits for the batch any more"));
  }
}

/** Ends the calls at their deadlines: one timer for all, which all have the same time. */
export class Deadlines {
  /** Those that wait, in the order of their deadlines. */
  readonly #groups = new Set<Group>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  watch(group: Group): void {
    this.#groups.add(group);
    this.#plan();
  }

  /** The call has ended. */
  forget(group: Group): void {
    this.#groups.delete(group);
  }

  #plan(): void {
    const [next] = this.#groups;
    if (this.#timer !== undefined || next === undefined) return;
    this.#timer = setTimeout(() => this.#ring(), Math.max(1, Math.ceil(next.endsAt - now())));
    unref(this.#timer);
  }

  #ring(): void {
    this.#timer = undefined;
    for (const group of this.#groups) {
      if (group.endsAt > now()) break;
      this.#groups.delete(group);
      group.abandon(new DeadlineExceeded("the deadline of the call has passed"));
    }
    this.#plan();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
