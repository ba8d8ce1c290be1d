// What goes in, what comes out, and what is printed.

import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";

import {
  AnswerError,
  Client,
  type ClientOptions,
  InvalidArgument,
  Issued,
  JetonError,
  MalformedToken,
  OutcomeUnknown,
  Payload,
  TooManyRequests,
  Unavailable,
} from "jeton-client";
import { retryAfterMs } from "../dist/http.js";
import { dumps, payloadText, splitArray } from "../dist/json.js";
import { checkTarget, readHeaders } from "../dist/types.js";
import { fake, json, ones, problem, TOKEN } from "./support.js";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const texts = (items: Uint8Array[]): string[] => items.map((item) => new TextDecoder().decode(item));

test("an array is split byte for byte", () => {
  const cases: [string, string[]][] = [
    ["[]", []],
    [" [ ] \n", []],
    ["[1.10]", ["1.10"]],
    ['[ {"a" : [1,2]} , "]," ,\tnull]', ['{"a" : [1,2]}', '"],"', "null"]],
    ['["\\\\","\\"",[[]]]', ['"\\\\"', '"\\""', "[[]]"]],
    ['["€ 😀",{}]', ['"€ 😀"', "{}"]],
  ];
  for (const [text, wanted] of cases) assert.deepEqual(texts(splitArray(bytes(text))), wanted);
});

test("what is no array is not split", () => {
  const cases = [
    "",
    "[",
    "]",
    "{}",
    "[1",
    "1]",
    "[1,]",
    "[,1]",
    "[,]",
    "[[1]",
    "[1]]",
    '["]',
    '["\\"]',
    "[]1]",
    "[1][",
  ];
  for (const text of cases) assert.throws(() => splitArray(bytes(text)), SyntaxError, text);
});

test("an item is a copy: a payload does not keep the whole answer", () => {
  const answer = bytes(`["${"x".repeat(10_000)}",1]`);
  assert.equal(splitArray(answer)[1]?.buffer.byteLength, 1);
});

test("p9 a value that is none of JSON is refused, and its error does not show it", () => {
  const cycle: Record<string, unknown> = { secret: 1 };
  cycle["secret"] = cycle;
  const values = [
    undefined,
    NaN,
    { secret: Infinity },
    1n,
    () => 1,
    cycle,
    new Map(),
    new Set(),
    [new Uint8Array(1)],
  ];
  for (const value of [...values, { secret: Buffer.from("x") }, new Date(NaN), { at: new Date(NaN) }]) {
    assert.throws(
      () => payloadText(value),
      (error) =>
        error instanceof InvalidArgument &&
        /^payload: /.test(error.message) &&
        !/secret/.test(inspect(error)),
    );
  }
  assert.throws(() => payloadText(null), /payload: must not be null/);
  assert.throws(() => payloadText(bytes(" null ")), /payload: must not be null/);
});

test("bytes are one JSON value, so they cannot end the body that they stand in", () => {
  for (const text of ["", '1,"uses":9', "1}", "\u{feff}1", "{'a':1}", '"\\ud800']) {
    assert.throws(() => payloadText(bytes(text)), InvalidArgument, text);
  }
  assert.throws(() => payloadText(new Uint8Array([0x22, 0xff, 0x22])), InvalidArgument);
  assert.deepEqual(payloadText(bytes(' {"a": 1.10} ')), bytes(' {"a": 1.10} '));
  assert.deepEqual(payloadText(new Payload(bytes("1.10"))), bytes("1.10"));
  assert.equal(dumps({ at: new Date(0), gone: undefined }, "x"), '{"at":"1970-01-01T00:00:00.000Z"}');
});

test("json() reads a payload, and its text keeps 1.10", () => {
  const payload = new Payload(bytes('{"pay": 1.10}'));
  assert.deepEqual(payload.json(), { pay: 1.1 });
  assert.equal(payload.json<{ pay: number }>().pay, 1.1);
  assert.equal(payload.text(), '{"pay": 1.10}');
  assert.throws(() => new Payload(bytes("no")).json(), SyntaxError);
});

