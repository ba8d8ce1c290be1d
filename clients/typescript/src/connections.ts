// The connections of a client: one try on one of them, and the end of those that are too old.

import type { Config } from "./config.js";
import {
  type Answer,
  type FetchInit,
  type FetchResponse,
  type HttpRequest,
  now,
  type TryEnd,
} from "./http.js";
import { type Dial, dialer, type Link, type Progress, unref } from "./runtime.js";
import type { Stop } from "./stop.js";

interface Connection {
  readonly origin: string;
  readonly link: Link;
  readonly born: number;
}

/** All connections of a client. */
export class Connections {
  readonly #dial: Dial;
  readonly #answerMax: number;
  /** Milliseconds after which a connection gets no further try: a last one still ends in time. */
  readonly #usableMs: number;
  #room: number;
  readonly #waiting = new Set<() => void>();
  /** All to one server. The one that was used last is the last. */
  #idle: Connection[] = [];
  readonly #used = new Set<Connection>();
  #sweep: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  constructor(config: Config) {
    this.#dial = dialer(config.fetch, config.tryTimeoutMs);
    this.#answerMax = config.answerMaxBytes;
    this.#usableMs = Math.max(config.connectionAgeMs - config.tryTimeoutMs, config.connectionAgeMs / 2);
    this.#room = config.connectionsMax;
  }

  /** One try. */
  async send(request: HttpRequest, stop: Stop): Promise<TryEnd> {
    if (this.#room > 0) this.#room--;
    else if (!(await this.#untilRoom(request, stop))) {
      return stop.isStopped
        ? { kind: "stopped", isSent: false }
        : { kind: "not-sent", reason: "all connections are in use" };
    }
    try {
      return stop.isStopped ? { kind: "stopped", isSent: false } : await this.#onConnection(request, stop);
    } finally {
      this.#leaveRoom();
    }
  }

  /** Whether there is room before the call ends; it then belongs to the caller. */
  #untilRoom(request: HttpRequest, stop: Stop): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (isRoom: boolean): void => {
        clearTimeout(timer);
        forget();
        this.#waiting.delete(granted);
        resolve(isRoom);
      };
      const granted = (): void => end(true);
      let forget = (): void => {};
      const timer = setTimeout(end, Math.max(0, request.endsAt - now()), false);
      this.#waiting.add(granted);
      forget = stop.on(() => end(false));
    });
  }

  #leaveRoom(): void {
    const [first] = this.#waiting;
    if (first === undefined) this.#room++;
    else first();
  }

  async #onConnection(request: HttpRequest, stop: Stop): Promise<TryEnd> {
    let connection: Connection;
    try {
      connection = this.#take(request.origin);
    } catch (error) {
      return { kind: "not-sent", reason: reasonOf(error) };
    }
    this.#used.add(connection);
    const end = await this.#try(connection.link, request, stop);
    this.#used.delete(connection);
    if (end.kind === "answer" && !this.#isClosed && this.#isUsable(connection)) this.#keep(connection);
    else connection.link.end();
    return end;
  }

  #isUsable(connection: Connection): boolean {
    return now() - connection.born < this.#usableMs;
  }

  #take(origin: string): Connection {
    if (this.#idle.length > 0 && this.#idle[0]?.origin !== origin) this.#endIdle(() => true);
    for (let last = this.#idle.pop(); last !== undefined; last = this.#idle.pop()) {
      if (this.#isUsable(last)) return last;
      last.link.end();
    }
    return { origin, link: this.#dial(origin), born: now() };
  }

  #keep(connection: Connection): void {
    connection.link.answered();
    if (this.#idle.length > 0 && this.#idle[0]?.origin !== connection.origin) this.#endIdle(() => true);
    this.#idle.push(connection);
    this.#planSweep();
  }

  #endIdle(which: (connection: Connection) => boolean): void {
    const ended = this.#idle.filter(which);
    this.#idle = this.#idle.filter((one) => !ended.includes(one));
    for (const { link } of ended) link.end();
  }

  /** Idle connections end in time too. */
  #planSweep(): void {
    if (this.#sweep !== undefined || this.#idle.length === 0) return;
    const oldest = Math.min(...this.#idle.map(({ born }) => born));
    const sweep = (): void => {
      this.#sweep = undefined;
      this.#endIdle((connection) => !this.#isUsable(connection));
      this.#planSweep();
    };
    this.#sweep = setTimeout(sweep, Math.max(10, Math.ceil(oldest + this.#usableMs - now())));
    unref(this.#sweep);
  }

  /** Closes all of them. The tries on those in use have been stopped. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#sweep);
    this.#endIdle(() => true);
    for (const { link } of this.#used) link.end();
  }

  async #try(link: Link, request: HttpRequest, stop: Stop): Promise<TryEnd> {
    const controller = new AbortController();
    const progress: Progress = { canTell: false, isSent: false, isOverKept: false };
    const exchange = this.#exchange(link, request, controller.signal, progress);
    let timer: ReturnType<typeof setTimeout> | undefined;
    let forget = (): void => {};
    // A `fetch` of the caller's may not look at its signal: the call ends all the same.
    const cut = new Promise<TryEnd>((resolve) => {
      const isSent = (): boolean => progress.isSent || !progress.canTell;
      const timedOut = (): void => {
        if (isSent()) resolve({ kind: "timeout", reason: "no answer came in time" });
        else resolve({ kind: "not-sent", reason: "it took too long" });
      };
      timer = setTimeout(timedOut, tryMs(request));
      forget = stop.on(() => resolve({ kind: "stopped", isSent: isSent() }));
    });
    const end = await Promise.race([exchange, cut]);
    clearTimeout(timer);
    forget();
    if (end.kind !== "answer") controller.abort();
    return end;
  }

  /** Never rejects: whoever comes too late is not listened to. */
  async #exchange(
    link: Link,
    request: HttpRequest,
    signal: AbortSignal,
    progress: Progress,
  ): Promise<TryEnd> {
    let isAnswered = false;
    const { headers, body } = request;
    const init: FetchInit = { method: "POST", headers, body, redirect: "manual", signal };
    try {
      const response = await link.send(request.origin + request.path, init, progress);
      isAnswered = true;
      const whole = await collect(response, this.#answerMax);
      if (whole === undefined) return { kind: "too-large", reason: "the answer is too long" };
      return answer(response, whole);
    } catch (error) {
      if (isAnswered)
        return { kind: "no-answer", reason: "the connection ended before the answer was complete" };
      return unanswered(error, progress);
    }
  }
}

/** Milliseconds for a try that begins now. A timer may ring a moment early, and a call must not. */
function tryMs({ timeoutMs, endsAt }: HttpRequest): number {
  return Math.max(1, Math.ceil(Math.min(timeoutMs, endsAt - now()))) + 1;
}

function answer(response: FetchResponse, body: Uint8Array): Answer {
  return { kind: "answer", status: response.status, headers: response.headers, body };
}

/** The body; undefined if it is longer than `maximum`. */
async function collect(response: FetchResponse, maximum: number): Promise<Uint8Array | undefined> {
  const { headers } = response;
  const length = headers.get("content-length");
  // With one of these headers the length is not that of the body, and some runtimes do not look at it.
  const isStated = ["content-encoding", "transfer-encoding"].every((name) => headers.get(name) === null);
  if (length !== null && isStated) {
    if (Number(length) > maximum) return undefined;
    const whole = new Uint8Array(await response.arrayBuffer());
    return whole.length > maximum ? undefined : whole;
  }
  return await pieces(response, maximum);
}

async function pieces(response: FetchResponse, maximum: number): Promise<Uint8Array | undefined> {
  if (response.body === null) return new Uint8Array();
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  const parts: Uint8Array[] = [];
  let length = 0;
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    length += next.value.length;
    if (length > maximum) {
      reader.cancel().catch(() => {});
      return undefined;
    }
    parts.push(next.value);
  }
  const whole = new Uint8Array(length);
  parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
  return whole;
}

/** What the runtimes say when no connection could be opened. */
const UNCONNECTED = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "UND_ERR_CONNECT_TIMEOUT",
  "ConnectionRefused",
  "FailedToOpenSocket",
]);
const BARRED_PORT = /^bad port$|Requests to port [0-9]+ are blocked$/;
const UNCONNECTED_DENO = /client error \(Connect\): (.*)$/;

