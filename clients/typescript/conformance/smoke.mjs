// One run of the package in a runtime: `smoke.mjs URL`. Prints `ok` at the end.

import { ok, rejects } from "node:assert/strict";
import { createServer } from "node:http";

import { Client, NotFound, OutcomeUnknown } from "jeton-client";

const jeton = new Client(process.argv[2]);
const { token } = await jeton.issue(new TextEncoder().encode('{"pay": 1.10}'), { ttl: "15m", uses: 2 });
ok((await jeton.resolve(token)).text() === '{"pay": 1.10}');
const many = await jeton.resolveMany([token, "A".repeat(32)]);
ok(many[0].json().pay === 1.1 && many[1] === null);
const payloads = await Promise.all(Array.from({ length: 1000 }, () => jeton.resolve(token)));
ok(payloads.every((payload) => payload.text() === '{"pay": 1.10}'));
ok((await jeton.consume(token)).text() === '{"pay": 1.10}');
await jeton.revoke([token]);
await rejects(jeton.consume(token), NotFound);
await jeton.close();

// A server that gives no answer: the call ends with its signal, and a change with its key.
const silent = createServer((_request, _response) => {});
await new Promise((resolve) => silent.listen(0, "127.0.0.1", resolve));
const url = `http://127.0.0.1:${silent.address().port}`;
const waiting = new Client(url, { deadlineMs: 300, tryTimeoutMs: 300 });
const controller = new AbortController();
setTimeout(() => controller.abort(new Error("cancelled")), 50);
await rejects(waiting.resolve(token, controller), { message: "cancelled" });
await rejects(waiting.consume(token), (error) => error instanceof OutcomeUnknown && error.key.length === 32);
await waiting.close();

// A kept connection that dies: the runtime does not repeat a request by itself.
let puts = 0;
const dying = createServer((request, response) => {
  const isPut = request.url === "/v1/names";
  if (isPut) puts++;
  request.resume().on("end", () => (isPut ? request.socket.destroy() : response.end("[1]")));
});
await new Promise((resolve) => dying.listen(0, "127.0.0.1", resolve));
const losing = new Client(`http://127.0.0.1:${dying.address().port}`);
for (let round = 0; round < 2; round++) await losing.consume(token);
await rejects(losing.put("a-name", 1), OutcomeUnknown);
ok(puts === 1, `${puts} puts`);
await losing.close();

// A connection ends at its age: in Bun with the next request that goes over it.
const ports = new Set();
const counting = createServer((request, response) => {
  ports.add(request.socket.remotePort);
  request.resume().on("end", () => response.end("[1]"));
});
await new Promise((resolve) => counting.listen(0, "127.0.0.1", resolve));
const aging = new Client(`http://127.0.0.1:${counting.address().port}`, {
  connectionAgeMs: 200,
  tryTimeoutMs: 100,
});
for (let round = 0; round < 2; round++) {
  await aging.resolve(token);
  await new Promise((resolve) => setTimeout(resolve, 250));
}
await aging.resolve(token);
ok(ports.size >= 2, `${ports.size} connections`);
await aging.close();
for (const server of [silent, dying, counting]) {
  server.closeAllConnections();
  server.close();
}
console.log("ok");
