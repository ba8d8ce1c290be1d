// A client of jeton, the token resolution engine, for Node, Deno and Bun.

export { type CallOptions, Client, type KeyedOptions, type PutOptions, type ReadOptions } from "./client.js";
export type { ClientOptions } from "./config.js";
export {
  AnswerError,
  AnswerTooLarge,
  ApiError,
  BadRequest,
  ClientClosed,
  Conflict,
  ContentTooLarge,
  DeadlineExceeded,
  Forbidden,
  GatewayError,
  HeadTooLong,
  InternalError,
  InvalidArgument,
  JetonError,
  MalformedToken,
  MethodNotAllowed,
  NoAnswer,
  NoConnection,
  NotFound,
  NotOneCluster,
  OutcomeUnknown,
  OutOfLimits,
  PreconditionFailed,
  RequestTimeout,
  StorageFull,
  TooManyRequests,
  Unauthorized,
  Unavailable,
  UnexpectedAnswer,
  UnsupportedMediaType,
} from "./errors.js";
export type { Fetch, FetchInit, FetchResponse } from "./http.js";
export {
  Issued,
  type IssueOptions,
  type Item,
  Payload,
  type Read,
  type Reference,
  type Status,
  type Target,
  type Ttl,
} from "./types.js";
export { version } from "./version.js";
