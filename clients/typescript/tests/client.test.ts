// The client against a `fetch` that answers as a test wants: coalescing, ends, and what they leave behind.

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";

import {
  AnswerTooLarge,
  Client,
  ClientClosed,
  type ClientOptions,
  DeadlineExceeded,
  NoAnswer,
  NotFound,
  NotOneCluster,
  OutcomeUnknown,
} from "jeton-client";
import { Lanes, type Waiter } from "../dist/lanes.js";
import { fake, json, ones, problem, refused, reset, type Sent, settled, TOKEN, token } from "./support.js";

const unhandled: unknown[] = [];
process.on("unhandledRejection", (reason) => unhandled.push(reason));
test.afterEach(async () => {
  await settled();
  assert.deepEqual(unhandled, [], "an unhandled rejection");
});

function client(fetch: ReturnType<typeof fake>["fetch"], options: ClientOptions = {}): Client {
  return new Client("http://a.example", { fetch, ...options });
}

const kinds = (results: PromiseSettledResult<unknown>[]): string[] => [
  ...new Set(results.map((one) => (one.status === "fulfilled" ? "ok" : (one.reason as Error).name))),
];

test("a thousand resolves at once share fourteen requests at most", async () => {
  const { fetch, sent } = fake(ones);
  const jeton = client(fetch);
  await Promise.all(Array.from({ length: 1000 }, (_, n) => jeton.resolve(token(n))));
  assert.ok(sent.length <= 14, String(sent.length));
  assert.ok(sent.every(({ tokens }) => tokens.length <= 100));
  assert.equal(new Set(sent.map(({ headers }) => headers["traceparent"])).size, sent.length);
  assert.ok(
    sent.every(({ headers }) => /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/.test(headers["traceparent"] ?? "")),
  );
});

test("a token asked twice has one place, and each caller its payload", async () => {
  const { fetch, sent } = fake(ones);
  const jeton = client(fetch);
  const found = await jeton.resolveMany([TOKEN, token(1), TOKEN, { name: TOKEN }]);
  assert.deepEqual(
    found.map((payload) => payload?.json()),
    [1, 1, 1, 1],
  );
  assert.deepEqual(sent[0]?.tokens, [TOKEN, token(1), { name: TOKEN }]);
  const many = Array.from({ length: 150 }, (_, n) => token(n));
  assert.equal((await jeton.resolveMany([...many, token(0)])).length, 151);
  assert.deepEqual(
    sent.slice(1).map(({ tokens }) => tokens.length),
    [100, 50],
  );
});

test("a hundred thousand targets gather in linear time", () => {
  const lanes = new Lanes();
  const waiter = (): Waiter => ({ endsAt: 1, settle: () => {} });
  const items = Array.from({ length: 100_000 }, (_, n) => [token(n), waiter()] as const);
  let batches = lanes.add(undefined, undefined, items);
  let count = 0;
  while (batches.length > 0) {
    count += batches.reduce((sum, batch) => sum + batch.length, 0);
    batches = batches.flatMap((batch) => lanes.returned(batch));
  }
  assert.equal(count, 100_000);
});

test("p2 a thousand resolves on a silent server all end when the client is closed", async () => {
  const { fetch } = fake(() => "silence");
  const jeton = client(fetch);
  const calls = Array.from({ length: 1000 }, (_, n) => jeton.resolve(token(n)));
  const many = jeton.resolveMany([token(1), token(2000)]);
  await settled();
  await jeton.close();
  assert.deepEqual(kinds(await Promise.allSettled([...calls, many])), ["ClientClosed"]);
  await assert.rejects(jeton.resolve(TOKEN), ClientClosed);
  await assert.rejects(jeton.issue(1), ClientClosed);
  await jeton.close();
});

test("p2 a change that was sent when the client is closed has an unknown outcome with its key", async () => {
  const { fetch, sent } = fake(() => "silence");
  const jeton = client(fetch, { connectionsMax: 1 });
  const first = jeton.consume(TOKEN);
  const second = jeton.consume(TOKEN);
  await settled();
  await jeton.close();
  await assert.rejects(first, (error) => {
    assert.ok(error instanceof OutcomeUnknown && error.cause instanceof ClientClosed);
    assert.equal(error.key, sent[0]?.headers["idempotency-key"]);
    return true;
  });
  // It waited for the connection: nothing was sent.
  await assert.rejects(second, ClientClosed);
  assert.equal(sent.length, 1);
});

