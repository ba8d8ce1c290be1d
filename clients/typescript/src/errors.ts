// The errors of the client. No message contains a token, a payload or a key.

import type { Payload } from "./types.js";

/** Any error of this package. */
export class JetonError extends Error {}

/** An argument is out of its limits. Nothing was sent. */
export class InvalidArgument extends JetonError {}

/** A token, reference or name has a form that no token can have. Nothing was sent. */
export class MalformedToken extends InvalidArgument {}

/** The client was closed. Of a read, or before anything was sent. */
export class ClientClosed extends JetonError {}

/**
 * Several URLs were given, and the servers are not nodes of one cluster.
 *
 * Servers that share nothing would consume a token once each.
 */
export class NotOneCluster extends JetonError {}

/** No connection could be opened. Nothing was sent. */
export class NoConnection extends JetonError {}

/** A request was sent, and no complete answer came. Of a read only: it changed nothing. */
export class NoAnswer extends JetonError {}

/** The deadline of the call has passed. Of a read, or before anything was sent. */
export class DeadlineExceeded extends JetonError {}

/** The answer is longer than `answerMaxBytes`. */
export class AnswerTooLarge extends JetonError {}

/** The answer is a success, but not what the operation returns. Is this URL a jeton server? */
export class UnexpectedAnswer extends JetonError {}

/**
 * A change may have happened: an answer was lost, and no later try settled the question.
 *
 * Repeat the call with the same `key`: a change that happened is not made again, and its answer is
 * returned. The payload of a consume is kept under its key until the token's deadline. A refusal of the
 * repeated call, such as `read-only`, settles nothing: the key stays the one to use.
 *
 * Its `cause` is the last error, without later refusals: they say only that they changed nothing themselves.
 */
export class OutcomeUnknown extends JetonError {
  /**
   * The Idempotency-Key of the call. Undefined for a call that may be repeated without one (an issue
   * with a reference, which is itself the key; extend; revoke), and for a put, whose repetition could bring
   * back what was consumed meanwhile.
   */
  readonly key: string | undefined;

  /** Of `consumeMany`: the payloads that are known, in the order of the call. */
  readonly results: readonly (Payload | null)[] | undefined;

  constructor(
    message: string,
    fields: { key?: string | undefined; results?: readonly (Payload | null)[]; cause?: unknown } = {},
  ) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.key = fields.key;
    this.results = fields.results;
  }
}

/** The server, or something in between, answered with a failure. */
export class AnswerError extends JetonError {
  /** Status of the answer. */
  readonly status: number;

  /** Milliseconds to wait before a retry, if the answer states them. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, status: number, retryAfterMs?: number) {
    super(message);
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/** An answer that is no problem document of jeton: a gateway's HTML, or a redirect, which is never followed. */
export class GatewayError extends AnswerError {}

/** What a problem document says. */
export interface Problem {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly field?: string | undefined;
  readonly retryAfterMs?: number | undefined;
}

/** A problem document (RFC 9457) of the server. */
export class ApiError extends AnswerError {
  readonly title: string;
  readonly detail: string;

  /** The field of the request that the problem concerns. */
  readonly field: string | undefined;

