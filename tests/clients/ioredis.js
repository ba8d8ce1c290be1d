// ioredis as programs use it: its ready check, pipelines, transactions, bytes.
// ioredis.js HOST PORT [KEY [CA]], with NODE_PATH set to where it is installed
const assert = require("node:assert");
const { readFileSync } = require("node:fs");
const { Redis } = require("ioredis");

async function main() {
  const [host, port, password, ca] = process.argv.slice(2);
  const tls = ca && { ca: readFileSync(ca) };
  const place = { host, port: Number(port), password, tls };
  const redis = new Redis({ ...place, connectionName: "shop" });
  assert.equal(await redis.set("io:a", "1", "EX", 100), "OK");
  assert.equal(await redis.get("io:a"), "1");
  assert.equal(await redis.set("io:a", "2", "EX", 100, "NX"), null);
  assert.equal(await redis.set("io:a", "3", "KEEPTTL", "GET"), "1");
  const ttl = await redis.ttl("io:a");
  assert.ok(ttl > 90 && ttl <= 100, ttl);
  assert.equal(await redis.expire("io:a", 50), 1);
  const bytes = Buffer.from([0, 13, 10, 255]);
  await redis.setex(Buffer.from([1, 255]), 100, bytes);
  assert.deepEqual(await redis.getBuffer(Buffer.from([1, 255])), bytes);
  assert.deepEqual(await redis.mget("io:a", "io:none"), ["3", null]);
  const pipeline = redis.pipeline();
  for (let n = 0; n < 1000; n++) pipeline.set(`io:${n}`, n, "EX", 100).get(`io:${n}`);
  const answers = await pipeline.exec();
  assert.equal(answers.length, 2000);
  answers.forEach(([error, answer], n) => {
    assert.equal(error, null);
    assert.equal(answer, n % 2 ? String((n - 1) / 2) : "OK");
  });
  const done = await redis.multi().set("io:m", 1, "EX", 100).get("io:m").getdel("io:m").get("io:m").exec();
  assert.deepEqual(done, [[null, "OK"], [null, "1"], [null, "1"], [null, null]]);
  assert.equal(await redis.getdel("io:a"), "3");
  assert.equal(await redis.del("io:0", "io:1", "io:none"), 2);
  assert.equal(await redis.exists("io:2", "io:2"), 2);
  assert.equal(await redis.getex("io:2", "EX", 50), "2");
  const automatic = new Redis({ ...place, enableAutoPipelining: true });
  const all = await Promise.all([...Array(500).keys()].map((n) => automatic.get(`io:${n + 3}`)));
  assert.deepEqual(all, [...Array(500).keys()].map((n) => String(n + 3)));
  await assert.rejects(redis.persist("io:2"), /unknown command/);
  await Promise.all([redis.quit(), automatic.quit()]);
  console.log("ok");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
