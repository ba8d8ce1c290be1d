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

  get isSettled(): boolean {
    return this.#left <= 0;
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
  #groups: Group[] = [];
  #first = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  watch(group: Group): void {
    this.#forgetSettled();
    this.#groups.push(group);
    this.#plan();
  }

  #forgetSettled(): void {
    while (this.#groups[this.#first]?.isSettled === true) this.#first++;
    if (this.#first > 1000 && this.#first * 2 > this.#groups.length) {
      this.#groups = this.#groups.slice(this.#first);
      this.#first = 0;
    }
  }

  #plan(): void {
    const next = this.#groups[this.#first];
    if (this.#timer !== undefined || next === undefined) return;
    this.#timer = setTimeout(() => this.#ring(), Math.max(1, Math.ceil(next.endsAt - now())));
    unref(this.#timer);
  }

  #ring(): void {
    this.#timer = undefined;
    for (let next = this.#groups[this.#first]; next !== undefined; next = this.#groups[this.#first]) {
      if (!next.isSettled && next.endsAt > now()) break;
      this.#first++;
      next.abandon(new DeadlineExceeded("the deadline of the call has passed"));
    }
    this.#forgetSettled();
    this.#plan();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
