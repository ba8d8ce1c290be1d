// The client.

// For `Symbol.asyncDispose` in the types: programs need no setting for it.
/// <reference lib="esnext.disposable" preserve="true" />

import { Core } from "./call.js";
import { type ClientOptions, type Config, configure } from "./config.js";
import { type ApiError, ClientClosed, InvalidArgument, JetonError, notFound } from "./errors.js";
import { Deadlines, Group } from "./group.js";
import { now } from "./http.js";
import { type Batch, isHalved, Lanes, newTraceparent } from "./lanes.js";
import * as ops from "./ops.js";
import { Stop } from "./stop.js";
import {
  checkTargets,
  type Issued,
  type IssueOptions,
  type Item,
  type Payload,
  type Read,
  readHeaders,
  type Status,
  type Target,
  type Ttl,
} from "./types.js";

/** Of every call. */
export interface CallOptions {
  /**
   * Cancels the call, which then throws the signal's reason. A change that is cancelled may have
   * happened: give it a `key` of your own to find it out.
   */
  readonly signal?: AbortSignal | undefined;
}

/** Of a call that reads. */
export interface ReadOptions extends CallOptions {
  /** How fresh the answer of a cluster must be. Default: `"local"`. */
  readonly read?: Read | undefined;
}

/** Of a call that carries an Idempotency-Key. */
export interface KeyedOptions extends CallOptions {
  /** The Idempotency-Key. Without one the client makes one for the tries of this call. */
  readonly key?: string | undefined;
}

/** How a token is put under a name. */
export interface PutOptions extends Omit<IssueOptions, "reference">, CallOptions {
  /** Leaves a token that is there, and throws `PreconditionFailed`. */
  readonly ifAbsent?: boolean | undefined;
}

const PRIVATE = Symbol.for("nodejs.util.inspect.custom");
const PRIVATE_DENO = Symbol.for("Deno.customInspect");

/**
 * A client of jeton.
 *
 * `urls` is the URL of a server, or those of several nodes of one cluster. Make one client for each
 * server or cluster, keep it, and close it at the end.
 *
 * ```ts
 * const jeton = new Client("http://127.0.0.1:7450");
 * const { token } = await jeton.issue({ order: "A-17", pay: "139.10" }, { ttl: "15m" });
 * const payload = await jeton.consume(token);
 * await jeton.close();
 * ```
 */
export class Client {
  readonly #config: Config;
  readonly #core: Core;
  readonly #lanes = new Lanes();
  readonly #deadlines = new Deadlines();
  /** Of the calls that are under way. */
  readonly #stops = new Set<Stop>();
  #isClosed = false;

  /** Throws `InvalidArgument` for a setting that is out of its limits. */
  constructor(urls: string | URL | readonly (string | URL)[], options: ClientOptions = {}) {
    this.#config = configure(urls, options);
    this.#core = new Core(this.#config);
  }

