#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A real agent CLI, from the package registry into a sandbox by the preset 'balanced', in a pane: what it wants of its model provider asks.

Which registry that is stands in the guest's own npm configuration. Where no registry can be reached (the record of the connection says so)
the cases are skipped. The provider itself is never reached: its question is answered with 'deny'.
"""
import json
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "screen"))
from dash import bulkhead, dashboard  # noqa: E402
from tap import Skip, case, contains, equal, main, wait_for  # noqa: E402

env = None
# A version that is one package and one program without dependencies: the rest would be time of the registry and of an emulated CPU.
AGENT, PROGRAM, PROVIDER, SERVICE = "@openai/codex@0.20.0", "codex", "api.openai.com", "openai"
KEY = "sk-made-up-0123456789-abcdefghij"
PREFIX = "/home/agent/.local"


def setup():
    global env
    env = bulkhead.Env()
    env.run("policy", "preset", "balanced", ok=0)
    env.run("policy", "ask", f"**.{PROVIDER.split('.', 1)[1]}", ok=0)
    env.run("secret", "set", SERVICE, "--stdin", input=KEY + "\n", ok=0)
    env.run("create", "--name", "blue", "--memory", "2G", "shell", ok=0)
    env.run("start", "blue", ok=0, timeout=200)


def teardown():
    env.close()


def records():
    return [json.loads(line) for line in env.run("policy", "log", "--json", ok=0).stdout.splitlines()]


def installed():
    if env.run("exec", "blue", "--", "test", "-x", f"{PREFIX}/bin/{PROGRAM}").returncode != 0:
        raise Skip("the agent was not installed")


@case
def installed_from_the_registry():
    "npm installs the agent through the policy; what it reached was allowed by the preset, by name"
    r = env.run("exec", "blue", "--", "npm", "install", "--global", "--prefix", PREFIX, "--fetch-retries=1", "--no-audit", "--no-fund", AGENT, timeout=400)
    reached = [e for e in records() if e["comm"].startswith("npm")]
    if r.returncode != 0:
        if gone := next((e["rule"] for e in reached if e["rule"].startswith("not reached")), None):
            raise Skip(f"no package registry from this machine: {gone}")
        raise AssertionError(f"npm: {r.stdout[-2000:]}{r.stderr[-2000:]}")
    host = env.run("exec", "blue", "--", "npm", "config", "get", "registry", ok=0).stdout.split("/")[2]
    ended = [e for e in reached if e["event"] == "closed"]
    assert ended and max(e["out"] for e in ended) > 1 << 20, ended
    equal({(e["name"], e["verdict"], e["scope"]) for e in reached}, {(host, "allow", "preset")})


@case
def apt_updates():
    "apt reads and verifies an index of the distribution's mirrors, through the policy"
    one = "grep -h -m 1 updates /etc/apt/sources.list.d/*.list > /tmp/one.list && [ -s /tmp/one.list ]"
    update = "sudo apt-get update -o Acquire::Retries=0 -o Dir::Etc::sourcelist=/tmp/one.list -o Dir::Etc::sourceparts=- -o APT::Update::Error-Mode=any"
    r = env.run("exec", "blue", "--", "sh", "-c", f"{one} && {update}", timeout=200)
    if r.returncode != 0 and (gone := next((e["rule"] for e in records() if e["proto"] == "http" and e["rule"].startswith("not reached")), None)):
        raise Skip(f"no mirror from this machine: {gone}")
    equal(r.returncode, 0, r.stdout + r.stderr)
    contains(r.stdout, "InRelease")


@case
def asks_in_a_pane():
    "started in a pane it wants its provider: the line says who wants what, with the key's placeholder; D from inside denies, and it says so"
    installed()
    with dashboard(env) as s:
        s.wait("blue .*(idle|busy|waits)", seconds=30)
        s.keys("Enter")
        s.wait("Esc back")
        s.wait(r"agent@blue", seconds=30)
        s.type(f"cd /tmp; {PREFIX}/bin/{PROGRAM} exec --skip-git-repo-check 'say hello'")
        s.keys("Enter")
        s.wait(rf"blue asks: \w+ {re.escape(PROVIDER)}", seconds=60)
        asked = next(a for a in env.json("asks")["asks"] if a["name"] == PROVIDER)
        contains(asked["cmdline"], "say hello")
        equal((asked["comm"][: len(PROGRAM)], asked["port"], asked["method"]), (PROGRAM, 443, "POST"))
        s.wait("a once|a s A d D")
        s.keys("C-\\", "D")
        s.wait("blue asks", gone=True)
        s.wait(r"403|[Ff]orbidden", seconds=60)
    contains(env.run("policy", "check", "-s", "blue", f"{PROVIDER}:443", ok=1).stdout, "deny")
    seen = wait_for(lambda: [e for e in records() if e["name"] == PROVIDER and e["verdict"] == "deny"], 20, "the denial in the log")
    equal({e["event"] for e in records() if e["name"] == PROVIDER} & {"injected", "alarm"}, set())
    assert seen[0]["path"].startswith("/v1/"), seen


@case
def no_key_inside():
    "the agent had the placeholder, the sandbox's files and processes never the key"
    installed()
    placeholder = env.run("exec", "blue", "--", "printenv", "OPENAI_API_KEY", ok=0).stdout.strip()
    assert placeholder and placeholder != KEY, placeholder
    found = env.run("exec", "blue", "-u", "root", "--", "sh", "-c", f"grep -raclF -- '{KEY[:9]}''{KEY[9:]}' /home /etc /tmp /root /run/user 2>/dev/null | head -3").stdout
    equal(found, "")


if __name__ == "__main__":
    main(setup, teardown)
