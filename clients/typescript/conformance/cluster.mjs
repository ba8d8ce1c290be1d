// The client on the nodes of a cluster, of which the one that it uses is killed: `cluster.mjs URL URL URL`.
//
// Prints `begun` and the URL of this node after the first tokens, and `ok` at the end: each token was consumed
// once, and its payload came back.

import { ok, rejects } from "node:assert/strict";

import { Client, NotFound, OutcomeUnknown } from "jeton-client";

const TOKENS = 300;
const ALREADY_BEGUN = 50;

// The connections stay those of the client: only the URL is looked at.
const { fetch } = globalThis;
let used;
globalThis.fetch = (url, init) => {
  used = new URL(url).origin;
  return fetch(url, init);
};

// An election of the servers takes longer than the calls of a healthy cluster.
const jeton = new Client(process.argv.slice(2), { deadlineMs: 60_000 });

/** Until the outcome is known. */
async function consume(token) {
  let key;
  for (;;) {
    try {
      return await jeton.consume(token, { key });
    } catch (error) {
      if (!(error instanceof OutcomeUnknown)) throw error;
      ok(error.key);
      key = error.key;
    }
  }
}

for (let number = 0; number < TOKENS; number++) {
  const { token } = await jeton.issue(number);
  const payload = await jeton.resolve(token, { read: { atLeast: jeton.position } });
  ok(payload.json() === number);
  ok((await consume(token)).json() === number);
  await rejects(jeton.consume(token), NotFound);
  if (number === ALREADY_BEGUN) console.log(`begun ${used}`);
}
await jeton.close();
console.log("ok");