test("p9 nothing that is printed shows a key, a token or a payload", () => {
  const { fetch } = fake(ones);
  const things = [
    new Client("http://a.example", { key: "secret", fetch }),
    new Payload(bytes('"secret"')),
    new Issued("secret", new Date(0)),
  ];
  for (const thing of things) {
    const printed = `${thing} ${inspect(thing, { showHidden: true, depth: 9 })} ${JSON.stringify(thing)}`;
    assert.doesNotMatch(printed, /secret/);
    assert.match(printed, /Client of http:\/\/a\.example|Payload of 8 bytes|Issued, expires at 1970/);
  }
});

test("Retry-After is seconds or a date, and nothing else", () => {
  const today = Date.UTC(1994, 10, 6, 8, 49, 30);
  const cases: [string | null, number | undefined][] = [
    [null, undefined],
    ["", undefined],
    ["7", 7000],
    [" 0 ", 0],
    ["1".repeat(400), Number("1".repeat(12)) * 1000],
    ["-1", undefined],
    ["1.5", undefined],
    ["soon", undefined],
    ["Sun, 06 Nov 1994 08:49:37 GMT", 7000],
    ["Sunday, 06-Nov-94 08:49:37 GMT", 7000],
    ["Sun Nov  6 08:49:37 1994", 7000],
    ["Sun, 06 Nov 1994 08:49:00 GMT", 0],
    ["Sun, 99 Nov 1994 08:49:37 GMT", undefined],
    ["Sun, 06 Xyz 9999 08:49:37 GMT", undefined],
  ];
  for (const [text, wanted] of cases) assert.equal(retryAfterMs(text, today), wanted, String(text));
});

test("targets are tokens, references and names", () => {
  assert.equal(checkTarget(TOKEN), TOKEN);
  assert.deepEqual(checkTarget({ name: "é" }), { name: "é" });
  const reference = { orderNumber: "1", createdAt: new Date(0), amount: 12n };
  const members = { order_number: "1", created_at: "1970-01-01T00:00:00.000Z", amount: "12" };
  assert.deepEqual(checkTarget({ reference }), { reference: members });
  const wrong: unknown[] = [
    "short",
    `${TOKEN}\n`,
    1,
    null,
    undefined,
    {},
    { name: "" },
    { name: "é".repeat(257) },
    { name: "\ud800" },
    { name: 1 },
    { name: "a", reference: {} },
    { reference: null },
    { reference: {} },
    { reference: { orderNumber: "a\n" } },
    { reference: { orderNumber: "x".repeat(129) } },
    { reference: { createdAt: new Date(NaN) } },
    { reference: { createdAt: 1 } },
    { reference: { amount: 0.1 } },
    { reference: { amount: 2 ** 53 } },
    { reference: { amount: "1e3" } },
    { reference: { amount: "1".repeat(39) } },
  ];
  for (const target of wrong)
    assert.throws(() => checkTarget(target as string), MalformedToken, inspect(target));
});

test("a read level is a header", () => {
  assert.deepEqual(readHeaders(undefined), {});
  assert.deepEqual(readHeaders({ atLeast: "1.7" }), { "jeton-at-least": "1.7" });
  for (const read of [
    "",
    "LINEAR",
    { atLeast: "" },
    { atLeast: "a\r\nb" },
    { atLeast: "1".repeat(65) },
    null,
  ]) {
    assert.throws(() => readHeaders(read as "local"), InvalidArgument);
  }
});

test("settings out of their limits are refused by their name", () => {
  const wrong: [unknown, object, RegExp][] = [
    [[], {}, /^urls: at least one/],
    ["", {}, /^urls: not a URL/],
    ["http://a\u0000b", {}, /^urls: /],
    ["ftp://a", {}, /^urls: must be http/],
    ["http://u:secret@a", {}, /^urls: must not contain a user/],
    ["http://a/b", {}, /^urls: must have no path/],
    ["http://a?secret", {}, /^urls: must have no path/],
    [["http://a", "http://A/"], {}, /^urls: one is given twice/],
    ["http://a", { deadlineMs: 0 }, /^deadlineMs: must be a whole number from 1 to 2147483647$/],
    ["http://a", { tryTimeoutMs: 2 ** 31 }, /^tryTimeoutMs: /],
    ["http://a", { connectionsMax: 1.5 }, /^connectionsMax: /],
    ["http://a", { connectionAgeMs: 300_001 }, /^connectionAgeMs: must be .* to 300000$/],
    ["http://a", { answerMaxBytes: "1" }, /^answerMaxBytes: /],
    ["http://a", { timeout: 5 }, /^timeout: there is no such option/],
    ["http://a", { key: "secret", keyFile: "b" }, /^key and keyFile: give one/],
    ["http://a", { key: "" }, /^key: must be a key/],
    ["http://a", { key: "sec\nret" }, /^key: must be a key/],
    ["http://a", { keyFile: "/nonexistent/secret" }, /^keyFile: cannot be read \(ENOENT\)/],
    ["http://a", { fetch: 1 }, /^fetch: must be a function/],
  ];
  for (const [urls, options, message] of wrong) {
    assert.throws(
      () => new Client(urls as string, options as ClientOptions),
      (error) =>
        error instanceof InvalidArgument && message.test(error.message) && !/secret/.test(inspect(error)),
      String(message),
    );
  }
});

