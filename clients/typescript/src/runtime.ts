// The `fetch` of each runtime, on connections that the client can end.
//
// The Fetch API knows no connections. Node and Deno can bind a `fetch` to a pool of its own, and here
// each pool has one connection at most: so it has an age, and the client knows when one had died. None
// of them uses a proxy of the environment.

import { InvalidArgument } from "./errors.js";
import type { Fetch, FetchInit, FetchResponse } from "./http.js";
import type { Text } from "./json.js";

/** Milliseconds for which a kept connection may be idle. */
const IDLE_MS = 60_000;
const NO_PROXY = "NO_PROXY";

/** What a try has shown so far. */
export interface Progress {
  /** Whether `isSent` is known; else everything counts as sent. */
  canTell: boolean;
  isSent: boolean;
  /** The request went over a connection that had brought an answer before. */
  isOverKept: boolean;
}

/** One connection at most, to one server. */
export interface Link {
  send(url: string, init: FetchInit, progress: Progress): Promise<FetchResponse>;
  /** A complete answer came. */
  answered(): void;
  /** Closes the connection at once. */
  end(): void;
}

/** Makes a link to an origin; nothing is connected yet. */
export type Dial = (origin: string) => Link;

/** How this runtime connects, or the caller's `fetch`, whose connections are the caller's. */
export function dialer(given: Fetch | undefined, connectMs: number): Dial {
  if (given !== undefined) return () => new PlainLink(given);
  const scope = globalThis as unknown as Scope;
  if (scope.Deno?.createHttpClient !== undefined) return denoDialer(scope.Deno);
  if (scope.Bun !== undefined) return bunDialer();
  const Agent = agentOfNode(scope);
  if (Agent === undefined) return () => new PlainLink(runtimeFetch);
  return () => new NodeLink(new Agent(nodeOptions(connectMs)));
}

// Looked up at each call: whoever replaces the global one, such as a test, means this client too.
const runtimeFetch: Fetch = (url, init) => (globalThis.fetch as unknown as Fetch)(url, init);

interface Scope {
  readonly Deno?: Deno;
  readonly Bun?: unknown;
  readonly Headers?: unknown;
  readonly [dispatcher: symbol]: { readonly constructor: AgentClass } | undefined;
}

/** A `fetch` whose connections are its own. */
class PlainLink implements Link {
  readonly #fetch: Fetch;

  constructor(fetch: Fetch) {
    this.#fetch = fetch;
  }

  send(url: string, init: FetchInit): Promise<FetchResponse> {
    return this.#fetch(url, init);
  }

  answered(): void {}

  end(): void {}
}

// --- Node: `fetch` is undici's, which takes a dispatcher.

interface Handler {
  onConnect?: (...given: unknown[]) => unknown;
  onRequestStart?: (...given: unknown[]) => unknown;
}

interface Agent {
  dispatch(options: unknown, handler: Handler): boolean;
  destroy(): Promise<void>;
  on(event: "connect", listener: () => void): void;
}

type AgentClass = new (options: object) => Agent;

const DISPATCHERS = [2, 1].map((version) => Symbol.for(`undici.globalDispatcher.${version}`));

/**
 * The class of Node's own dispatcher: Node has no name for it. Undefined where the program has set one of
 * another class, which `fetch` then uses.
 */
function agentOfNode(scope: Scope): AgentClass | undefined {
  void scope.Headers; // loads undici
  const classes = DISPATCHERS.map((symbol) => scope[symbol]?.constructor);
  return classes.find((known) => known?.name === "Agent" || known?.name === "EnvHttpProxyAgent");
}

function nodeOptions(connectMs: number): object {
  return {
    connections: 1,
    pipelining: 1,
    connectTimeout: connectMs,
    keepAliveTimeout: IDLE_MS,
    keepAliveMaxTimeout: IDLE_MS,
    // A try has a timer of its own.
    headersTimeout: 0,
    bodyTimeout: 0,
    // With NODE_USE_ENV_PROXY the class is one that looks at the environment.
    noProxy: "*",
  };
}

class NodeLink implements Link {
  readonly #agent: Agent;
  #isKept = false;