  constructor(problem: Problem) {
    const { status, title, detail } = problem;
    super(`${status} ${title}: ${detail}`, status, problem.retryAfterMs);
    this.title = title;
    this.detail = detail;
    this.field = problem.field;
  }
}

/** The token is unknown, expired, consumed, revoked, somebody else's, or cannot be resolved. */
export class NotFound extends ApiError {}

/** 400: the request is malformed. */
export class BadRequest extends ApiError {}

/** 401: the key is missing, unknown, expired or revoked. */
export class Unauthorized extends ApiError {}

/** 403: the key lacks the scope. */
export class Forbidden extends ApiError {}

/** 405: the path does not have this method. Is the server older than the client? */
export class MethodNotAllowed extends ApiError {}

/** 408: head or body took too long. */
export class RequestTimeout extends ApiError {}

/** 409: the reference or key was issued with other content, or its token was consumed. */
export class Conflict extends ApiError {}

/**
 * 412: a token is under the name of a put with `ifAbsent`, or the position of `atLeast` is of an earlier
 * stream of the cluster.
 */
export class PreconditionFailed extends ApiError {}

/** 413: the body or a payload is too long. */
export class ContentTooLarge extends ApiError {}

/** 415: the content type is not accepted. */
export class UnsupportedMediaType extends ApiError {}

/** 422: a value is out of its limits. `field` names it. */
export class OutOfLimits extends ApiError {}

/** 429: too many issues of the namespace, or too many misses of the client. */
export class TooManyRequests extends ApiError {}

/** 431: the head of the request is too long. */
export class HeadTooLong extends ApiError {}

/** 500: an internal error of the server. Nothing was changed. */
export class InternalError extends ApiError {}

const REASONS = ["stale", "no-quorum", "stream-full", "unknown", "behind"] as const;

/** 503: recovering, read-only, stopping or overloaded. In a cluster `reason` says more. */
export class Unavailable extends ApiError {
  /** In a cluster, the reason that the detail begins with. */
  get reason(): (typeof REASONS)[number] | undefined {
    const word = /^[^: ]*/.exec(this.detail)?.[0];
    return REASONS.find((reason) => reason === word);
  }
}

/** 507: memory, quota or disk is full. */
export class StorageFull extends ApiError {}

const BY_STATUS: Readonly<Record<number, typeof ApiError>> = {
  400: BadRequest,
  401: Unauthorized,
  403: Forbidden,
  404: NotFound,
  405: MethodNotAllowed,
  408: RequestTimeout,
  409: Conflict,
  412: PreconditionFailed,
  413: ContentTooLarge,
  415: UnsupportedMediaType,
  422: OutOfLimits,
  429: TooManyRequests,
  431: HeadTooLong,
  500: InternalError,
  503: Unavailable,
  507: StorageFull,
};

// Explicit, so that a minifier does not change what a log says.
const NAMES = {
  JetonError,
  InvalidArgument,
  MalformedToken,
  ClientClosed,
  NotOneCluster,
  NoConnection,
  NoAnswer,
  DeadlineExceeded,
  AnswerTooLarge,
  UnexpectedAnswer,
  OutcomeUnknown,
  AnswerError,
  GatewayError,
  ApiError,
  NotFound,
  BadRequest,
  Unauthorized,
  Forbidden,
  MethodNotAllowed,
  RequestTimeout,
  Conflict,
  PreconditionFailed,
  ContentTooLarge,
  UnsupportedMediaType,
  OutOfLimits,
  TooManyRequests,
  HeadTooLong,
  InternalError,
  Unavailable,
  StorageFull,
};
for (const [name, kind] of Object.entries(NAMES)) {
  Object.defineProperty(kind.prototype, "name", { value: name, configurable: true, writable: true });
}

/** The error of a problem document; undefined if `value` is none. */
export function problemError(status: number, value: unknown, retryAfterMs?: number): ApiError | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { status: stated, title, detail, field } = value as Record<string, unknown>;
  if (stated !== status || typeof title !== "string" || typeof detail !== "string") return undefined;
  const named = typeof field === "string" ? field : undefined;
  return new (BY_STATUS[status] ?? ApiError)({ status, title, detail, field: named, retryAfterMs });
}

/** The error of a target that the server answered with null. */
export function notFound(): NotFound {
  return new NotFound({ status: 404, title: "Not Found", detail: "unknown token" });
}

/**
 * Whether the change that got this answer may have happened: a request that passed a gateway may have reached
 * the server, a failed sync may have written the change, and of a list a part may be done.
 */
export function isPerhapsDone(error: AnswerError): boolean {
  if (error instanceof GatewayError) return error.status >= 500 || error.status === 408;
  if (!(error instanceof ApiError) || (error.status !== 503 && error.status !== 507)) return false;
  return /^unknown:|others may have been/.test(error.detail);
}

/** The same error for another caller of a batch: each has an object of its own. */
export function copied(error: JetonError): JetonError {
  if (error instanceof ApiError) return new (error.constructor as typeof ApiError)(error);
  if (error instanceof GatewayError) return new GatewayError(error.message, error.status, error.retryAfterMs);
  return new (error.constructor as new (message: string) => JetonError)(error.message);
}
