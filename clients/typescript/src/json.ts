// JSON texts: writing payloads, and cutting the items of an array out as they stand.

import { InvalidArgument } from "./errors.js";
import { Payload } from "./types.js";

/** The text of a body, or a part of one. */
export type Text = string | Uint8Array;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** The text of a value of JSON. Throws `InvalidArgument`, which names `field`, for any other value. */
export function dumps(value: unknown, field: string): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value, refuseForeign);
  } catch {
    // The message of the original error may contain a part of the value.
    text = undefined;
  }
  if (text === undefined) throw new InvalidArgument(`${field}: must be a JSON value`);
  return text;
}

/** `JSON.stringify` would write null or {} for these, and the caller would find it out much later. */
function refuseForeign(this: Record<string, unknown>, name: string, value: unknown): unknown {
  const given = this[name]; // before `toJSON`
  const isForeign =
    (typeof value === "number" && !Number.isFinite(value)) ||
    (typeof given === "object" &&
      (ArrayBuffer.isView(given) ||
        given instanceof ArrayBuffer ||
        given instanceof Map ||
        given instanceof Set ||
        given instanceof Payload ||
        (given instanceof Date && value === null)));
  if (isForeign) throw new TypeError("not a JSON value");
  return value;
}

/** The text of a payload. A `Uint8Array` is the text of a JSON value itself. */
export function payloadText(payload: unknown): Text {
  if (payload instanceof Payload) return checkedText(payload.raw);
  if (payload instanceof Uint8Array) return checkedText(payload);
  if (payload === null || payload === undefined) throw new InvalidArgument("payload: must not be null");
  const text = dumps(payload, "payload");
  if (text === "null") throw new InvalidArgument("payload: must not be null");
  return text;
}

/** The bytes become a part of a body, so they must be the text of one whole value. */
function checkedText(bytes: Uint8Array): Uint8Array {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(bytes));
  } catch {
    throw new InvalidArgument("payload: the bytes are not the text of one JSON value");
  }
  if (value === null) throw new InvalidArgument("payload: must not be null");
  return bytes;
}

/** One text of several. */
export function joined(parts: readonly Text[]): Text {
  if (parts.every((part) => typeof part === "string")) return parts.join("");
  const bytes = parts.map((part) => (typeof part === "string" ? encoder.encode(part) : part));
  const whole = new Uint8Array(bytes.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of bytes) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** The value of a whole answer. Throws `SyntaxError` or `TypeError`. */
export function parsed(body: Uint8Array): unknown {
  return JSON.parse(decoder.decode(body));
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d;
}

/**
 * The items of a JSON array, byte for byte, without white space around them. Each is a copy, so that
 * one payload does not keep the whole answer in memory.
 *
 * Does not judge what is within an item. Throws `SyntaxError` if `text` is no array.
 */
export function splitArray(text: Uint8Array): Uint8Array[] {
  const [start, end] = trimmed(text, 0, text.length);
  if (end - start < 2 || text[start] !== OPEN_ARRAY || text[end - 1] !== CLOSE_ARRAY) throw noArray();
  const items: Uint8Array[] = [];
  let depth = 0;
  let from = start + 1;
  for (let at = from; at < end - 1; at++) {
    switch (text[at]) {
      case QUOTE:
        at = endOfString(text, at + 1, end - 1);
        break;
      case OPEN_ARRAY:
      case OPEN_OBJECT:
        depth++;
        break;
      case CLOSE_ARRAY:
      case CLOSE_OBJECT:
        depth--;
        if (depth < 0) throw noArray();
        break;
      case COMMA:
        if (depth === 0) {
          items.push(item(text, from, at));
          from = at + 1;
        }
        break;
      default:
    }
  }
  if (depth !== 0) throw noArray();
  const [last, lastEnd] = trimmed(text, from, end - 1);
  if (items.length > 0 || last < lastEnd) items.push(item(text, from, end - 1));
  return items;
}

/** Where a string ends whose first character is at `at`. */
function endOfString(text: Uint8Array, at: number, end: number): number {
  for (; at < end; at++) {
    if (text[at] === QUOTE) return at;
    if (text[at] === BACKSLASH) at++;
  }
  throw noArray();
}

function item(text: Uint8Array, from: number, to: number): Uint8Array {
  const [start, end] = trimmed(text, from, to);
  if (start === end) throw noArray();
  return text.slice(start, end);
}

function trimmed(text: Uint8Array, from: number, to: number): [number, number] {
  while (from < to && isSpace(text[from])) from++;
  while (from < to && isSpace(text[to - 1])) to--;
  return [from, to];
}

function noArray(): SyntaxError {
  return new SyntaxError("not an array");
}

/** Whether an item is `null`. */
export function isNull(item: Uint8Array): boolean {
  return item.length === 4 && item[0] === 0x6e && item[1] === 0x75 && item[2] === 0x6c && item[3] === 0x6c;
}
