// TLS files through the caller's `fetch`: `tls.mjs URL CA CERTIFICATE KEY`. Prints `ok` at the end.

import { ok, rejects } from "node:assert/strict";
import { readFileSync } from "node:fs";

import { Client, NoConnection } from "jeton-client";
import { Agent, fetch } from "undici";

const [url, ca, cert, key] = process.argv.slice(2);
const connect = { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) };
const dispatcher = new Agent({ connect, connections: 100, clientTtl: 300_000 });
const jeton = new Client(url, { fetch: (target, init) => fetch(target, { ...init, dispatcher }) });
const { token } = await jeton.issue({ order: "A-17" });
ok((await jeton.consume(token)).json().order === "A-17");
await jeton.close();
await dispatcher.close();

// Without the authority nothing is sent, and the error says why.
const stranger = new Client(url, { tryTimeoutMs: 1000 });
await rejects(
  stranger.consume(token),
  (error) => error instanceof NoConnection && /CERT|ISSUER|SIGNATURE/.test(error.message),
);
await stranger.close();
console.log("ok");