test("a caller that waits in a batch ends at its own deadline, and the batch with it", async () => {
  const { fetch, sent } = fake(() => "silence");
  const jeton = client(fetch, { deadlineMs: 100, tryTimeoutMs: 60_000 });
  const calls = Array.from({ length: 10 }, (_, n) => jeton.resolve(token(n)));
  assert.deepEqual(kinds(await Promise.allSettled(calls)), ["DeadlineExceeded"]);
  await settled();
  // The first ones to end may let the others go for a moment.
  assert.ok(sent.length <= 8);
  assert.ok(sent.every(({ signal }) => signal.aborted));
});

test("the deadline is the call's, whatever the number of its batches", async () => {
  const { fetch } = fake(async (sent) => {
    await new Promise((resolve) => setTimeout(resolve, 60));
    return ones(sent);
  });
  const jeton = client(fetch, { deadlineMs: 150 });
  const many = Array.from({ length: 2000 }, (_, n) => token(n));
  await assert.rejects(jeton.resolveMany(many), DeadlineExceeded);
  assert.equal((await jeton.resolve(TOKEN)).json(), 1);
});

test("a fetch that does not look at its signal does not hold a call", async () => {
  const { fetch } = fake(() => "silence");
  const jeton = client(fetch, { deadlineMs: 80, tryTimeoutMs: 20, coalesce: false });
  await assert.rejects(
    jeton.resolve(TOKEN),
    (error) => error instanceof NoAnswer || error instanceof DeadlineExceeded,
  );
  await assert.rejects(jeton.consume(TOKEN), OutcomeUnknown);
});

test("no listener is left on a signal, and a cancelled call throws its reason", async () => {
  const { fetch, sent } = fake((one, nth) => (nth > 400 ? "silence" : ones(one)));
  const controller = new AbortController();
  const { signal } = controller;
  const jeton = client(fetch);
  for (let n = 0; n < 100; n++) {
    await jeton.resolve(token(n), { signal });
    await jeton.consume(token(n), { signal });
    await jeton.resolveMany([token(n), token(n + 1)], { signal });
    await jeton.revoke([], { signal }).catch(() => {});
  }
  assert.equal(getEventListeners(signal, "abort").length, 0);
  const calls = [jeton.resolve(TOKEN, { signal }), jeton.consume(TOKEN, { signal })];
  await settled();
  assert.equal(getEventListeners(signal, "abort").length, 2);
  const reason = new Error("the page was left");
  controller.abort(reason);
  for (const call of calls) await assert.rejects(call, reason);
  assert.equal(getEventListeners(signal, "abort").length, 0);
  await settled();
  assert.ok(sent.slice(-2).every((one) => one.signal.aborted));
  const before = sent.length;
  await assert.rejects(jeton.resolve(TOKEN, { signal }), reason);
  assert.equal(sent.length, before);
});

test("cancelled batches do not use up the lane", async () => {
  let isSilent = true;
  const { fetch } = fake((sent) => (isSilent ? "silence" : ones(sent)));
  const jeton = client(fetch);
  for (let round = 0; round < 10; round++) {
    const controller = new AbortController();
    const calls = Array.from({ length: 5 }, (_, n) => jeton.resolve(token(n), controller));
    if (round % 2 === 0) await settled();
    controller.abort();
    assert.deepEqual(kinds(await Promise.allSettled(calls)), ["AbortError"]);
  }
  isSilent = false;
  assert.equal((await jeton.resolve(TOKEN)).json(), 1);
});

test("a cancelled call disturbs nobody who asks for the same token", async () => {
  let release = (): void => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  const { fetch, sent } = fake(async (one) => (await held, ones(one)));
  const jeton = client(fetch);
  const out = [0, 1, 2, 3].map((n) => jeton.resolve(token(n)));
  const controller = new AbortController();
  const cancelled = jeton.resolve(TOKEN, controller);
  const other = jeton.resolve(TOKEN);
  controller.abort();
  await assert.rejects(cancelled, { name: "AbortError" });
  release();
  await Promise.all([...out, other]);
  assert.equal(sent.length, 5);
});

