// ioredis and node-redis go on after the server was killed and started anew.
// reconnect.js HOST PORT; prints "restart", and goes on at a line of standard input
const assert = require("node:assert");
const readline = require("node:readline/promises");
const { Redis } = require("ioredis");
const { createClient } = require("redis");

const [host, port] = process.argv.slice(2);
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function again() {
  console.log("restart");
  await lines.next();
}

async function main() {
  const io = new Redis({ host, port: Number(port) });
  const node = await createClient({ socket: { host, port: Number(port) } })
    .on("error", () => {})
    .connect();
  io.on("error", () => {});
  assert.equal(await io.set("io:kept", "1", "EX", 1000), "OK");
  await node.setEx("node:kept", 1000, "2");
  await again();
  assert.equal(await io.get("io:kept"), "1");
  assert.equal(await node.get("node:kept"), "2");
  await io.quit();
  await node.close();
  console.log("ok");
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
