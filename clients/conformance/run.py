#!/usr/bin/env python3
"""Runs the conformance cases against the driver of a client. README.md describes all of it."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from checks import Failed, check_requests, check_secrets, expect
from parts import Driver, Server
from proxy import Proxy

CASES = Path(__file__).parent / "cases"
CASE_SECONDS = 120
NOT_USUAL = {"put", "clusters"}
"""Features that a driver states to have."""
CALL = {"call", "again", "begin", "expect", "save", "each", "at_once", "start", "says"}


def load_cases() -> list[dict[str, Any]]:
    """All cases, in the order of the files' names."""
    cases = [case for path in sorted(CASES.glob("*.json")) for case in json.loads(path.read_text())]
    names = [case["name"] for case in cases]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise SystemExit(f"two cases have the name {twice.pop()}")
    return cases


def write_line(path: str, text: str) -> None:
    """A file with one line."""
    Path(path).write_text(f"{text}\n")


class Run:
    """One case: its proxy, its clients, and what it has saved."""

    def __init__(self, case: dict[str, Any], driver: Driver, server: Server, folder: Path) -> None:
        self.case, self.driver, self.server, self.folder = case, driver, server, folder
        self.proxy = Proxy(server.address)
        self.second = Proxy(server.address)
        self.saved: dict[str, Any] = {}
        self.started: dict[str, tuple[int, asyncio.Future[Any]]] = {}
        self.begun: dict[str, asyncio.Future[None]] = {}
        self.opened: list[str] = []
        self.results: list[Any] = []
        self.secrets: set[str] = set(server.keys.values())

    async def run(self) -> None:
        """Does all steps. Raises `Failed`."""
        await self.proxy.start()
        await self.second.start()
        key_file = self.folder / "key"
        self.saved.update(
            proxy=f"http://127.0.0.1:{self.proxy.port}",
            second=f"http://127.0.0.1:{self.second.port}",
            server="http://{}:{}".format(*self.server.address),
            keys=self.server.keys,
            key_file=str(key_file),
            big=json.dumps("x" * (1024 * 1024 - 2)),
            wide=json.dumps("x" * 60_000),
        )
        try:
            if self.case.get("key_file"):
                key_file.write_text(self.fill(self.case["key_file"]) + "\n")
            if self.case.get("options", {}) is not None:
                await self.open("c", self.case.get("options", {}))
            for number, step in enumerate(self.case["steps"], 1):
                try:
                    await self.step(step)
                except Failed as failed:
                    raise Failed(f"step {number}: {failed}") from None
            check_secrets(self.results, self.secrets)
        finally:
            for name in self.opened:
                await self.driver.ask({"do": "close", "client": name})
            await self.proxy.stop()
            await self.second.stop()

    async def open(self, name: str, options: dict[str, Any]) -> Any:
        options = self.fill({"urls": ["$proxy"], **options})
        result = await self.driver.ask({"do": "open", "client": name, "options": options})
        if "ok" in result:
            self.opened.append(name)
        self.results.append(result)
        return result

    def fill(self, value: Any, each: Any = None) -> Any:
        """Replaces `$name.field` by what was saved."""
        if isinstance(value, dict):
            return {key: self.fill(item, each) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item, each) for item in value]
        if not isinstance(value, str) or not value.startswith("$"):
            return value
        # What follows the name stays: `$server/v1/resolve`.
        name = re.match(r"\$([a-z_0-9]+(?:\.[a-z_0-9]+)*)", value)
        if name is None:
            return value
        found = self.look_up(name[1], each)
        return found if name.end() == len(value) else f"{found}{value[name.end() :]}"

    def look_up(self, name: str, each: Any) -> Any:
        """What was saved under a name, or a field of it."""
        first, *fields = name.split(".")
        found = each if first == "each" else self.saved[first]
        for field in fields:
            if isinstance(found, list) and not field.isdigit():
                found = [item[field] for item in found]
            else:
                found = found[int(field)] if field.isdigit() else found[field]
        return found

    async def step(self, step: dict[str, Any]) -> None:
        if "again" in step:
            # The calls whose outcome is unknown, each with the key of its error.
            lost = [saved for saved in self.saved[step["again"]] if saved.get("key")]
            self.saved["lost"] = lost
            fields = {"target": {"token": "$each.each.token"}, "key": "$each.key"}
            await self.each({**step, **fields, "each": "$lost"})
        elif "begin" in step:
            self.begun[step["begin"]] = asyncio.ensure_future(self.each(step))
        elif step.get("finish") in self.begun:
            await self.begun.pop(step["finish"])
        elif "each" in step:
            await self.each(step)
        elif "start" in step:
            self.started[step["start"]] = self.driver.send(self.command(step))
        elif "call" in step:
            self.settle(step, await self.call(step))
        elif "finish" in step:
            self.settle(step, await self.started.pop(step["finish"])[1])
        elif "cancel" in step:
            call = self.started[step["cancel"]][0]
            expect({}, await self.driver.ask({"do": "cancel", "call": call}), "cancel")
        elif "open" in step:
            self.settle(step, await self.open(step["open"], step.get("options", {})))
        elif "proxy" in step:
            await self.proxy.set_rules(self.fill(step["proxy"]))
        elif "second" in step:
            await self.second.set_rules(self.fill(step["second"]))
        elif "arrived" in step:
            await self.proxy.wait_for(step["arrived"])
        elif "release" in step:
            self.proxy.release()
        elif "requests" in step:
            proxy = self.second if step.get("of") == "second" else self.proxy
            check_requests(self.fill(step["requests"]), proxy.arrived)
        elif "write" in step:
            write_line(self.fill(step["write"]), self.fill(step["text"]))
        elif "idle_ms" in step:
            await asyncio.sleep(step["idle_ms"] / 1000)
        elif "inspect" in step:
            result = await self.driver.ask({"do": "inspect", "client": step["inspect"]})
            expect({}, result, "inspect")
            self.results.append({"error": {"kind": "inspect", "text": result["ok"]["text"]}})
        else:
            raise Failed(f"an unknown step: {sorted(step)}")

    def command(self, step: dict[str, Any], each: Any = None) -> dict[str, Any]:
        arguments = {key: value for key, value in step.items() if key not in CALL}
        return {"do": step["call"], "client": "c", **self.fill(arguments, each)}

    async def call(self, step: dict[str, Any], each: Any = None) -> Any:
        return await self.driver.ask(self.command(step, each))

    def settle(self, step: dict[str, Any], result: Any) -> None:
        """Compares a result, and saves it."""
        self.results.append(result)
        self.note_tokens(result)
        expect(self.fill(step.get("expect", {})), result, step.get("call", step.get("finish", "open")))
        if "save" in step:
            self.saved[step["save"]] = result.get("ok", result.get("error"))

    def note_tokens(self, result: Any) -> None:
        token = result.get("ok", {}).get("token")
        if token is not None:
            self.secrets.add(token)

    async def each(self, step: dict[str, Any]) -> None:
        values = self.fill(step["each"])
        values = list(range(values)) if isinstance(values, int) else values
        room = asyncio.Semaphore(step.get("at_once", len(values)))

        async def one(value: Any) -> Any:
            async with room:
                return await self.call(step, value)

        results = await asyncio.gather(*map(one, values))
        self.results.extend(results)
        wanted = step.get("expect", {"all": {}})
        for result, value in zip(results, values, strict=True):
            self.note_tokens(result)
            if "all" in wanted:
                expect(self.fill(wanted["all"], value), result, step["call"])
        if "count" in wanted:
            kinds = [result["error"]["kind"] if "error" in result else "ok" for result in results]
            counts = {kind: kinds.count(kind) for kind in kinds}
            if counts != wanted["count"]:
                raise Failed(f"wanted {wanted['count']}, got {counts}")
        if "kinds" in wanted and not all(
            "ok" in result or result["error"]["kind"] in wanted["kinds"] for result in results
        ):
            kinds = {result["error"]["kind"] for result in results if "error" in result}
            raise Failed(f"wanted only {wanted['kinds']}, got {kinds}")
        if "save" in step:
            self.saved[step["save"]] = [
                {"each": value, **result.get("ok", {}), **result.get("error", {})}
                for value, result in zip(values, results, strict=True)
            ]