test("p8 payloads that are too long together are found in halves", async () => {
  const big = "x".repeat(400);
  const { fetch, sent } = fake(({ tokens }) => json(tokens.map(() => big)));
  const jeton = client(fetch, { answerMaxBytes: 1000 });
  const found = await jeton.resolveMany(Array.from({ length: 8 }, (_, n) => token(n)));
  assert.ok(found.every((payload) => payload?.json() === big));
  assert.deepEqual(
    sent.map(({ tokens }) => tokens.length),
    [8, 4, 2, 2, 4, 2, 2],
  );
  const small = client(fetch, { answerMaxBytes: 100 });
  await assert.rejects(small.resolve(TOKEN), AnswerTooLarge);
});

test("a lost answer to a change: a gateway's 5xx is one, whatever its number", async () => {
  for (const status of [408, 500, 502, 520, 524, 599]) {
    const { fetch } = fake((_sent, nth) => (nth === 1 ? json({}, {}, status) : problem(403)));
    const unknown = await client(fetch)
      .consume(TOKEN)
      .catch((error: unknown) => error);
    assert.ok(unknown instanceof OutcomeUnknown && unknown.key !== undefined, String(status));
  }
  const { fetch } = fake(() => json({}, {}, 403));
  await assert.rejects(client(fetch).consume(TOKEN), { name: "GatewayError", status: 403 });
});

test("a date in Retry-After that no calendar has does not lose the key", async () => {
  const headers = { "retry-after": "Fri, 31 Dec 9999999999 23:59:59 GMT" };
  const { fetch, sent } = fake(() => json({}, headers, 503));
  const unknown = await client(fetch)
    .consume(TOKEN)
    .catch((error: unknown) => error);
  assert.ok(unknown instanceof OutcomeUnknown);
  assert.equal(unknown.key, sent[0]?.headers["idempotency-key"]);
  assert.equal(sent.length, 3);
});

// --- Several URLs

const TWO = ["http://a.example", "http://b.example"];

/** A node's answer to the probe; undefined to another request. */
function probed({ headers }: Sent, cluster = "1"): Response | undefined {
  if (headers["jeton-read"] !== "probe") return undefined;
  return problem(400, { field: "Jeton-Read" }, { "jeton-cluster": cluster });
}

const isOf = (one: Sent, url: string | undefined): boolean => one.url.startsWith(`${url}/`);

test("a bad node is left, also by a call that may not be repeated", async () => {
  for (const bad of [refused, reset, () => json({}, { "retry-after": "3600" }, 503)]) {
    let isBad = false;
    let first: string | undefined;
    const { fetch, sent } = fake((one) => {
      first ??= new URL(one.url).origin;
      return isBad && isOf(one, first) ? bad() : (probed(one) ?? ones(one));
    });
    const jeton = new Client(TWO, { fetch });
    await jeton.resolve(TOKEN);
    isBad = true;
    await jeton.resolve(TOKEN).catch(() => {});
    const before = sent.length;
    await jeton.resolve(TOKEN);
    assert.deepEqual(
      sent.slice(before).map((one) => isOf(one, first)),
      [false],
    );
  }
});

test("all nodes are asked before the first call, and once", async () => {
  const { fetch, sent } = fake((one) => probed(one) ?? ones(one));
  const jeton = new Client([...TWO, "http://c.example"], { fetch });
  for (let n = 0; n < 5; n++) await jeton.consume(TOKEN);
  assert.deepEqual(
    sent.map(({ headers }) => headers["jeton-read"] === "probe"),
    [true, true, true, false, false, false, false, false],
  );
  assert.equal(new Set(sent.slice(0, 3).map(({ url }) => url)).size, 3);
});

test("p2 no call goes to nodes of two clusters, however many begin at once", async () => {
  const { fetch, sent } = fake((one) => probed(one, new URL(one.url).hostname) ?? ones(one));
  const jeton = new Client(TWO, { fetch });
  const calls = Array.from({ length: 50 }, (_, n) => [
    jeton.consume(token(n)),
    jeton.resolve(token(n)),
  ]).flat();
  assert.deepEqual(kinds(await Promise.allSettled(calls)), ["NotOneCluster"]);
  await assert.rejects(jeton.consume(TOKEN), /these are of different ones/);
  assert.ok(sent.every(({ headers }) => headers["jeton-read"] === "probe"));
});

test("a node that is down is passed over, and asked before it is used", async () => {
  let down: string | undefined;
  let isDown = true;
  const { fetch, sent } = fake((one) => {
    const origin = new URL(one.url).origin;
    if (down === undefined) down = TWO.find((url) => url !== origin);
    return isDown && isOf(one, down) ? refused() : (probed(one, isOf(one, down) ? "2" : "1") ?? ones(one));
  });
  const jeton = new Client(TWO, { fetch });
  await jeton.consume(TOKEN);
  assert.equal(sent.length, 3);
  // It comes back as a node of another cluster, and is not asked until it is needed.
  isDown = false;
  await jeton.consume(TOKEN);
  assert.equal(sent.length, 4);
});