test("arguments out of their limits are refused by their name, and nothing is sent", async () => {
  const { fetch, sent } = fake(ones);
  const client = new Client("http://a.example", { fetch });
  const any = (value: unknown): never => value as never;
  const wrong: [() => Promise<unknown>, RegExp][] = [
    [() => client.issue(1, { ttl: any(true) }), /^ttl: /],
    [() => client.issue(1, { ttl: NaN }), /^ttl: /],
    [() => client.issue(1, { uses: NaN }), /^uses: /],
    [() => client.issue(1, { key: "" }), /^key: must have 1 to 255/],
    [() => client.issue(1, { key: "k".repeat(256) }), /^key: /],
    [() => client.issue(1, { key: " k" }), /^key: /],
    [() => client.issue(1, { key: "k", reference: { orderNumber: "1" } }), /^key: a token with a reference/],
    [() => client.issueBatch(any("x")), /^items: must be an array/],
    [() => client.issueBatch([any(null)]), /^items: each must be an object/],
    [
      () => client.issueBatch([{ payload: 1 }, { payload: 1, reference: { orderNumber: "1" } }]),
      /^items: all/,
    ],
    [() => client.consumeMany(any(TOKEN)), /^targets: must be an array/],
    [() => client.resolveMany([TOKEN, "x"]), /^token: must be 32/],
    [() => client.resolve(TOKEN, { signal: any({}) }), /^signal: must be an AbortSignal/],
  ];
  for (const [call, message] of wrong) {
    await assert.rejects(
      call,
      (error) => error instanceof InvalidArgument && message.test(error.message),
      String(message),
    );
  }
  assert.equal(sent.length, 0);
});

test("errors have names, classes and fields", async () => {
  const answers = [
    problem(429, { detail: "wait", field: "tokens" }, { "retry-after": "3600" }),
    problem(503, { detail: "no-quorum: x" }, { "retry-after": "3600" }),
    problem(418),
    json({}, { "content-type": "text/html" }, 302),
  ];
  const { fetch } = fake((_sent, nth) => answers[nth - 1] as Response);
  const client = new Client("http://a.example", { fetch });
  const next = async (): Promise<unknown> => await client.status([TOKEN]).catch((error: unknown) => error);
  const many = (await next()) as TooManyRequests;
  assert.ok(many instanceof TooManyRequests && many instanceof AnswerError && many instanceof JetonError);
  assert.deepEqual(
    [many.name, many.status, many.field, many.retryAfterMs],
    ["TooManyRequests", 429, "tokens", 3_600_000],
  );
  assert.equal(((await next()) as Unavailable).reason, "no-quorum");
  assert.equal(((await next()) as Error).name, "ApiError");
  assert.match(String(await next()), /^GatewayError: 302: a redirect, which is not followed$/);
  assert.equal(new OutcomeUnknown("x", { key: "k" }).key, "k");
});

test("the types refuse what the API has not", () => {
  const client = new Client("http://a.example");
  // @ts-expect-error A reference is an object.
  void (() => client.resolve({ reference: "536365" }));
  // @ts-expect-error There is no such read level.
  void (() => client.resolve(TOKEN, { read: "eventual" }));
  // @ts-expect-error A reference needs no key, and a read has none.
  void (() => client.resolve(TOKEN, { key: "k" }));
  // @ts-expect-error A payload is bytes.
  void (async () => (await client.resolve(TOKEN)).pay);
});
