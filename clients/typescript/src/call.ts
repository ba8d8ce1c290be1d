// One call with its tries: what is tried again, when, and what an end means for a change.

import { type Config, readKeyFile, readKeyFileAgain } from "./config.js";
import { Connections } from "./connections.js";
import {
  AnswerError,
  AnswerTooLarge,
  ClientClosed,
  DeadlineExceeded,
  isPerhapsDone,
  type JetonError,
  NoAnswer,
  NoConnection,
  NotOneCluster,
  OutcomeUnknown,
} from "./errors.js";
import { type Answer, failure, now, type TryEnd } from "./http.js";
import type { Text } from "./json.js";
import { Nodes, PROBES } from "./nodes.js";
import { type Operation, readAnswer } from "./ops.js";
import { sleep, Stop } from "./stop.js";

const RETRIES_MAX = 2;
const RETRIED = new Set([408, 429, 502, 503, 504]);
const BACKOFF_FIRST_MS = 50;
const BACKOFF_MAX_MS = 2_000;

const BUDGET_FIRST = 10;
const BUDGET_PER_CALL = 0.2;
const BUDGET_MAX = 1_000;

const KEY_BYTES = 24;

/** Bounds retries to a fifth of the calls. */
class Budget {
  #left = BUDGET_FIRST;

  addCall(): void {
    this.#left = Math.min(BUDGET_MAX, this.#left + BUDGET_PER_CALL);
  }

  /** Whether a retry is allowed; it is then counted. */
  takeRetry(): boolean {
    // The sum of fifths is not exact.
    if (this.#left < 1 - 1e-6) return false;
    this.#left -= 1;
    return true;
  }
}

/** The API key, and the file that it comes from. */
class Keys {
  readonly #file: string | URL | undefined;
  #key: string | undefined;

  #reading: Promise<void> | undefined;

  constructor(config: Config) {
    this.#file = config.keyFile;
    this.#key = this.#file === undefined ? config.key : readKeyFile(this.#file);
  }

  get key(): string | undefined {
    return this.#key;
  }

  /** After a 401 for the key `refused`: reads the file again, once for all calls that ask meanwhile. */
  readAgain(refused: string | undefined): Promise<void> {
    if (this.#file === undefined || this.#key !== refused) return Promise.resolve();
    this.#reading ??= this.#read(this.#file).finally(() => (this.#reading = undefined));
    return this.#reading;
  }

  async #read(file: string | URL): Promise<void> {
    try {
      this.#key = await readKeyFileAgain(file);
    } catch {
      // Somebody is about to write it: the old key was refused, and that is the error.
    }
  }
}

/** How a call is made. */
export interface CallOptions {
  readonly stop: Stop;
  readonly traceparent: string | undefined;
  /** When the call ends, of the monotonic clock. */
  readonly endsAt: number;
}

/** What the calls of a client share. */
export class Core {
  readonly config: Config;
  readonly budget = new Budget();
  readonly keys: Keys;
  readonly nodes: Nodes;
  readonly connections: Connections;
  #position: string | undefined;

  constructor(config: Config) {
    this.config = config;
    this.keys = new Keys(config);
    this.nodes = new Nodes(config.urls);
    this.connections = new Connections(config);
  }

  /** Makes a call. Rejects with its error, or with the reason of its `stop`. */
  perform<T>(operation: Operation<T>, options: CallOptions): Promise<T> {
    return new Call(this, operation, options).run();
  }

  get position(): string | undefined {
    return this.#position;
  }

