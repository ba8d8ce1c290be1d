// Requests and answers: what a try sends, and how it can end.

import { ApiError, GatewayError, problemError } from "./errors.js";
import { parsed, type Text } from "./json.js";

/** The part of the Fetch API that the client needs. The `fetch` of every runtime and library fits. */
export type Fetch = (url: string, init: FetchInit) => Promise<FetchResponse>;

/** What the client passes to `fetch`. */
export interface FetchInit {
  method: "POST";
  headers: Record<string, string>;
  // As each library has its own type of a body, and of a signal.
  body: any;
  redirect: "manual";
  signal: any;
}

/** What the client takes from a `Response`. */
export interface FetchResponse {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  readonly body: unknown;
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** One try. */
export interface HttpRequest {
  /** `http://HOST:PORT`. */
  readonly origin: string;
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body: Text;
  /** Milliseconds for the whole try, once there is room for another connection. */
  readonly timeoutMs: number;
  /** When the call ends, of the monotonic clock. A wait for room ends then too. */
  readonly endsAt: number;
}

/** A complete answer. */
export interface Answer {
  readonly kind: "answer";
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  readonly body: Uint8Array;
}

/**
 * A try whose request was sent, or may have been, without a complete answer. `kept-died`: on a kept
 * connection, before a byte of the answer; the server may have closed it long ago.
 */
export interface Lost {
  readonly kind: "kept-died" | "no-answer" | "timeout" | "too-large";
  readonly reason: string;
}

/** A try that ended before anything was sent. */
export interface NotSent {
  readonly kind: "not-sent";
  readonly reason: string;
}

/** A try that was cut short: the caller cancelled the call, or the client was closed. */
export interface Stopped {
  readonly kind: "stopped";
  readonly isSent: boolean;
}

/** How a try ended. */
export type TryEnd = Answer | Lost | NotSent | Stopped;

/** Milliseconds of the monotonic clock. */
export function now(): number {
  return performance.now();
}

const HTTP_DATE = /^[A-Z][a-z]+, [0-9]{2}[ -][A-Z][a-z]{2}[ -][0-9]{2,4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$/;
const ASCTIME = /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [0-9]{4}$/;

/** Milliseconds of `Retry-After`: a number of seconds or an HTTP date. Undefined without a valid one. */
export function retryAfterMs(value: string | null, today = Date.now()): number | undefined {
  const text = value?.trim() ?? "";
  if (/^[0-9]+$/.test(text)) return Number(text.slice(0, 12)) * 1000;
  if (!HTTP_DATE.test(text) && !ASCTIME.test(text)) return undefined;
  const date = Date.parse(text.endsWith("GMT") ? text : `${text} GMT`);
  return Number.isNaN(date) ? undefined : Math.max(0, date - today);
}

/** The error of an answer; undefined for a success. */
export function failure(answer: Answer): ApiError | GatewayError | undefined {
  const { status, headers } = answer;
  if (status >= 200 && status < 300) return undefined;
  const wait = retryAfterMs(headers.get("retry-after"));
  const kind = headers.get("content-type")?.split(";")[0]?.trim().toLowerCase();
  const problem =
    kind === "application/problem+json" ? problemError(status, json(answer.body), wait) : undefined;
  if (problem !== undefined) return problem;
  const message =
    status >= 300 && status < 400
      ? `${status}: a redirect, which is not followed`
      : `${status}: the answer is not from jeton; something in between answered`;
  return new GatewayError(message, status, wait);
}

function json(body: Uint8Array): unknown {
  try {
    return parsed(body);
  } catch {
    return undefined;
  }
}
