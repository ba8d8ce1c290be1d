// The client on a server.

import assert from "node:assert/strict";
import { createServer, type Server as HttpServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { after, before, test } from "node:test";

import { Client, ClientClosed, NoConnection, NotFound, OutcomeUnknown } from "jeton-client";
import { Server, TOKEN } from "./support.js";

let server: Server;
before(async () => (server = await Server.start()));
after(() => server.stop());

test("issue, resolve, status, extend, consume, revoke", async () => {
  const jeton = new Client(server.url);
  const { token, expiresAt } = await jeton.issue({ pay: "139.10" }, { ttl: "15m", uses: 2 });
  assert.ok(expiresAt.getTime() > Date.now());
  assert.deepEqual((await jeton.resolve(token)).json(), { pay: "139.10" });
  const [status, none] = await jeton.status([token, TOKEN]);
  assert.equal(status?.usesLeft, 2);
  assert.equal(none, null);
  const [later] = await jeton.extend([token], 3600);
  assert.ok(later !== null && later !== undefined && later > expiresAt);
  assert.equal((await jeton.consume(token)).text(), '{"pay":"139.10"}');
  await jeton.revoke([token]);
  await assert.rejects(jeton.consume(token), NotFound);
  const [one, two] = await jeton.issueBatch([{ payload: 1 }, { payload: 1, uses: 10_001 }]);
  assert.ok(one !== undefined && "token" in one);
  assert.ok(two instanceof Error && two.status === 422);
  await jeton.close();
});

/** A server that counts its connections, and how many of them are open. */
async function counting(): Promise<{
  url: string;
  opened: () => number;
  open: () => number;
  stop: () => void;
}> {
  let [opened, open] = [0, 0];
  const http: HttpServer = createServer((_request, response) => response.end("[1]"));
  http.keepAliveTimeout = 600_000;
  http.on("connection", (socket) => {
    opened++;
    open++;
    socket.on("close", () => open--);
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const { port } = http.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    opened: () => opened,
    open: () => open,
    stop: () => http.close(),
  };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await pause(10);
}

test("a connection that nobody uses ends at its age", async () => {
  const http = await counting();
  const jeton = new Client(http.url, { connectionAgeMs: 200, tryTimeoutMs: 100 });
  await jeton.resolve(TOKEN);
  assert.equal(http.open(), 1);
  await until(() => http.open() === 0);
  await jeton.close();
  http.stop();
});

test("closing a client ends its connections, and there are never more than connectionsMax", async () => {
  const http = await counting();
  const jeton = new Client(http.url, { connectionsMax: 3, coalesce: false });
  for (let round = 0; round < 3; round++) {
    await Promise.all(Array.from({ length: 20 }, () => jeton.resolve(TOKEN)));
  }
  assert.equal(http.opened(), 3);
  await jeton.close();
  await until(() => http.open() === 0);
  http.stop();
});

test("nothing was sent where nobody listens, and where fetch does not connect", async () => {
  const http = await counting();
  http.stop();
  const nobody = new Client(http.url);
  await assert.rejects(
    nobody.consume(TOKEN),
    (error) => error instanceof NoConnection && /ECONNREFUSED/.test(error.message),
  );
  const barred = new Client("http://127.0.0.1:6667");
  await assert.rejects(
    barred.consume(TOKEN),
    (error) => error instanceof NoConnection && /a port that fetch/.test(error.message),
  );
});

test("p2 nothing was sent while a connection is not ready", async () => {
  // Accepts, and never answers the handshake of TLS.
  const silent = createTcpServer((socket) => socket.on("error", () => {}).resume());
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const { port } = silent.address() as AddressInfo;
  const jeton = new Client(`https://127.0.0.1:${port}`, { tryTimeoutMs: 50, deadlineMs: 2_000 });
  await assert.rejects(jeton.consume(TOKEN), NoConnection);
  const controller = new AbortController();
  const cancelled = jeton.consume(TOKEN, controller);
  controller.abort();
  await assert.rejects(cancelled, { name: "AbortError" });
  const waiting = jeton.consume(TOKEN);
  await jeton.close();
  await assert.rejects(waiting, ClientClosed);
  silent.close();
});

test("p2 a global fetch that drops the dispatcher does not lose the key of what was sent", async () => {
  // Reads the request, and never answers.
  const silent = createServer((request) => request.resume());
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const { port } = silent.address() as AddressInfo;
  const original = globalThis.fetch;
  globalThis.fetch = (url, init) => {
    const { dispatcher: _dropped, ...kept } = init as RequestInit & { dispatcher?: unknown };
    return original(url, kept);
  };
  try {
    const jeton = new Client(`http://127.0.0.1:${port}`, { tryTimeoutMs: 50, deadlineMs: 2_000 });
    await assert.rejects(
      jeton.consume(TOKEN, { key: "k" }),
      (error) => error instanceof OutcomeUnknown && error.key === "k",
    );
    await jeton.close();
  } finally {
    globalThis.fetch = original;
    silent.closeAllConnections();
    silent.close();
  }
});
