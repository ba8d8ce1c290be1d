// What goes in and what comes out. Nothing here shows a token or a payload when it is printed.

import { InvalidArgument, MalformedToken } from "./errors.js";

const ORDER_NUMBER_MAX = 128;
const NAME_MAX = 512;
const AMOUNT_DIGITS_MAX = 38;
const POSITION_MAX = 64;

const TOKEN = /^[A-Za-z0-9_-]{32}$/;
const AMOUNT = /^[+-]?[0-9]+(\.[0-9]+)?$/;
const CONTROLS = /[\u0000-\u001f\u007f-\u009f]/;
const POSITION = /^[\x21-\x7e]+$/;

const INSPECT = Symbol.for("nodejs.util.inspect.custom");
const INSPECT_DENO = Symbol.for("Deno.customInspect");

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** Prints as its text where `console.log` would look into an object. */
abstract class Quiet {
  abstract toString(): string;

  [INSPECT](): string {
    return this.toString();
  }

  [INSPECT_DENO](): string {
    return this.toString();
  }
}

/** What a token stands for, byte for byte as it was stored. */
export class Payload extends Quiet {
  readonly #raw: Uint8Array;

  constructor(raw: Uint8Array) {
    super();
    this.#raw = raw;
  }

  /** The bytes. Only they keep `1.10` apart from `1.1`. */
  get raw(): Uint8Array {
    return this.#raw;
  }

  /** The bytes as text. Throws a `TypeError` if they are not UTF-8, which only the Redis protocol can store. */
  text(): string {
    return decoder.decode(this.#raw);
  }

  /**
   * The value of the bytes as JSON: `1.10` becomes 1.1, and an integer beyond 2^53 another one. `reviver`
   * is that of `JSON.parse`. Throws a `SyntaxError` for a payload that is not JSON.
   */
  json<T = unknown>(reviver?: (this: unknown, key: string, value: unknown) => unknown): T {
    return JSON.parse(this.text(), reviver) as T;
  }

  override toString(): string {
    return `Payload of ${this.#raw.length} bytes`;
  }
}

/** A token that was issued. */
export class Issued extends Quiet {
  readonly #token: string;

  /** The token's deadline. */
  readonly expiresAt: Date;

  constructor(token: string, expiresAt: Date) {
    super();
    this.#token = token;
    this.expiresAt = expiresAt;
  }

  /** 32 characters of base64url. The server does not store it. */
  get token(): string {
    return this.#token;
  }