  /** Keeps the later one of two positions: answers may overtake each other. */
  notePosition(given: string | null): void {
    if (given !== null && isLater(given, this.#position)) this.#position = given;
  }
}

/** Whether a position `ERA.SEQ` is later than another one. */
function isLater(given: string, than: string | undefined): boolean {
  const [later, earlier] = [/^([0-9]+)\.([0-9]+)$/.exec(given), /^([0-9]+)\.([0-9]+)$/.exec(than ?? "")];
  if (later === null || earlier === null) return earlier === null;
  const [era, seq] = [1, 2].map((at) => [BigInt(later[at] as string), BigInt(earlier[at] as string)]) as [
    [bigint, bigint],
    [bigint, bigint],
  ];
  return era[0] === era[1] ? seq[0] > seq[1] : era[0] > era[1];
}

/** How a try ended. `not-one-cluster`: the servers are not nodes of one, for a reason. */
type End = TryEnd | { readonly kind: "not-one-cluster"; readonly reason: string };

/** The state of a call between its tries. */
class Call<T> {
  readonly #core: Core;
  readonly #operation: Operation<T>;
  readonly #options: CallOptions;
  readonly #key: string | undefined;
  readonly #headers: Record<string, string>;
  /** The last error after which the change may have happened. */
  #doubt: JetonError | undefined;
  #hasReadKey = false;

  constructor(core: Core, operation: Operation<T>, options: CallOptions) {
    this.#core = core;
    this.#operation = operation;
    this.#options = options;
    this.#key = operation.isKeyed ? (operation.key ?? newKey()) : undefined;
    this.#headers = { ...operation.headers };
    if (this.#key !== undefined) this.#headers["idempotency-key"] = this.#key;
    if (options.traceparent !== undefined) this.#headers["traceparent"] = options.traceparent;
  }

  #leftMs(): number {
    return this.#options.endsAt - now();
  }

  async run(): Promise<T> {
    const { budget, keys, nodes } = this.#core;
    budget.addCall();
    let retries = 0;
    for (;;) {
      const url = nodes.current;
      const askedWith = keys.key;
      const { end, isOwn } = await this.#try(url);
      if (end.kind === "answer" && isOwn && isSuccess(end)) return this.#success(end);
      const error = this.#error(end, isOwn);
      if (await this.#hasNewKey(error, askedWith)) continue;
      if (isRetried(error) || error instanceof DeadlineExceeded) nodes.leave(url);
      const wait = this.#waitMs(error, end, retries);
      if (wait === undefined || !budget.takeRetry()) throw this.#final(error);
      retries++;
      if (wait > 0) await sleep(wait, this.#options.stop);
    }
  }

  /** How the try ended, and whether the operation itself was sent. */
  async #try(url: string): Promise<{ end: End; isOwn: boolean }> {
    const refused = await this.#meet(url);
    if (refused !== undefined) return { end: refused, isOwn: false };
    const { path, body } = this.#operation;
    return { end: await this.#send(url, path, body, this.#headers, this.#options.endsAt), isOwn: true };
  }

  /** A request with this client's key, which ends at `endsAt`. */
  #send(
    origin: string,
    path: string,
    body: Text,
    extra: Record<string, string>,
    endsAt: number,
  ): Promise<TryEnd> {
    const { key } = this.#core.keys;
    const headers: Record<string, string> = {
      "content-type": "application/json",
      "accept-encoding": "identity",
      ...extra,
    };
    if (key !== undefined) headers["authorization"] = `Bearer ${key}`;
    const { stop } = this.#options;
    const timeoutMs = this.#core.config.tryTimeoutMs;
    return this.#core.connections.send({ origin, path, headers, body, timeoutMs, endsAt }, stop);
  }

  /** Finds out whether the servers are nodes of one cluster, before one is used. The end of the try if not. */
  async #meet(url: string): Promise<End | undefined> {
    const { nodes } = this.#core;
    while (!nodes.isKnown(url) || !nodes.hasAskedAll) {
      const { mistakes } = nodes;
      if (!nodes.isKnown(url)) {
        const refused = await this.#probe(url, this.#options.endsAt);
        if (refused !== undefined) return refused;
      }
      const others = nodes.others(url);
      // All of them together leave half of the time for the call itself.
      const ms = this.#leftMs() / (2 * Math.max(1, others.length));
      for (const other of others) {
        const end = await this.#probe(other, now() + ms);
        // One that is down is asked again before it is used.
        if (end?.kind === "not-one-cluster" || end?.kind === "stopped") return end;
      }
      if (nodes.end(mistakes)) break;
    }
    return undefined;
  }

  /** Asks a server for its cluster. The end of the try if it is no node of the same one, or does not answer. */
  async #probe(url: string, endsAt: number): Promise<End | undefined> {
    for (const [path, body] of PROBES) {
      const end = await this.#send(url, path, body, { "jeton-read": "probe" }, endsAt);
      if (end.kind !== "answer") return end;
      const said = this.#core.nodes.judge(url, end, failure(end));
      if (said === "node") return undefined;
      if (said === "failed") return end;
      if (said === "no-scope") continue; // The key may have that of another operation.
      this.#core.nodes.forget();
      return { kind: "not-one-cluster", reason: said };
    }
    return undefined; // The key may do nothing, which the operation itself will say.
  }

  #success(answer: Answer): T {
    const { isChange, doubt, unsettled } = this.#operation;
    this.#notePosition(answer);
    let value: T;
    try {
      value = readAnswer(this.#operation, answer.body);
    } catch (error) {
      throw this.#final(this.#noted(isChange, error as JetonError));
    }
    const doubtful = doubt?.(value);
    if (doubtful !== undefined) throw this.#final(this.#noted(true, doubtful));
    const known = this.#doubt === undefined ? undefined : unsettled?.(value);
    if (known !== undefined) {
      const message = "an answer was lost, and a later try did not find the token: it may be consumed";
      throw new OutcomeUnknown(message, { key: this.#key, results: known });
    }
    return value;
  }

  /** Of every answer to a change: a 404 or 409 is one of a position too. */
  #notePosition(answer: Answer): void {
    if (this.#operation.isChange) this.#core.notePosition(answer.headers.get("jeton-position"));
  }

  /** The error of a try, noting whether an answer to the change was lost. Throws the reason of a cancelled call. */
  #error(end: End, isOwn: boolean): JetonError {
    const isChange = this.#operation.isChange && isOwn;
    switch (end.kind) {
      case "answer": {
        const error = failure(end) as AnswerError;
        if (isOwn) this.#notePosition(end);
        return this.#noted(isChange && isPerhapsDone(error), error);
      }
      case "not-one-cluster":
        return new NotOneCluster(end.reason);
      case "stopped": {
        const { reason } = this.#options.stop;
        if (!(reason instanceof ClientClosed)) throw reason;
        return this.#noted(isChange && end.isSent, reason);
      }
      case "not-sent":
        return this.#late() ?? new NoConnection(`no connection could be opened: ${end.reason}`);
      case "too-large":
        return this.#noted(isChange, new AnswerTooLarge("the answer is longer than answerMaxBytes"));
      default:
        return this.#noted(isChange, this.#late() ?? new NoAnswer(end.reason));
    }
  }

  /** The error, noting whether the change may have happened after it. */
  #noted<E extends JetonError>(mayBeDone: boolean, error: E): E {
    if (mayBeDone) this.#doubt = error;
    return error;
  }

  #late(): DeadlineExceeded | undefined {
    return this.#leftMs() < 1 ? new DeadlineExceeded("the deadline of the call has passed") : undefined;
  }

