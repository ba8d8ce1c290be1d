// What a client holds in memory has an end: answers, and calls that have ended.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { AnswerTooLarge, Client, type ClientOptions } from "jeton-client";
import { fake, json, ones, problem, settled, TOKEN, token } from "./support.js";

function client(fetch: ReturnType<typeof fake>["fetch"], options: ClientOptions = {}): Client {
  return new Client("http://a.example", { fetch, ...options });
}

test("p8 an answer without a length is bounded too", async () => {
  let pulled = 0;
  const { fetch, sent } = fake(() => {
    const pull = (controller: ReadableStreamDefaultController): void => {
      pulled += 1000;
      controller.enqueue(new Uint8Array(1000));
    };
    return new Response(new ReadableStream({ pull }));
  });
  await assert.rejects(client(fetch, { answerMaxBytes: 100_000 }).status([TOKEN]), AnswerTooLarge);
  assert.equal(sent.length, 1);
  await settled();
  assert.ok(pulled < 200_000, `${pulled} bytes were taken`);
  const lying = fake(() => json("x".repeat(100), { "content-length": "1" }));
  await assert.rejects(client(lying.fetch, { answerMaxBytes: 50 }).status([TOKEN]), AnswerTooLarge);
  const honest = fake(() => json(1, { "content-length": "51" }));
  await assert.rejects(client(honest.fetch, { answerMaxBytes: 50 }).status([TOKEN]), AnswerTooLarge);
});

test("p8 a length beside Transfer-Encoding or Content-Encoding bounds nothing", async () => {
  for (const name of ["transfer-encoding", "content-encoding"]) {
    let left = 1000;
    const pull = (controller: ReadableStreamDefaultController): void => {
      controller.enqueue(new Uint8Array(1000));
      if (--left === 0) controller.close();
    };
    const headers = { "content-length": "1", [name]: "chunked" };
    const { fetch } = fake(() => new Response(new ReadableStream({ pull }), { headers }));
    await assert.rejects(client(fetch, { answerMaxBytes: 100_000 }).status([TOKEN]), AnswerTooLarge);
    await settled();
    assert.ok(left > 800, `${name}: ${1000 - left} kB were taken`);
  }
});

test("p8 a key file that cannot be read for ever lasts no longer than the call", async () => {
  const folder = mkdtempSync(join(tmpdir(), "jeton-"));
  const keyFile = join(folder, "key");
  writeFileSync(keyFile, "old");
  const { fetch, sent } = fake(() => problem(401));
  const jeton = client(fetch, { keyFile, deadlineMs: 300 });
  rmSync(keyFile);
  execFileSync("mkfifo", [keyFile]);
  const late = setTimeout(() => writeFileSync(keyFile, "new"), 20_000);
  // One read for all of them: each takes a thread that the whole process shares.
  const calls = Array.from({ length: 10 }, () => jeton.status([TOKEN]));
  for (const call of await Promise.allSettled(calls)) {
    assert.ok(call.status === "rejected" && (call.reason as { status?: unknown }).status === 401);
  }
  assert.equal(sent.length, 10);
  await readFile(fileURLToPath(import.meta.url));
  clearTimeout(late);
  // Lets the reader go.
  writeFileSync(keyFile, "old");
  await settled();
  rmSync(folder, { recursive: true });
});

test("p8 a call that has ended is not kept behind one that waits", async () => {
  setFlagsFromString("--expose-gc");
  const collectGarbage = runInNewContext("gc") as () => void;
  const { fetch } = fake((one) => (one.tokens.includes(TOKEN) ? "silence" : ones(one)));
  const jeton = client(fetch);
  const waiting = jeton.resolve(TOKEN);
  const payloads: WeakRef<object>[] = [];
  for (let n = 0; n < 100; n++) payloads.push(new WeakRef(await jeton.resolve(token(n))));
  await settled();
  collectGarbage();
  const kept = payloads.filter((payload) => payload.deref() !== undefined).length;
  assert.ok(kept < 10, `${kept} of 100 payloads are kept`);
  await Promise.all([assert.rejects(waiting), jeton.close()]);
});
