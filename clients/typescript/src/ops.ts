// The operations: what each sends, and how its answer is read.

import { ApiError, InvalidArgument, isPerhapsDone, problemError, UnexpectedAnswer } from "./errors.js";
import { dumps, isNull, joined, parsed, payloadText, splitArray, type Text } from "./json.js";
import {
  type Checked,
  checkTarget,
  checkTargets,
  Issued,
  type Item,
  Payload,
  type Read,
  readHeaders,
  referenceJson,
  type Status,
  type Target,
  type Ttl,
} from "./types.js";

const KEY_MAX = 255;

/** One call, ready to be sent. */
export interface Operation<T> {
  /** As messages have it. */
  readonly name: string;
  readonly path: string;
  readonly body: Text;
  /** Reads the body of a success. Throws if it is not what the operation returns. */
  readonly read: (body: Uint8Array) => T;
  readonly isChange: boolean;
  /** Carries an Idempotency-Key. */
  readonly isKeyed: boolean;
  /** The caller's Idempotency-Key. */
  readonly key?: string | undefined;
  /** Whether it may be sent again although an earlier try may have reached the server. Default: true. */
  readonly isRepeatable?: boolean;
  readonly headers?: Record<string, string>;
  /** The error of an item whose change may have happened all the same. */
  readonly doubt?: (value: T) => ApiError | undefined;
  /** After a lost answer: whether this one does not settle what happened, and what it says all the same. */
  readonly unsettled?: (value: T) => readonly (Payload | null)[] | undefined;
}

/** The result in a successful answer. Throws `UnexpectedAnswer`. */
export function readAnswer<T>(operation: Operation<T>, body: Uint8Array): T {
  try {
    return operation.read(body);
  } catch {
    // Not as the cause: the original error may contain a part of the answer.
    throw new UnexpectedAnswer(`the answer to the ${operation.name} is not one of jeton`);
  }
}

function checkedKey(key: string | undefined): string | undefined {
  if (key === undefined) return undefined;
  if (
    typeof key !== "string" ||
    key.length > KEY_MAX ||
    !/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(key)
  ) {
    throw new InvalidArgument(`key: must have 1 to ${KEY_MAX} printable ASCII characters`);
  }
  return key;
}

function ttlText(ttl: Ttl): string {
  if (typeof ttl !== "string" && typeof ttl !== "number") {
    throw new InvalidArgument('ttl: must be a duration such as "15m", or a number of seconds');
  }
  return dumps(ttl, "ttl");
}

/** The body of an issue; `first` are its members before the payload. */
function issueBody(item: Item, first = ""): Text {
  if (typeof item !== "object" || item === null) throw new InvalidArgument("items: each must be an object");
  const parts: Text[] = [`{${first}"payload":`, payloadText(item.payload)];
  if (item.ttl !== undefined) parts.push(`,"ttl":${ttlText(item.ttl)}`);
  if (item.uses !== undefined) parts.push(`,"uses":${dumps(item.uses, "uses")}`);
  if (item.peek !== undefined) parts.push(`,"peek":${dumps(item.peek, "peek")}`);
  if (item.reference !== undefined) {
    parts.push(`,"reference":${dumps(referenceJson(item.reference), "reference")}`);
  }
  return joined([...parts, "}"]);
}

/** `POST /v1/tokens`. A reference is itself the key. */
export function issue(item: Item, key: string | undefined): Operation<Issued> {
  refuseBothKeys(item.reference !== undefined, key);
  return {
    name: "issue",
    path: "/v1/tokens",
    body: issueBody(item),
    read: (body) => issued(parsed(body)),
    isChange: true,
    isKeyed: item.reference === undefined,
    key: checkedKey(key),
  };
}

function refuseBothKeys(hasReference: boolean, key: string | undefined): void {
  if (hasReference && key !== undefined) {
    throw new InvalidArgument("key: a token with a reference has no key; the reference is the key");
  }
}

/** `POST /v1/tokens/batch`. */
export function issueBatch(
  items: readonly Item[],
  key: string | undefined,
): Operation<(Issued | ApiError)[]> {
  if (!Array.isArray(items)) throw new InvalidArgument("items: must be an array");
  const bodies = items.map((item: Item) => issueBody(item));
  const references = items.filter((item: Item) => item.reference !== undefined).length;
  refuseBothKeys(references > 0, key);
  if (references > 0 && references < items.length) {
    throw new InvalidArgument("items: all with a reference or all without one; send two batches");
  }
  const separated = bodies.flatMap((body, at) => (at === 0 ? [body] : [",", body]));
  return {
    name: "issue batch",
    path: "/v1/tokens/batch",
    body: joined(['{"tokens":[', ...separated, "]}"]),
    read: (body) => list(member(parsed(body), "results", Array.isArray), bodies.length, issuedOrError),
    isChange: true,
    isKeyed: references === 0,
    key: checkedKey(key),
    doubt: (results) =>
      results.filter((result) => result instanceof ApiError).find((error) => isPerhapsDone(error)),
  };
}