  /**
   * Closes all connections. Calls that are under way throw `ClientClosed`, or `OutcomeUnknown` if they
   * have sent a change. Calls after this throw `ClientClosed`. May be called twice.
   */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const batch of this.#lanes.clear()) batch.settle(closed());
    for (const stop of [...this.#stops]) stop.stop(closed());
    this.#deadlines.stop();
    this.#core.connections.close();
  }

  /** For `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * Issues a token for `payload`: any value of JSON but null; or its text as `Uint8Array`, which is
   * stored as it stands.
   *
   * A `reference` is itself the key. Throws `Conflict` if the reference or key was issued with other
   * content or its token was consumed, and `OutcomeUnknown`.
   */
  async issue(payload: unknown, options: IssueOptions & KeyedOptions = {}): Promise<Issued> {
    const { ttl, uses, peek, reference, key } = options;
    return await this.#perform(ops.issue({ payload, ttl, uses, peek, reference }, key), options);
  }

  /** Issues many tokens, each by itself: a token or the error of each, in their order. */
  async issueBatch(items: readonly Item[], options: KeyedOptions = {}): Promise<(Issued | ApiError)[]> {
    return await this.#perform(ops.issueBatch(items, options.key), options);
  }

  /**
   * Issues a token under a name that the caller chose, in the place of what is there. Returns its
   * deadline. Needs the scope `import`.
   *
   * With `ifAbsent` a token that is there stays, and the error is `PreconditionFailed`. It is `Conflict`
   * if that token was issued by a reference or key. Is not sent again after a lost answer: what was
   * consumed meanwhile would live again. So the key of its `OutcomeUnknown` is undefined. `status` shows
   * what has that name now.
   */
  async put(
    name: string | { readonly name: string },
    payload: unknown,
    options: PutOptions = {},
  ): Promise<Date> {
    const { ttl, uses, peek, ifAbsent } = options;
    return await this.#perform(ops.put(name, { payload, ttl, uses, peek }, ifAbsent ?? false), options);
  }

  /** The payload of a token; takes no use. Throws `NotFound`. */
  async resolve(target: Target, options: ReadOptions = {}): Promise<Payload> {
    return found((await this.#resolve([target], options))[0]);
  }

  /** The payloads of many tokens in their order, null for one that is not found. */
  async resolveMany(targets: readonly Target[], options: ReadOptions = {}): Promise<(Payload | null)[]> {
    return await this.#resolve(targets, options);
  }

  /**
   * Takes one use of a token and returns its payload. Throws `NotFound`, and `OutcomeUnknown`, whose
   * `key` makes it safe to call this again.
   */
  async consume(target: Target, options: KeyedOptions = {}): Promise<Payload> {
    return found((await this.#perform(ops.consume([target], options.key), options))[0]);
  }

  /** Takes one use of each token, each by itself: no transaction. Null for one that is not found. */
  async consumeMany(targets: readonly Target[], options: KeyedOptions = {}): Promise<(Payload | null)[]> {
    return await this.#perform(ops.consume(targets, options.key), options);
  }

  /** Deadline, uses left and size of each token; null for one that is not found. */
  async status(targets: readonly Target[], options: ReadOptions = {}): Promise<(Status | null)[]> {
    return await this.#perform(ops.status(targets, options.read), options);
  }

  /**
   * Moves the deadline of each token to now plus `ttl`, never earlier than it is. Returns the new
   * deadlines, null for a token that is not found.
   */
  async extend(targets: readonly Target[], ttl: Ttl, options: CallOptions = {}): Promise<(Date | null)[]> {
    return await this.#perform(ops.extend(targets, ttl), options);
  }

  /** Ends each token, known or unknown. */
  async revoke(targets: readonly Target[], options: CallOptions = {}): Promise<void> {
    await this.#perform(ops.revoke(targets), options);
  }

  /** In a cluster, where the last change of this client can be read: `{ atLeast: position }`. */
  get position(): string | undefined {
    return this.#core.position;
  }

  toString(): string {
    return `Client of ${this.#config.urls.join(", ")}`;
  }

  [PRIVATE](): string {
    return this.toString();
  }

  [PRIVATE_DENO](): string {
    return this.toString();
  }

  // --- Calls

  #check({ signal }: CallOptions): void {
    if (this.#isClosed) throw closed();
    if (signal === undefined) return;
    if (typeof signal.throwIfAborted !== "function") {
      throw new InvalidArgument("signal: must be an AbortSignal");
    }
    signal.throwIfAborted();
  }

  async #perform<T>(operation: ops.Operation<T>, options: CallOptions): Promise<T> {
    this.#check(options);
    const traceparent = this.#config.traceparent?.();
    const endsAt = now() + this.#config.deadlineMs;
    const stop = new Stop();
    const forget = onAbort(options.signal, (reason) => stop.stop(reason));
    try {
      return await this.#drive(operation, stop, traceparent, endsAt);
    } finally {
      forget();
    }
  }

  async #drive<T>(
    operation: ops.Operation<T>,
    stop: Stop,
    traceparent: string | undefined,
    endsAt: number,
  ): Promise<T> {
    this.#stops.add(stop);
    try {
      return await this.#core.perform(operation, { stop, traceparent, endsAt });
    } finally {
      this.#stops.delete(stop);
    }
  }

  // --- Coalescing

  async #resolve(targets: readonly Target[], options: ReadOptions): Promise<(Payload | null)[]> {
    const checked = checkTargets(targets);
    const { read, signal } = options;
    readHeaders(read);
    if (!this.#config.coalesce || checked.length === 0) {
      return await this.#perform(ops.resolve(checked, read), options);
    }
    this.#check(options);
    const group = new Group(checked.length, now() + this.#config.deadlineMs);
    const items = checked.map((target, at) => [target, group.waiters[at]!] as const);
    this.#start(this.#lanes.add(this.#core.keys.key, read, items));
    this.#deadlines.watch(group);
    const forget = onAbort(signal, (reason) => group.abandon(reason));
    try {
      return await group.outcomes;
    } finally {
      forget();
      this.#deadlines.forget(group);
    }
  }

  #start(batches: readonly Batch[]): void {
    for (const batch of batches) void this.#run(batch);
  }

  /** Sends a batch that has left its lane, and lets the next ones go. Never rejects. */
  async #run(batch: Batch): Promise<void> {
    batch.stop = new Stop();
    try {
      await this.#runOrHalve(batch, batch.stop, batch.endsAt);
    } catch (error) {
      // A mistake of this package, or of the caller's `fetch`: nobody may wait for ever.
      batch.settle(error instanceof JetonError ? error : new JetonError("the batch has failed"));
    }
    const departures = this.#lanes.returned(batch);
    if (this.#isClosed) for (const departure of departures) departure.settle(closed());
    else this.#start(departures);
  }

  async #runOrHalve(batch: Batch, stop: Stop, endsAt: number): Promise<void> {
    const operation = ops.resolve(batch.targets(), batch.read);
    let payloads: (Payload | null)[];
    try {
      payloads = await this.#drive(operation, stop, newTraceparent(), endsAt);
    } catch (error) {
      if (!(error instanceof JetonError)) throw error;
      if (!isHalved(error) || batch.length === 1) return batch.settle(error);
      for (const half of batch.halves()) await this.#runOrHalve(half, stop, endsAt);
      return;
    }
    batch.waiters().forEach((waiters, at) => {
      for (const waiter of waiters) waiter.settle(payloads[at] ?? null);
    });
  }
}

function closed(): ClientClosed {
  return new ClientClosed("the client was closed");
}

function found(payload: Payload | null | undefined): Payload {
  if (payload === null || payload === undefined) throw notFound();
  return payload;
}

/** Calls `listener` when the caller cancels. Returns what removes it from the signal. */
function onAbort(signal: AbortSignal | undefined, listener: (reason: unknown) => void): () => void {
  if (signal === undefined) return () => {};
  const aborted = (): void => listener(signal.reason);
  signal.addEventListener("abort", aborted, { once: true });
  return () => signal.removeEventListener("abort", aborted);
}