  constructor(agent: Agent) {
    this.#agent = agent;
    agent.on("connect", () => {
      this.#isKept = false;
    });
  }

  send(url: string, init: FetchInit, progress: Progress): Promise<FetchResponse> {
    const dispatcher = {
      dispatch: (options: unknown, handler: Handler): boolean => {
        // Not before: a `fetch` that wraps Node's may drop the dispatcher, and then nothing shows what is sent.
        progress.canTell = true;
        if (!this.#watch(handler, progress)) progress.isSent = true;
        return this.#agent.dispatch(options, handler);
      },
    };
    return runtimeFetch(url, { ...init, dispatcher } as FetchInit);
  }

  /** Node calls one of these when the request is about to be written to a connection. Whether there is one. */
  #watch(handler: Handler, progress: Progress): boolean {
    const names = (["onConnect", "onRequestStart"] as const).filter((name) => handler[name] !== undefined);
    for (const name of names) {
      const original = handler[name];
      handler[name] = (...given) => {
        progress.isSent = true;
        progress.isOverKept = this.#isKept;
        return original?.apply(handler, given);
      };
    }
    return names.length > 0;
  }

  answered(): void {
    this.#isKept = true;
  }

  end(): void {
    this.#agent.destroy().catch(() => {});
  }
}

// --- Deno: `fetch` takes an HTTP client.

interface Deno {
  readonly createHttpClient: (options: object) => { close(): void };
  readonly env: {
    get(name: string): string | undefined;
    set(name: string, text: string): void;
    delete(name: string): void;
  };
}

/** Deno's client looks for proxies in the environment when it is made, and for hosts that have none. */
function denoDialer(deno: Deno): Dial {
  try {
    deno.env.get(NO_PROXY);
  } catch {
    throw new InvalidArgument(
      `fetch: in Deno the client needs --allow-env=${NO_PROXY}, to use no proxy of the environment; or a fetch of yours`,
    );
  }
  return (origin) => {
    const before = deno.env.get(NO_PROXY);
    deno.env.set(NO_PROXY, new URL(origin).hostname.replace(/^\[|\]$/g, ""));
    try {
      const client = deno.createHttpClient({ poolMaxIdlePerHost: 1, poolIdleTimeout: IDLE_MS, http2: false });
      return new DenoLink(client);
    } finally {
      if (before === undefined) deno.env.delete(NO_PROXY);
      else deno.env.set(NO_PROXY, before);
    }
  };
}

class DenoLink implements Link {
  readonly #client: { close(): void };
  #isKept = false;
  #isEnded = false;

  constructor(client: { close(): void }) {
    this.#client = client;
  }

  send(url: string, init: FetchInit, progress: Progress): Promise<FetchResponse> {
    progress.isOverKept = this.#isKept;
    // A body that can be read once: else Deno itself repeats the request on another connection, and
    // nobody knows that an answer was lost.
    return runtimeFetch(url, { ...init, body: streamOf(init.body), client: this.#client } as FetchInit);
  }

  answered(): void {
    this.#isKept = true;
  }

  end(): void {
    if (!this.#isEnded) this.#client.close();
    this.#isEnded = true;
  }
}

// --- Bun: all connections are in one pool, and a request can only say that it is the last one on its own.

/** For each link that has ended, a later request ends the connection that it goes over. */
function bunDialer(): Dial {
  let ended = 0;
  const send = (url: string, init: FetchInit): Promise<FetchResponse> => {
    const isLast = ended > 0;
    if (isLast) ended--;
    const headers = isLast ? { ...init.headers, connection: "close" } : init.headers;
    // `false` is Bun's word for no proxy at all.
    return runtimeFetch(url, { ...init, headers, proxy: false } as FetchInit);
  };
  return () => ({ send, answered: () => {}, end: () => void ended++ });
}

function streamOf(body: Text): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(typeof body === "string" ? new TextEncoder().encode(body) : body);
      controller.close();
    },
  });
}

/** Lets the process end although the timer still runs. */
export function unref(timer: unknown): void {
  if (typeof timer === "object") (timer as { unref?: () => void }).unref?.();
  else (globalThis as { Deno?: { unrefTimer?: (timer: unknown) => void } }).Deno?.unrefTimer?.(timer);
}