  /** After a 401: whether the key file has another key. Once for each call. */
  async #hasNewKey(error: JetonError, askedWith: string | undefined): Promise<boolean> {
    if (!(error instanceof AnswerError) || error.status !== 401 || this.#hasReadKey) return false;
    this.#hasReadKey = true;
    // For as long as the call lasts: a file on a mount that hangs is never read.
    const { keys } = this.#core;
    const over = new Stop();
    const forget = this.#options.stop.on(() => over.stop(undefined));
    const read = keys.readAgain(askedWith).finally(() => over.stop(undefined));
    await Promise.race([read, sleep(Math.max(0, this.#leftMs()), over)]);
    forget();
    // A call that was stopped meanwhile ends at its next try.
    return keys.key !== askedWith || this.#options.stop.isStopped;
  }

  /** Milliseconds until the next try; undefined if there is none. */
  #waitMs(error: JetonError, end: End, retries: number): number | undefined {
    if (!isRetried(error) || retries >= RETRIES_MAX) return undefined;
    if (this.#doubt !== undefined && this.#operation.isRepeatable === false) return undefined;
    const backoff = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** retries);
    let wait = end.kind === "kept-died" ? 0 : Math.random() * backoff;
    // A timer may ring a moment early; never before `Retry-After`.
    if (error instanceof AnswerError && error.retryAfterMs !== undefined) {
      wait = Math.max(wait, error.retryAfterMs + (error.retryAfterMs > 0 ? 1 : 0));
    }
    return wait < this.#leftMs() ? wait : undefined;
  }

  #final(error: JetonError): JetonError {
    const doubt = this.#doubt;
    if (doubt === undefined) return error;
    // A later refusal says only that it changed nothing itself.
    const cause = error instanceof AnswerError ? doubt : error;
    const message = `the outcome of the ${this.#operation.name} is unknown: ${cause.message}`;
    return new OutcomeUnknown(message, { key: this.#key, cause });
  }
}

function isSuccess(answer: Answer): boolean {
  return answer.status >= 200 && answer.status < 300;
}

function isRetried(error: JetonError): boolean {
  if (error instanceof AnswerError) return RETRIED.has(error.status);
  return error instanceof NoConnection || error instanceof NoAnswer;
}

/** An Idempotency-Key: 24 random bytes as base64url. */
function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_");
}
