// CPU time of the client for each resolve: this client beside node-redis, each with and without batches.
//
//     node resolves.mjs --jeton target/release/jeton [--callers 1000] [--rounds 5] [--seconds 2]
//
// Needs `npm install redis` and redis-server for the other side. Every answer is checked. Reports medians
// over the rounds, in which the sides take turns; CPU time is that of this process alone, so other work on
// the machine changes it little. Does not show latency under load, nor a network.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

import { Client } from "jeton-client";

const PAYLOAD =
  '{"order":"A-17","pay":"139.10","shop":"example","lines":[{"sku":"8441","n":2},{"sku":"1017","n":1}]}';
const TOKENS = 1000;
const REDIS_PORT = 7391;

/** Microseconds of CPU time for each resolve, with so many callers at once, and resolves a second. */
async function measure(one, callers, seconds) {
  let done = 0;
  const endsAt = performance.now() + seconds * 1000;
  const caller = async (number) => {
    while (performance.now() < endsAt) {
      if ((await one(number)) !== PAYLOAD) throw new Error("a wrong payload");
      done++;
    }
  };
  const before = process.cpuUsage();
  await Promise.all(Array.from({ length: callers }, (_, number) => caller(number)));
  const { user, system } = process.cpuUsage(before);
  return (user + system) / done;
}

async function serve(program, folder) {
  const flags = "serve --memory-only --workers 1 --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0";
  const server = spawn(program, flags.split(" "), { cwd: folder, stdio: ["ignore", "pipe", "ignore"] });
  for await (const line of createInterface({ input: server.stdout })) {
    const url = /data=(http:\S+)/.exec(line)?.[1];
    if (url !== undefined) return { url, server };
  }
  throw new Error("the server did not start");
}

/** Adds node-redis, whose commands of one turn of the loop go in one write, and one command at a time. */
async function redisSides(sides, tokens, callers, folder) {
  let redis;
  try {
    redis = await import("redis");
  } catch {
    console.log("NOT RUN: node-redis is not installed");
    return [];
  }
  const flags = ["--port", String(REDIS_PORT), "--bind", "127.0.0.1", "--save", ""];
  const server = spawn("redis-server", flags, { cwd: folder, stdio: "ignore" });
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const client = await redis.createClient({ url: `redis://127.0.0.1:${REDIS_PORT}` }).connect();
  for (const token of tokens) await client.set(token, PAYLOAD);
  const get = (number) => client.get(tokens[number % TOKENS]);
  sides.push(["node-redis, pipelined", get, callers]);
  // Without pipelining a connection has one command under way: a hundred of them for all callers.
  const pool = await redis
    .createClientPool({ url: `redis://127.0.0.1:${REDIS_PORT}` }, { minimum: 100, maximum: 100 })
    .connect();
  sides.push([
    "node-redis, a pool of 100",
    (number) => pool.execute((one) => one.get(tokens[number % TOKENS])),
    callers,
  ]);
  sides.push(["node-redis, one caller", get, 1]);
  return [() => client.destroy(), () => pool.destroy(), () => server.kill()];
}

const options = { jeton: { type: "string" }, callers: { type: "string" }, rounds: { type: "string" } };
const { values } = parseArgs({ options: { ...options, seconds: { type: "string" } } });
const callers = Number(values.callers ?? 1000);
const folder = mkdtempSync(join(tmpdir(), "jeton-bench-"));
const { url, server } = await serve(values.jeton, folder);
const coalescing = new Client(url);
const single = new Client(url, { coalesce: false });
const bytes = new TextEncoder().encode(PAYLOAD);
const issue = async () => (await coalescing.issue(bytes, { ttl: "1h" })).token;
const tokens = await Promise.all(Array.from({ length: TOKENS }, issue));
const resolves = (client) => async (number) => (await client.resolve(tokens[number % TOKENS])).text();
const sides = [
  ["jeton-client", resolves(coalescing), callers],
  ["jeton-client, coalesce: false", resolves(single), callers],
  ["jeton-client, one caller", resolves(coalescing), 1],
  ["jeton-client, one caller, coalesce: false", resolves(single), 1],
];
const ends = await redisSides(sides, tokens, callers, folder);
const results = new Map(sides.map(([name]) => [name, []]));
for (let round = 0; round <= Number(values.rounds ?? 5); round++) {
  for (const [name, one, count] of sides) {
    const micros = await measure(one, count, Number(values.seconds ?? 2));
    // The first round warms up.
    if (round > 0) results.get(name).push(micros);
  }
}
for (const [name, micros] of results) {
  micros.sort((a, b) => a - b);
  const median = micros[Math.floor(micros.length / 2)];
  const perSecond = Math.round(1e6 / median).toLocaleString("en");
  const range = `${micros[0].toFixed(1)} to ${micros.at(-1).toFixed(1)}`;
  console.log(
    `${name.padEnd(42)} ${median.toFixed(1).padStart(8)} µs of CPU (${range}), ${perSecond} a second and core`,
  );
}
await coalescing.close();
await single.close();
for (const end of ends) end();
server.kill();
rmSync(folder, { recursive: true, force: true });