  override toString(): string {
    return `Issued, expires at ${this.expiresAt.toISOString()}`;
  }
}

/** What is known of a living token without its payload. */
export interface Status {
  readonly expiresAt: Date;
  readonly usesLeft: number;
  /** Size of the payload in bytes. */
  readonly size: number;
}

/** Identifies an order by one, two or three fields; it stands wherever a token can. */
export interface Reference {
  /** 1 to 128 bytes, without control characters. */
  readonly orderNumber?: string | undefined;
  /** A `Date`, or a text of RFC 3339. */
  readonly createdAt?: Date | string | undefined;
  /** A decimal number of at most 38 digits: a text, a `bigint` or a safe integer. */
  readonly amount?: string | bigint | number | undefined;
}

/** A token as its text, a reference, or a name: a token that its issuer chose, 1 to 512 bytes. */
export type Target = string | { readonly reference: Reference } | { readonly name: string };

/**
 * How fresh the answer of a cluster must be. `atLeast`: it knows everything up to a position of the
 * cluster. A single server ignores it.
 */
export type Read = "local" | "linear" | { readonly atLeast: string };

/** A duration such as `"15m"`, or a number of seconds. */
export type Ttl = string | number;

/** How a token is issued. */
export interface IssueOptions {
  readonly ttl?: Ttl | undefined;
  readonly uses?: number | undefined;
  /** `false`: the payload can only be consumed. */
  readonly peek?: boolean | undefined;
  readonly reference?: Reference | undefined;
}

/** One token of `issueBatch`. */
export interface Item extends IssueOptions {
  /** Any value of JSON but null; or its text as `Uint8Array`, which is sent and stored as it stands. */
  readonly payload: unknown;
}

/** A target as a list of the API has it. */
export type Checked = string | { readonly reference: Record<string, string> } | { readonly name: string };

/** The target as a list of the API has it. Throws `MalformedToken`. */
export function checkTarget(target: Target): Checked {
  if (typeof target === "string") {
    if (!TOKEN.test(target)) throw new MalformedToken("token: must be 32 characters of base64url");
    return target;
  }
  if (typeof target === "object" && target !== null) {
    if ("reference" in target && !("name" in target)) return { reference: referenceJson(target.reference) };
    if ("name" in target && !("reference" in target)) {
      if (typeof target.name !== "string") throw new MalformedToken("name: must be text");
      checkLength("name", target.name, NAME_MAX);
      return { name: target.name };
    }
  }
  throw new MalformedToken("token: must be a string, { reference } or { name }");
}

/** The targets of a list. Throws `MalformedToken`. */
export function checkTargets(targets: readonly Target[]): Checked[] {
  if (!Array.isArray(targets)) throw new InvalidArgument("targets: must be an array");
  return targets.map(checkTarget);
}

/** The members of a reference. Throws `MalformedToken`. */
export function referenceJson(reference: Reference): Record<string, string> {
  if (typeof reference !== "object" || reference === null) {
    throw new MalformedToken("reference: must be an object");
  }
  const members = {
    order_number: orderNumber(reference.orderNumber),
    created_at: createdAt(reference.createdAt),
    amount: amount(reference.amount),
  };
  const given = Object.entries(members).filter((entry): entry is [string, string] => entry[1] !== undefined);
  if (given.length === 0) throw new MalformedToken("reference: at least one field is needed");
  return Object.fromEntries(given);
}

function orderNumber(given: unknown): string | undefined {
  if (given === undefined) return undefined;
  if (typeof given !== "string" || CONTROLS.test(given)) {
    throw new MalformedToken("orderNumber: must be text without control characters");
  }
  checkLength("orderNumber", given, ORDER_NUMBER_MAX);
  return given;
}

function createdAt(given: unknown): string | undefined {
  if (given === undefined || typeof given === "string") return given;
  if (!(given instanceof Date) || Number.isNaN(given.getTime())) {
    throw new MalformedToken("createdAt: must be a valid Date or a text of RFC 3339");
  }
  return given.toISOString();
}

function amount(given: unknown): string | undefined {
  if (given === undefined) return undefined;
  const isExact = typeof given === "string" || typeof given === "bigint" || Number.isSafeInteger(given);
  if (!isExact) {
    throw new MalformedToken("amount: must be a text, a bigint or a safe integer; fractions are not exact");
  }
  const text = String(given);
  if (!AMOUNT.test(text) || text.replace(/[^0-9]/g, "").length > AMOUNT_DIGITS_MAX) {
    throw new MalformedToken(`amount: must be a decimal number of at most ${AMOUNT_DIGITS_MAX} digits`);
  }
  return text;
}

function checkLength(field: string, text: string, maximum: number): void {
  if (/\p{Surrogate}/u.test(text)) {
    throw new MalformedToken(`${field}: must not contain unpaired surrogates`);
  }
  const length = text.length > maximum ? text.length : encoder.encode(text).length;
  if (length < 1 || length > maximum) throw new MalformedToken(`${field}: must have 1 to ${maximum} bytes`);
}

/** The headers of a read level. Throws `InvalidArgument`. */
export function readHeaders(read: Read | undefined): Record<string, string> {
  if (read === undefined || read === "local") return {};
  if (read === "linear") return { "jeton-read": "linear" };
  const position: unknown = typeof read === "object" && read !== null ? read.atLeast : undefined;
  if (typeof position !== "string" || position.length > POSITION_MAX || !POSITION.test(position)) {
    throw new InvalidArgument('read: must be "local", "linear" or { atLeast: POSITION }');
  }
  return { "jeton-at-least": position };
}
