// node-redis as programs use it: RESP2 and RESP3, transactions, a pool, bytes.
// node_redis.js HOST PORT [KEY [CA]], with NODE_PATH set to where it is installed
const assert = require("node:assert");
const { readFileSync } = require("node:fs");
const { createClient, createClientPool, RESP_TYPES } = require("redis");

const [host, port, password, ca] = process.argv.slice(2);
const tls = ca ? { tls: true, ca: readFileSync(ca) } : {};
const options = { socket: { host, port: Number(port), ...tls }, password, name: "shop" };

async function use(RESP) {
  const key = (name) => `node:${RESP}:${name}`;
  const client = await createClient({ ...options, RESP }).connect();
  assert.equal(await client.ping(), "PONG");
  assert.equal(await client.set(key("a"), "1", { expiration: { type: "EX", value: 100 } }), "OK");
  assert.equal(await client.get(key("a")), "1");
  assert.equal(await client.set(key("a"), "2", { condition: "NX" }), null);
  const kept = { expiration: "KEEPTTL", GET: true };
  assert.equal(await client.set(key("a"), "3", kept), "1");
  const ttl = await client.ttl(key("a"));
  assert.ok(ttl > 90 && ttl <= 100, ttl);
  assert.equal(await client.expire(key("a"), 50, "LT"), 1);
  assert.equal(await client.getEx(key("a"), { type: "EX", value: 60 }), "3");
  assert.deepEqual(await client.mGet([key("a"), key("none")]), ["3", null]);
  const bytes = Buffer.from([0, 13, 10, 255]);
  const binary = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
  await client.setEx(key("b"), 100, bytes);
  assert.deepEqual(await binary.get(key("b")), bytes);
  const at = [...Array(1000).keys()];
  await Promise.all(at.map((n) => client.setEx(key(n), 100, String(n))));
  assert.deepEqual(await Promise.all(at.map((n) => client.get(key(n)))), at.map(String));
  const done = await client.multi().setEx(key("m"), 100, "1").get(key("m")).getDel(key("m")).get(key("m")).exec();
  assert.deepEqual(done, ["OK", "1", "1", null]);
  assert.equal(await client.getDel(key("a")), "3");
  assert.equal(await client.del([key(0), key(1), key("none")]), 2);
  assert.equal(await client.exists([key(2), key(2)]), 2);
  await assert.rejects(client.persist(key(2)), /unknown command/);
  await client.close();
}

async function main() {
  await use(2);
  await use(3);
  const pool = await createClientPool(options, { maximum: 8 }).connect();
  const at = [...Array(100).keys()];
  await Promise.all(at.map((n) => pool.setEx(`node:pool:${n}`, 100, String(n))));
  assert.deepEqual(await Promise.all(at.map((n) => pool.get(`node:pool:${n}`))), at.map(String));
  await pool.close();
  console.log("ok");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