interface FetchError {
  readonly name?: unknown;
  readonly code?: unknown;
  readonly message?: unknown;
  readonly cause?: FetchError;
}

function unanswered(error: unknown, progress: Progress): TryEnd {
  const cause = causeOf(error);
  const isSent = progress.canTell ? progress.isSent : !isUnconnected(cause);
  if (!isSent) return { kind: "not-sent", reason: reasonOf(error) };
  if (progress.isOverKept) return { kind: "kept-died", reason: "the connection ended before an answer" };
  return { kind: "no-answer", reason: "the connection ended before an answer" };
}

function causeOf(error: unknown): FetchError {
  const outer = (typeof error === "object" && error !== null ? error : {}) as FetchError;
  return typeof outer.cause === "object" && outer.cause !== null ? outer.cause : outer;
}

function isUnconnected({ code, message }: FetchError): boolean {
  return (
    UNCONNECTED.has(code as string) ||
    UNCONNECTED_DENO.test(String(message)) ||
    BARRED_PORT.test(String(message))
  );
}

/** A word for it. Not the whole message: that of a caller's `fetch` could have anything in it. */
function reasonOf(error: unknown): string {
  const { code, name, message } = causeOf(error);
  if (BARRED_PORT.test(String(message))) return "a port that fetch does not connect to";
  if (typeof code === "string") return code;
  return UNCONNECTED_DENO.exec(String(message))?.[1] ?? (typeof name === "string" ? name : "unknown error");
}
