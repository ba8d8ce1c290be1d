// What the tests share: a `fetch` that answers as a test wants, and a server.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

import type { Fetch, FetchInit } from "jeton-client";

export const TOKEN = "A".repeat(32);

/** The n-th of many tokens. */
export function token(n: number): string {
  return String(n).padStart(32, "t");
}

export interface Sent {
  readonly url: string;
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body: string;
  readonly tokens: string[];
  readonly signal: AbortSignal;
}

type Reply = Response | Error | "silence";

/** A `fetch` that keeps what was sent, and answers as `reply` says. */
export function fake(reply: (sent: Sent, nth: number) => Reply | Promise<Reply>): {
  fetch: Fetch;
  sent: Sent[];
} {
  const sent: Sent[] = [];
  const fetch = async (url: string, init: FetchInit): Promise<Response> => {
    const text =
      typeof init.body === "string" ? init.body : new TextDecoder().decode(init.body as Uint8Array);
    const { tokens } = JSON.parse(text) as { tokens?: string[] };
    const { headers } = init;
    const one = {
      url,
      path: new URL(url).pathname,
      headers,
      body: text,
      tokens: tokens ?? [],
      signal: init.signal,
    };
    sent.push(one);
    const given = await reply(one, sent.length);
    if (given === "silence") return await new Promise<Response>(() => {});
    if (given instanceof Error) throw given;
    return given;
  };
  return { fetch, sent };
}

/** An answer with JSON. */
export function json(value: unknown, headers: Record<string, string> = {}, status = 200): Response {
  return new Response(JSON.stringify(value), { status, headers });
}

/** An answer to a list: the same payload for each token. */
export function ones({ tokens }: Sent): Response {
  return json(tokens.map(() => 1));
}

/** A problem document. */
export function problem(status: number, fields: object = {}, headers: Record<string, string> = {}): Response {
  const document = { type: "about:blank", title: "t", status, detail: "d", ...fields };
  return json(document, { "content-type": "application/problem+json", ...headers }, status);
}

/** What a runtime throws when nobody listens. */
export function refused(): Error {
  return new TypeError("fetch failed", { cause: Object.assign(new Error("x"), { code: "ECONNREFUSED" }) });
}

/** What a runtime throws when a connection ends. */
export function reset(): Error {
  return new TypeError("fetch failed", { cause: Object.assign(new Error("x"), { code: "ECONNRESET" }) });
}

/** Everything that can happen without waiting for time has happened. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** A server of the program in `JETON`. */
export class Server {
  readonly url: string;
  readonly #process: ChildProcess;
  readonly #folder: string;

  private constructor(url: string, process: ChildProcess, folder: string) {
    this.url = url;
    this.#process = process;
    this.#folder = folder;
  }

  static async start(): Promise<Server> {
    const folder = mkdtempSync(join(tmpdir(), "jeton-client-"));
    const program = process.env["JETON"];
    if (program === undefined) throw new Error("JETON must be the path of the program jeton");
    const flags = "serve --memory-only --workers 1 --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0";
    const child = spawn(program, flags.split(" "), { cwd: folder, stdio: ["ignore", "pipe", "ignore"] });
    for await (const line of createInterface({ input: child.stdout })) {
      const url = /data=(http:\S+)/.exec(line)?.[1];
      if (url !== undefined) return new Server(url, child, folder);
    }
    throw new Error("the server did not start");
  }

  stop(): void {
    this.#process.kill();
    rmSync(this.#folder, { recursive: true });
  }
}
