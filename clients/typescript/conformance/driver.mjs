// The driver of the TypeScript client: see clients/conformance/README.md.

import { createInterface } from "node:readline";
import { inspect } from "node:util";

import { ApiError, Client, GatewayError, JetonError } from "jeton-client";

const KINDS = { GatewayError: "gateway", MalformedToken: "malformed", InvalidArgument: "malformed" };
KINDS.ClientClosed = "closed";
KINDS.DeadlineExceeded = "deadline";

const OPTIONS = {
  key: "key",
  key_file: "keyFile",
  deadline_ms: "deadlineMs",
  try_ms: "tryTimeoutMs",
  coalesce: "coalesce",
  answer_max_bytes: "answerMaxBytes",
  connections_max: "connectionsMax",
  connection_age_ms: "connectionAgeMs",
};

const runtime = globalThis.Deno ? "deno" : globalThis.Bun ? "bun" : "node";
// Bun's connections cannot be ended from outside.
const SKIP = { node: [], deno: [], bun: ["connection_age"] };

const clients = new Map();
const calls = new Map();

class Cancelled extends Error {}

function reference(given) {
  if (given === undefined) return undefined;
  return { orderNumber: given.order_number, createdAt: given.created_at, amount: given.amount };
}

function target(given) {
  if (given.reference !== undefined) return { reference: reference(given.reference) };
  return given.name === undefined ? given.token : { name: given.name };
}

function item(command) {
  const { ttl, uses, peek } = command;
  const payload = new TextEncoder().encode(command.payload);
  return { payload, ttl, uses, peek, reference: reference(command.reference) };
}

function raw(payload) {
  return payload && Buffer.from(payload.raw).toString("base64");
}

function issued(result) {
  if (result instanceof ApiError) return { error: described(result) };
  return { token: result.token, expires_at: result.expiresAt.toISOString() };
}

function described(error) {
  if (error instanceof Cancelled) return { kind: "cancelled", text: "" };
  const snake = error.name.replace(/(?<!^)(?=[A-Z])/g, "_").toLowerCase();
  const { status, field, key, retryAfterMs, results } = error;
  return {
    kind: KINDS[error.name] ?? snake,
    // As a user sees it: with all that a log would print.
    text: `${error.message}\n${inspect(error)}`,
    status,
    field,
    key,
    retry_after_ms: retryAfterMs,
    raws: results?.map(raw),
  };
}

const operations = {
  issue: async (client, command, options) => {
    const { payload, ...rest } = item(command);
    return issued(await client.issue(payload, { ...rest, ...options }));
  },
  issue_batch: async (client, command, options) => ({
    results: (await client.issueBatch(command.items.map(item), options)).map(issued),
  }),
  put: async (client, command, options) => {
    const { payload, ttl, uses, peek } = item(command);
    const ifAbsent = command.if_absent;
    const expiresAt = await client.put(command.name, payload, { ...options, ttl, uses, peek, ifAbsent });
    return { expires_at: expiresAt.toISOString() };
  },
  resolve: async (client, command, options) => ({
    raw: raw(await client.resolve(target(command.target), options)),
  }),
  resolve_many: async (client, command, options) => ({
    raws: (await client.resolveMany(command.targets.map(target), options)).map(raw),
  }),
  consume: async (client, command, options) => ({
    raw: raw(await client.consume(target(command.target), options)),
  }),
  consume_many: async (client, command, options) => ({
    raws: (await client.consumeMany(command.targets.map(target), options)).map(raw),
  }),
  status: async (client, command, options) => ({
    statuses: (await client.status(command.targets.map(target), options)).map(
      (one) => one && { expires_at: one.expiresAt.toISOString(), uses_left: one.usesLeft, size: one.size },
    ),
  }),
  extend: async (client, command, options) => ({
    expires_at: (await client.extend(command.targets.map(target), command.ttl, options)).map(
      (at) => at && at.toISOString(),
    ),
  }),
  revoke: async (client, command, options) => {
    await client.revoke(command.targets.map(target), options);
    return {};
  },
};

async function perform(command) {
  switch (command.do) {
    case "describe":
      return { client: `typescript-${runtime}`, skip: SKIP[runtime], has: ["put", "clusters"] };
    case "open": {
      const { urls, ...given } = command.options;
      const options = Object.fromEntries(
        Object.entries(given).map(([name, value]) => [OPTIONS[name], value]),
      );
      clients.set(command.client, new Client(urls, options));
      return {};
    }
    case "close":
      await clients.get(command.client).close();
      clients.delete(command.client);
      return {};
    case "inspect": {
      const client = clients.get(command.client);
      return {
        text: `${client} ${inspect(client, { depth: 10, showHidden: true })} ${JSON.stringify(client)}`,
      };
    }
    case "cancel":
      calls.get(command.call)?.abort(new Cancelled());
      return {};
    default:
      return await operate(command);
  }
}

async function operate(command) {
  const controller = new AbortController();
  calls.set(command.id, controller);
  const read = typeof command.read === "object" ? { atLeast: command.read.at_least } : command.read;
  const options = { signal: controller.signal, read, key: command.key };
  try {
    return await operations[command.do](clients.get(command.client), command, options);
  } finally {
    calls.delete(command.id);
  }
}

async function answer(command) {
  let result;
  try {
    result = { ok: await perform(command) };
  } catch (error) {
    if (!(error instanceof JetonError) && !(error instanceof Cancelled)) throw error;
    result = { error: described(error) };
  }
  process.stdout.write(`${JSON.stringify({ id: command.id, ...result })}\n`);
}

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  void answer(JSON.parse(line));
}