test("servers that share nothing, and nodes that state no cluster, are refused", async () => {
  const stateless = fake(() => problem(400, { field: "Jeton-Read" }));
  await assert.rejects(new Client(TWO, { fetch: stateless.fetch }).issue(1), /one states no cluster/);
  const alone = fake(ones);
  await assert.rejects(new Client(TWO, { fetch: alone.fetch }).issue(1), /a server here is none/);
  const importing = fake(({ path }) =>
    path === "/v1/names" ? problem(400, { field: "name" }) : problem(403),
  );
  await assert.rejects(new Client(TWO, { fetch: importing.fetch }).put("n", 1), /a server here is none/);
  assert.ok(
    [...stateless.sent, ...alone.sent, ...importing.sent].every(
      (one) => one.headers["jeton-read"] === "probe",
    ),
  );
});

test("p2 a node that is none after a lost answer does not lose the key", async () => {
  let isLost = false;
  const { fetch } = fake((one) => {
    if (one.headers["jeton-read"] === undefined) isLost = true;
    // The other one was down, and comes back as a server alone.
    if (one.headers["jeton-read"] === undefined || (!isLost && isOf(one, other))) return reset();
    return isOf(one, other) ? json([]) : probed(one)!;
  });
  const original = Math.random;
  const [first, other] = TWO;
  Math.random = () => 0;
  const jeton = new Client(TWO, { fetch });
  Math.random = original;
  assert.equal(first, "http://a.example");
  const unknown = await jeton.consume(TOKEN).catch((error: unknown) => error);
  assert.ok(unknown instanceof OutcomeUnknown && unknown.key !== undefined);
  assert.ok(unknown.cause instanceof NotOneCluster);
});

// --- Names

test("p2 a put is not sent again once it may have arrived", async () => {
  const lost = fake(() => reset());
  const unknown = await client(lost.fetch)
    .put("n", 1)
    .catch((error: unknown) => error);
  assert.ok(unknown instanceof OutcomeUnknown && unknown.key === undefined);
  assert.equal(lost.sent.length, 1);
  const unsent = fake((_sent, nth) =>
    nth === 1 ? refused() : json({ expires_at: "2030-01-01T00:00:00.000Z" }),
  );
  const at = await client(unsent.fetch).put({ name: "n" }, { a: 1 }, { ttl: 5, ifAbsent: true });
  assert.equal(at.toISOString(), "2030-01-01T00:00:00.000Z");
  assert.equal(unsent.sent[1]?.body, '{"name":"n","payload":{"a":1},"ttl":5}');
  assert.equal(unsent.sent[1]?.headers["if-none-match"], "*");
  assert.equal(unsent.sent[1]?.headers["idempotency-key"], undefined);
});

test("the position never goes back, and a 404 has one too", async () => {
  const positions = ["1.9", "1.10", "1.2", "2.1", "1.99", "x"];
  const { fetch } = fake((one, nth) => {
    const headers = { "jeton-position": positions[nth - 1] ?? "2.7" };
    return nth === 7
      ? problem(404, {}, headers)
      : json(
          one.tokens.map(() => 1),
          headers,
        );
  });
  const jeton = client(fetch);
  const seen: (string | undefined)[] = [jeton.position];
  for (let n = 0; n < positions.length; n++) {
    await jeton.consume(TOKEN);
    seen.push(jeton.position);
  }
  assert.deepEqual(seen, [undefined, "1.9", "1.10", "1.10", "2.1", "2.1", "2.1"]);
  await assert.rejects(jeton.consume(TOKEN), NotFound);
  assert.equal(jeton.position, "2.7");
});

test("the trace context of the caller goes with its calls", async () => {
  const { fetch, sent } = fake(ones);
  await client(fetch, { traceparent: () => "00-1-2-01" }).consume(TOKEN);
  assert.equal(sent[0]?.headers["traceparent"], "00-1-2-01");
});

test("await using closes a client", async () => {
  const { fetch } = fake(ones);
  let kept: Client;
  {
    await using jeton = client(fetch);
    kept = jeton;
    await jeton.resolve(TOKEN);
  }
  await assert.rejects(kept.resolve(TOKEN), ClientClosed);
});
