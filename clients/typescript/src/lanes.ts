// Coalescing: which resolves go together. Decides only; the client sends and waits.
//
// A resolve goes at once while fewer than BATCHES_OUT_MAX batches of its lane are out. Later ones gather
// and go when a batch comes back. Nothing waits for a timer, nothing is cached, and nobody joins a batch
// that was sent.

import { AnswerTooLarge, BadRequest, ContentTooLarge, type JetonError, OutOfLimits } from "./errors.js";
import type { Stop } from "./stop.js";
import type { Checked, Payload, Read } from "./types.js";

export const BATCH_LEN_MAX = 100;
export const BATCHES_OUT_MAX = 4;

/** What came of one target: its payload, null if it is not found, or the error. */
export type Outcome = Payload | null | JetonError;

/** One target of a call that waits for it. */
export interface Waiter {
  /** When its call ends, of the monotonic clock. */
  readonly endsAt: number;
  batch?: Batch;
  settle(outcome: Outcome): void;
}

interface Place {
  readonly target: Checked;
  readonly waiters: Set<Waiter>;
}

/** Resolves that are sent together: distinct targets, and who waits for each. */
export class Batch {
  readonly lane: Lane;
  readonly read: Read | undefined;
  /** Ends the call that the batch is in; undefined while it gathers. */
  stop: Stop | undefined;
  #places: Map<string, Place>;

  constructor(lane: Lane, read: Read | undefined, places = new Map<string, Place>()) {
    this.lane = lane;
    this.read = read;
    this.#places = places;
  }

  get length(): number {
    return this.#places.size;
  }

  /** When the last one of its callers gives up. */
  get endsAt(): number {
    let latest = 0;
    for (const { waiters } of this.#places.values()) {
      for (const { endsAt } of waiters) latest = Math.max(latest, endsAt);
    }
    return latest;
  }

  add(id: string, target: Checked, waiter: Waiter): void {
    let place = this.#places.get(id);
    if (place === undefined) this.#places.set(id, (place = { target, waiters: new Set() }));
    place.waiters.add(waiter);
    waiter.batch = this;
  }

  targets(): Checked[] {
    return Array.from(this.#places.values(), ({ target }) => target);
  }

  /** Who waits, in the order of the targets. */
  waiters(): ReadonlySet<Waiter>[] {
    return Array.from(this.#places.values(), ({ waiters }) => waiters);
  }

  settle(outcome: Outcome): void {
    for (const waiters of this.waiters()) waiters.forEach((waiter) => waiter.settle(outcome));
  }

  /** Forgets a waiter whose call has ended. Whether nobody is left. */
  drop(waiter: Waiter): boolean {
    let isAbandoned = true;
    for (const { waiters } of this.#places.values()) {
      waiters.delete(waiter);
      isAbandoned &&= waiters.size === 0;
    }
    return isAbandoned;
  }

  /** Forgets the targets for which nobody waits any more, and returns their ids. Before it is sent only. */
  prune(): string[] {
    const forgotten = [...this.#places].filter(([, { waiters }]) => waiters.size === 0).map(([id]) => id);
    for (const id of forgotten) this.#places.delete(id);
    return forgotten;
  }

  ids(): Iterable<string> {
    return this.#places.keys();
  }

  /** The batch as two of half its length. */
  halves(): [Batch, Batch] {
    const places = [...this.#places];
    const middle = Math.ceil(places.length / 2);
    const [first, second] = [places.slice(0, middle), places.slice(middle)];
    return [
      new Batch(this.lane, this.read, new Map(first)),
      new Batch(this.lane, this.read, new Map(second)),
    ];
  }
}

/** What may go together: one key, one read level, and either references or tokens and names. */
export class Lane {
  readonly id: string;
  out = 0;
  /** In the order in which they go; only the last one has room. */
  readonly gathering: Batch[] = [];
  /** The gathering batch of each target. */
  readonly batchOf = new Map<string, Batch>();

  constructor(id: string) {
    this.id = id;
  }
}

/** All lanes of a client. */
export class Lanes {
  readonly #lanes = new Map<string, Lane>();

  /** Takes checked targets with their waiters. Returns the batches that go now. */
  add(
    key: string | undefined,
    read: Read | undefined,
    items: readonly (readonly [Checked, Waiter])[],
  ): Batch[] {
    const touched = new Set<Lane>();
    for (const [target, waiter] of items) {
      const isReference = typeof target === "object" && "reference" in target;
      const lane = this.#lane(JSON.stringify([key ?? null, read ?? "local", isReference]));
      touched.add(lane);
      gather(lane, read, target, waiter);
    }
    return [...touched].flatMap((lane) => this.#departures(lane));
  }

  #lane(id: string): Lane {
    let lane = this.#lanes.get(id);
    if (lane === undefined) this.#lanes.set(id, (lane = new Lane(id)));
    return lane;
  }

  #departures(lane: Lane): Batch[] {
    const departing: Batch[] = [];
    while (lane.out < BATCHES_OUT_MAX) {
      const batch = lane.gathering.shift();
      if (batch === undefined) break;
      for (const id of batch.prune()) lane.batchOf.delete(id);
      for (const id of batch.ids()) lane.batchOf.delete(id);
      if (batch.length === 0) continue;
      lane.out++;
      departing.push(batch);
    }
    if (lane.out === 0) this.#lanes.delete(lane.id);
    return departing;
  }

  /** A batch that went has ended. Returns the batches that go now. */
  returned(batch: Batch): Batch[] {
    batch.lane.out--;
    return this.#departures(batch.lane);
  }

  /** Removes all batches that gather, and returns them. */
  clear(): Batch[] {
    const gathered: Batch[] = [];
    for (const lane of this.#lanes.values()) {
      gathered.push(...lane.gathering.splice(0));
      lane.batchOf.clear();
    }
    return gathered;
  }
}

function gather(lane: Lane, read: Read | undefined, target: Checked, waiter: Waiter): void {
  const id = typeof target === "string" ? target : JSON.stringify(target);
  let batch = lane.batchOf.get(id) ?? lane.gathering.at(-1);
  if (batch === undefined || (batch.length >= BATCH_LEN_MAX && !lane.batchOf.has(id))) {
    batch = new Batch(lane, read);
    lane.gathering.push(batch);
  }
  lane.batchOf.set(id, batch);
  batch.add(id, target, waiter);
}

/** Whether one target may be to blame for the error of a batch. */
export function isHalved(error: JetonError): boolean {
  return (
    error instanceof BadRequest ||
    error instanceof ContentTooLarge ||
    error instanceof OutOfLimits ||
    error instanceof AnswerTooLarge
  );
}

/** A trace context of its own (W3C Trace Context): a batch belongs to many callers. */
export function newTraceparent(): string {
  // Not secret, so the generator that costs nothing is enough.
  const digits = (count: number): string =>
    Array.from({ length: count / 8 }, () =>
      Math.floor(Math.random() * 2 ** 32)
        .toString(16)
        .padStart(8, "0"),
    ).join("");
  // Zeros alone are not valid.
  return `00-${digits(24)}${digits(8).slice(1)}1-${digits(8)}${digits(8).slice(1)}1-01`;
}
