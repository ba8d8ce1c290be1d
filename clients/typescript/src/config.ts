// The settings of a client, checked once.

import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";

import { InvalidArgument } from "./errors.js";
import type { Fetch } from "./http.js";

const MIB = 1024 * 1024;

/** What a timer of the runtimes can hold. */
const MS_MAX = 2 ** 31 - 1;
const CONNECTION_AGE_MS_MAX = 300_000;

/** The settings of a client. All but `urls` have defaults. */
export interface ClientOptions {
  /** The API key, such as `jeton keys add` prints. */
  readonly key?: string | undefined;

  /** A file with the API key in place of `key`. It is read again after a 401. */
  readonly keyFile?: string | URL | undefined;

  /** Milliseconds for a call with all its tries. Default: 10,000. */
  readonly deadlineMs?: number | undefined;

  /** Milliseconds for one try. Default: 2,000. */
  readonly tryTimeoutMs?: number | undefined;

  /** Whether concurrent resolves share requests. Default: true. */
  readonly coalesce?: boolean | undefined;

  /** The longest answer in bytes. Default: 32 MiB. */
  readonly answerMaxBytes?: number | undefined;

  /** How many requests are out at once, each on a connection of its own. Default: 100. */
  readonly connectionsMax?: number | undefined;

  /** Milliseconds after which a connection is replaced, at most 5 minutes. Default: 300,000. */
  readonly connectionAgeMs?: number | undefined;

  /** Sends the requests, in place of the runtime's `fetch`: for certificates of your own. */
  readonly fetch?: Fetch | undefined;

  /**
   * Returns the trace context of the caller (W3C `traceparent`), which is sent with each of its calls.
   * Coalesced resolves have one for each batch.
   */
  readonly traceparent?: (() => string | undefined) | undefined;
}

/** All settings, with their defaults. */
export interface Config {
  readonly urls: readonly string[];
  readonly key: string | undefined;
  readonly keyFile: string | URL | undefined;
  readonly deadlineMs: number;
  readonly tryTimeoutMs: number;
  readonly coalesce: boolean;
  readonly answerMaxBytes: number;
  readonly connectionsMax: number;
  readonly connectionAgeMs: number;
  readonly fetch: Fetch | undefined;
  readonly traceparent: (() => string | undefined) | undefined;
}

const LIMITS = {
  deadlineMs: { by: 10_000, max: MS_MAX },
  tryTimeoutMs: { by: 2_000, max: MS_MAX },
  answerMaxBytes: { by: 32 * MIB, max: Number.MAX_SAFE_INTEGER },
  connectionsMax: { by: 100, max: 100_000 },
  connectionAgeMs: { by: CONNECTION_AGE_MS_MAX, max: CONNECTION_AGE_MS_MAX },
} as const;

const NAMES = new Set([...Object.keys(LIMITS), "key", "keyFile", "coalesce", "fetch", "traceparent"]);

/** Checks all settings. Throws `InvalidArgument` for the first that is out of its limits. */
export function configure(urls: string | URL | readonly (string | URL)[], given: ClientOptions): Config {
  const unknown = Object.keys(given).find((name) => !NAMES.has(name));
  if (unknown !== undefined) throw new InvalidArgument(`${unknown}: there is no such option`);
  if (given.key !== undefined && given.keyFile !== undefined) {
    throw new InvalidArgument("key and keyFile: give one of them");
  }
  return {
    urls: origins(urls),
    key: given.key === undefined ? undefined : checkKey(given.key, "key"),
    keyFile: given.keyFile,
    deadlineMs: limited("deadlineMs", given),
    tryTimeoutMs: limited("tryTimeoutMs", given),
    coalesce: given.coalesce ?? true,
    answerMaxBytes: limited("answerMaxBytes", given),
    connectionsMax: limited("connectionsMax", given),
    connectionAgeMs: limited("connectionAgeMs", given),
    fetch: aFunction("fetch", given.fetch),
    traceparent: aFunction("traceparent", given.traceparent),
  };
}

function limited(name: keyof typeof LIMITS, given: ClientOptions): number {
  const { by, max } = LIMITS[name];
  const value = given[name] ?? by;
  if (!Number.isInteger(value) || value < 1 || value > max) {
    throw new InvalidArgument(`${name}: must be a whole number from 1 to ${max}`);
  }
  return value;
}

function aFunction<F>(name: string, given: F | undefined): F | undefined {
  if (given !== undefined && typeof given !== "function") {
    throw new InvalidArgument(`${name}: must be a function`);
  }
  return given;
}

function origins(urls: string | URL | readonly (string | URL)[]): string[] {
  const given = Array.isArray(urls) ? urls : [urls];
  if (given.length === 0) throw new InvalidArgument("urls: at least one is needed");
  const all = given.map(origin);
  if (new Set(all).size !== all.length) throw new InvalidArgument("urls: one is given twice");
  return all;
}

function origin(text: string | URL): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new InvalidArgument("urls: not a URL");
  }
  if (url.username !== "" || url.password !== "") {
    throw new InvalidArgument("urls: must not contain a user or password; use key or keyFile");
  }
  if ((url.protocol !== "http:" && url.protocol !== "https:") || url.hostname === "") {
    throw new InvalidArgument("urls: must be http://HOST:PORT or https://HOST:PORT");
  }
  if (url.pathname !== "/" || url.search !== "" || url.hash !== "") {
    throw new InvalidArgument("urls: must have no path, query or fragment");
  }
  return url.origin;
}

/** The key as a header can carry it. Throws `InvalidArgument`. */
function checkKey(key: unknown, name: string): string {
  if (typeof key !== "string" || !/^[\x21-\x7e]+$/.test(key)) {
    throw new InvalidArgument(`${name}: must be a key that \`jeton keys add\` made`);
  }
  return key;
}

/** The key in a file, when the client is made. Throws `InvalidArgument` if it cannot be read. */
export function readKeyFile(path: string | URL): string {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw unreadable(error);
  }
  return checkKey(text.trim(), "keyFile");
}

/** The key in a file, while calls are under way. Throws `InvalidArgument` if it cannot be read. */
export async function readKeyFileAgain(path: string | URL): Promise<string> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw unreadable(error);
  }
  return checkKey(text.trim(), "keyFile");
}

function unreadable(error: unknown): InvalidArgument {
  const { code } = error as { code?: unknown };
  return new InvalidArgument(
    `keyFile: cannot be read (${typeof code === "string" ? code : "unknown error"})`,
  );
}