/** `POST /v1/names`. Never sent twice: the second one could bring back what was consumed after the first. */
export function put(
  name: string | { readonly name: string },
  item: Item,
  ifAbsent: boolean,
): Operation<Date> {
  const checked = checkTarget({ name: typeof name === "string" ? name : name?.name });
  return {
    name: "put",
    path: "/v1/names",
    // The braces of the name's object go; what is in it stays.
    body: issueBody(item, `${dumps(checked, "name").slice(1, -1)},`),
    read: (body) => expiresAt(parsed(body)),
    isChange: true,
    isKeyed: false,
    isRepeatable: false,
    headers: ifAbsent ? { "if-none-match": "*" } : {},
  };
}

/** The body of an operation on a list. */
export function listBody(targets: readonly Checked[], ttl?: Ttl): string {
  const tokens = JSON.stringify(targets);
  return ttl === undefined ? `{"tokens":${tokens}}` : `{"tokens":${tokens},"ttl":${ttlText(ttl)}}`;
}

function payloads(body: Uint8Array, count: number): (Payload | null)[] {
  return list(splitArray(body), count, (text) => (isNull(text) ? null : new Payload(text)));
}

/** `POST /v1/resolve`, of checked targets. */
export function resolve(targets: readonly Checked[], read: Read | undefined): Operation<(Payload | null)[]> {
  return {
    name: "resolve",
    path: "/v1/resolve",
    body: listBody(targets),
    read: (body) => payloads(body, targets.length),
    isChange: false,
    isKeyed: false,
    headers: readHeaders(read),
  };
}

/** `POST /v1/consume`. */
export function consume(targets: readonly Target[], key: string | undefined): Operation<(Payload | null)[]> {
  const checked = checkTargets(targets);
  return {
    name: "consume",
    path: "/v1/consume",
    body: listBody(checked),
    read: (body) => payloads(body, checked.length),
    isChange: true,
    isKeyed: true,
    key: checkedKey(key),
    unsettled: (found) => (found.includes(null) ? found : undefined),
  };
}

/** `POST /v1/status`. */
export function status(targets: readonly Target[], read: Read | undefined): Operation<(Status | null)[]> {
  const checked = checkTargets(targets);
  return {
    name: "status",
    path: "/v1/status",
    body: listBody(checked),
    read: (body) => optionals(body, checked.length, oneStatus),
    isChange: false,
    isKeyed: false,
    headers: readHeaders(read),
  };
}

/** `POST /v1/extend`. */
export function extend(targets: readonly Target[], ttl: Ttl): Operation<(Date | null)[]> {
  const checked = checkTargets(targets);
  return {
    name: "extend",
    path: "/v1/extend",
    body: listBody(checked, ttl),
    read: (body) => optionals(body, checked.length, expiresAt),
    isChange: true,
    isKeyed: false,
  };
}

/** `POST /v1/revoke`. */
export function revoke(targets: readonly Target[]): Operation<void> {
  return {
    name: "revoke",
    path: "/v1/revoke",
    body: listBody(checkTargets(targets)),
    read: (body) => {
      if (body.length > 0) throw new SyntaxError("a body was not expected");
    },
    isChange: true,
    isKeyed: false,
  };
}

function list<A, B>(values: readonly A[], count: number, read: (value: A) => B): B[] {
  if (values.length !== count) throw new SyntaxError("items are missing");
  return values.map(read);
}

function optionals<T>(body: Uint8Array, count: number, read: (value: unknown) => T): (T | null)[] {
  const values = parsed(body);
  if (!Array.isArray(values)) throw new SyntaxError("not an array");
  return list<unknown, T | null>(values, count, (value) => (value === null ? null : read(value)));
}

function oneStatus(value: unknown): Status {
  return {
    expiresAt: expiresAt(value),
    usesLeft: member(value, "uses_left", isInteger),
    size: member(value, "size", isInteger),
  };
}

function issued(value: unknown): Issued {
  return new Issued(member(value, "token", isText), expiresAt(value));
}

function issuedOrError(value: unknown): Issued | ApiError {
  const problem = (value as { error?: unknown } | null)?.error;
  if (problem === undefined) return issued(value);
  const error = problemError(member(problem, "status", isInteger), problem);
  if (error === undefined) throw new SyntaxError("not a problem");
  return error;
}

function expiresAt(value: unknown): Date {
  const date = new Date(member(value, "expires_at", isText));
  if (Number.isNaN(date.getTime())) throw new SyntaxError("expires_at is no time");
  return date;
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function isInteger(value: unknown): value is number {
  return Number.isSafeInteger(value);
}

/** A member of an object of an answer. Throws `SyntaxError`. */
function member<T>(value: unknown, name: string, is: (found: unknown) => found is T): T {
  const found =
    typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
  if (!is(found)) throw new SyntaxError(`${name} is missing`);
  return found;
}
