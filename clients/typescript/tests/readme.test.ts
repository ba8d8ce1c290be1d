// The examples of README.md compile, and run in their order against a server.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { test } from "node:test";

import { Server } from "./support.js";

const URL_OF_EXAMPLES = "http://127.0.0.1:7450";
const FOLDER = "build/readme";
const EXAMPLES = [...readFileSync("README.md", "utf8").matchAll(/```ts\n(.*?)```/gs)].map(
  (found) => found[1] ?? "",
);

test("the examples of the README compile and run", async () => {
  assert.ok(EXAMPLES.length >= 7);
  const server = await Server.start();
  try {
    rmSync(FOLDER, { recursive: true, force: true });
    mkdirSync(FOLDER, { recursive: true });
    writeFileSync("jeton.key", "a-key-that-a-server-without-keys-ignores\n");
    const files = EXAMPLES.map((example, at) => {
      const path = `${FOLDER}/example${at + 1}.ts`;
      writeFileSync(path, example.replaceAll(URL_OF_EXAMPLES, server.url));
      return path;
    });
    const compilerOptions = { rootDir: ".", outDir: ".", noEmit: false, skipLibCheck: true };
    const config = { extends: "../../tests/tsconfig.json", compilerOptions, include: ["*.ts"], exclude: [] };
    writeFileSync(`${FOLDER}/tsconfig.json`, JSON.stringify(config));
    execFileSync("node_modules/.bin/tsc", ["--project", FOLDER], { stdio: "pipe" });
    for (const [at, file] of files.entries()) {
      // It has no certificates: the test of TLS has.
      if (EXAMPLES[at]?.includes("undici") === true) continue;
      const printed = execFileSync(process.execPath, [file.replace(".ts", ".js")], { stdio: "pipe" });
      assert.ok(!printed.includes("Assertion failed"), `example ${at + 1}`);
    }
  } finally {
    server.stop();
    rmSync("jeton.key", { force: true });
  }
});

test("the types need no setting of the program that uses them", () => {
  const folder = "build/user";
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    `${folder}/user.ts`,
    'import { Client } from "jeton-client";\nexport const jeton = new Client("http://a.example", { fetch });\n',
  );
  const compilerOptions = {
    module: "nodenext",
    target: "es2022",
    lib: ["es2022", "dom"],
    types: [],
    strict: true,
    noEmit: true,
  };
  writeFileSync(`${folder}/tsconfig.json`, JSON.stringify({ compilerOptions, include: ["*.ts"] }));
  execFileSync("node_modules/.bin/tsc", ["--project", folder], { stdio: "pipe" });
});