async def run_case(case: dict[str, Any], driver: Driver, shared: Server, jeton: Path) -> None:
    """One case, with a server of its own if it wants one."""
    with tempfile.TemporaryDirectory() as folder:
        server = shared
        own = case.get("server")
        if own is not None:
            server = await Server.start(jeton, Path(folder), own.get("flags", []), own.get("keys", {}))
        try:
            await asyncio.wait_for(Run(case, driver, server, Path(folder)).run(), CASE_SECONDS)
        except TimeoutError:
            raise Failed(f"no end within {CASE_SECONDS} s") from None
        finally:
            if own is not None:
                await server.stop()


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jeton", type=Path, help="the program jeton")
    parser.add_argument("--only", default="", help="cases with this text in their name")
    parser.add_argument("--volume", choices=["small", "all"], default="all")
    parser.add_argument("--quiet", action="store_true", help="print no line for a case that passed")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument("driver", nargs="*", help="the command of the driver")
    args = parser.parse_args()
    cases = [case for case in load_cases() if args.only in case["name"]]
    if args.list:
        print("\n".join(case["name"] for case in cases))
        return 0
    if args.jeton is None or not args.driver or not cases:
        parser.error("give --jeton FILE -- COMMAND, and at least one case must match --only")
    with tempfile.TemporaryDirectory() as folder:
        shared = await Server.start(args.jeton, Path(folder), [], {})
        driver = await Driver.start(args.driver)
        try:
            return await run_all(cases, driver, shared, args)
        finally:
            await driver.stop()
            await shared.stop()


async def run_all(cases: list[dict[str, Any]], driver: Driver, shared: Server, args: Any) -> int:
    described = (await driver.ask({"do": "describe"}))["ok"]
    lacking = NOT_USUAL - set(described.get("has", []))
    skipped = set(described.get("skip", [])) | lacking | ({"large"} if args.volume == "small" else set())
    failed = left_out = 0
    for case in cases:
        lacks = skipped.intersection(case.get("needs", []))
        if lacks and not args.quiet:
            print(f"skip  {case['name']}: {', '.join(sorted(lacks))}", flush=True)
        if lacks:
            left_out += 1
            continue
        try:
            await run_case(case, driver, shared, args.jeton)
            if not args.quiet:
                print(f"ok    {case['name']}", flush=True)
        except Failed as reason:
            failed += 1
            print(f"FAIL  {case['name']}: {reason}\n      {case['says']}", flush=True)
        except Exception:
            failed += 1
            print(f"FAIL  {case['name']}\n{traceback.format_exc()}", flush=True)
    ran = len(cases) - left_out
    print(f"{described['client']}: {ran} cases, {failed} failed, {left_out} left out", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
