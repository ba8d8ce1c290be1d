// The page of the admin listener in a real browser: BROWSER URL KEY PID. Prints ok.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(process.env.NODE_PATH + "/");
const puppeteer = require("puppeteer-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const [executablePath, url, key, pid] = process.argv.slice(2);
const shots = process.env.PAGE_SHOTS;

const browser = await puppeteer.launch({ executablePath, args: ["--no-sandbox"] });
const text = (page, id) => page.$eval(id, (element) => element.textContent);
const shown = (page, id) => page.waitForSelector(id, { visible: true, timeout: 60_000 });

async function looks(page, name) {
  // Its own world may run a script that the policy of the page does not allow.
  const found = await page.mainFrame().isolatedRealm().evaluate(`${axe}; axe.run(document, { resultTypes: ["violations"] })`);
  const serious = found.violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
  assert.deepEqual(serious.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]), [], name);
  const { wide, room } = await page.evaluate(() => ({ wide: document.documentElement.scrollWidth, room: innerWidth }));
  assert.ok(wide <= room, `${name}: ${wide} pixels in ${room}`);
  if (shots) await page.screenshot({ path: `${shots}/${name}.png`, fullPage: true });
}

const page = await browser.newPage();
const mistakes = [];
page.on("console", (message) => message.type() === "error" && mistakes.push(message.text()));
page.on("pageerror", (error) => mistakes.push(String(error)));
await page.goto(url);
await shown(page, "#entry");
await page.type("#key", "wrong");
await page.click("#entry button");
await page.waitForFunction(() => document.querySelector("#refusal").textContent.includes("not accepted"));
await looks(page, "refused");
await page.type("#key", key);
await page.click("#entry button");
await shown(page, "#main");
assert.equal(await text(page, "#state"), "Ready");
assert.equal(await page.$eval("#key", (input) => input.value), "", "the key does not stay in the form");
const kept = await page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie]);
assert.deepEqual(kept, [0, 0, ""]);
// A rate needs two readings.
await page.waitForFunction(() => document.querySelector("#charts .value").textContent !== "–", { timeout: 60_000 });
for (const scheme of ["light", "dark"]) {
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  for (const width of [390, 1280]) {
    await page.setViewport({ width, height: 900 });
    await looks(page, `${scheme}-${width}`);
  }
}
// Refused requests are no mistake of the page: the browser tells of them.
assert.deepEqual(mistakes.filter((text) => !text.includes("401")), []);

// A line is drawn within its canvas, also behind a reading without a value.
const isDrawn = await page.evaluate(() => {
  const canvas = document.querySelector("#charts canvas"), now = Date.now();
  drawLine(canvas, [[now - 20_000, NaN], [now - 10_000, 50], [now, 60]], now);
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.some((value) => value > 0);
});
assert.ok(isDrawn);

// A hidden page asks for nothing, and goes on when it is shown again.
const hide = (isHidden) => page.evaluate((isHidden) => {
  Object.defineProperty(document, "hidden", { configurable: true, get: () => isHidden });
  document.dispatchEvent(new Event("visibilitychange"));
}, isHidden);
await hide(true);
let asked = 0;
page.on("request", () => { asked += 1; });
await new Promise((resolve) => setTimeout(resolve, 3000));
assert.equal(asked, 0);
await hide(false);
await page.waitForFunction(() => !document.body.classList.contains("gone"), { timeout: 60_000 });

process.kill(Number(pid), "SIGKILL");
await page.waitForFunction(() => document.body.classList.contains("gone"), { timeout: 60_000 });
assert.match(await text(page, "#state"), /^No answer since /);
await looks(page, "gone");
await browser.close();
console.log("ok");
