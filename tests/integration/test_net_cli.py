#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""asks, answer, ports, secret and audit: what they ask of the supervisor and what they say."""
import json
import os
import pathlib
import pty
import subprocess
import sys
import termios
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bulkhead import Env  # noqa: E402
from scripted import Refused, Scripted, ask, decision, sandbox  # noqa: E402
from tap import case, contains, equal, main, wait_for  # noqa: E402

env = sup = None


def set_up():
    global env, sup
    env = Env()
    sup = Scripted(env, sandboxes=[sandbox("blue")])
    sup.answers["secret.set"] = lambda p: {"service": p["service"], "source": "stored", "masked": "sk-…3f"}


def tear_down():
    sup.close()
    env.close()


def refused(*argv, word):
    before = len(sup.requests)
    r = env.run(*argv, ok=2)
    contains(r.stderr, word)
    equal(r.stderr.count("\n") <= 2, True, r.stderr)
    equal(len(sup.requests), before, "nothing was asked of the supervisor")


@case
def asks_are_listed():
    "asks is a table, JSON, or a sentence when there are none; what a guest named cannot move the cursor"
    contains(env.run("asks", ok=0).stderr, "nobody asks")
    sup.state["asks"] = [ask(7, count=3, comm="cu\x1b[2Jrl"), ask(12, name="", address="2001:db8::1", port=22, method="")]
    out = env.run("asks", ok=0).stdout
    contains(out, "api.example.org:443")
    contains(out, "[2001:db8::1]:22")
    equal("\x1b" in out, False)
    equal([q["id"] for q in env.json("asks")["asks"]], [7, 12])


@case
def answers_reach_the_supervisor():
    "answer sends verdict and scope, says what it did, and passes on who was first"
    contains(env.run("answer", 7, "allow", ok=0).stdout, "blue may reach api.example.org:443, this once")
    equal(sup.asked("ask.answer")[-1], {"id": 7, "verdict": "allow", "scope": "once"})
    contains(env.run("answer", "7", "deny", "--scope=always", ok=0).stdout, "every sandbox may not reach api.example.org:443 from now on")
    equal(sup.asked("ask.answer")[-1], {"id": 7, "verdict": "deny", "scope": "always"})

    def late(params):
        raise Refused(1003, "it was allowed 3 s ago by the dashboard")

    sup.answers["ask.answer"] = late
    contains(env.run("answer", "7", "allow", ok=1).stderr, "allowed 3 s ago by the dashboard")
    refused("answer", "x", "allow", word="no number")
    refused("answer", "7", "maybe", word="allow or deny")
    refused("answer", "7", "allow", "--scope", "ever", word="once, sandbox or always")
    refused("answer", "7", word="ANSWER")


@case
def asks_are_followed():
    "asks -f prints those that wait, then what comes and goes, until it is interrupted"
    p = subprocess.Popen([env.program, "asks", "-f"], env=env.env, stdout=subprocess.PIPE, text=True)
    contains(p.stdout.readline(), "blue: api.example.org:443")
    contains(p.stdout.readline(), "[2001:db8::1]:22")
    sup.event("stats", name="blue", stats={})
    sup.event("ask", ask=ask(20, name="new.example.org"))
    contains(p.stdout.readline(), "20  asks  blue: new.example.org:443")
    sup.event("ask_gone", id=20, end="answered", verdict="allow", by="cli")
    contains(p.stdout.readline(), "answered  allow by cli")
    p.send_signal(2)
    equal(p.wait(timeout=10), 0)


@case
def decisions_are_read_and_followed():
    "policy log prints one line each, scrubbed; -f goes on without a gap and without one twice; --json is the protocol's objects"
    known = [decision(1, "deny", name="a.example.org", comm="cu\x1b[2Jrl", rule="deny a.example.org", scope="global"),
             decision(2, name="", address="2001:db8::1", port=22, event="closed", to="2001:db8::1", **{"in": 5, "out": 7, "ms": 9}),
             decision(5, "deny", name="c.example.org", rule="its address is private address", scope="built-in", to="10.9.8.7")]
    sup.answers["policy.log"] = lambda p: {"decisions": known[-p["lines"]:]}
    out = env.run("policy", "log", ok=0).stdout
    contains(out, "2026-01-02T03:00:01 deny     blue: a.example.org:443")
    contains(out, "deny a.example.org (global)")
    contains(out, "closed   blue: [2001:db8::1]:22")
    contains(out, "5 in, 7 out, 9 ms")
    contains(out, "its address is private address: 10.9.8.7 (built-in)\n")
    equal("\x1b" in out, False)
    equal([json.loads(x)["seq"] for x in env.run("policy", "log", "--json", "-n", "1", ok=0).stdout.splitlines()], [5])
    env.run("policy", "log", "-s", "blue", "--verdict", "deny", ok=0)
    equal(sup.asked("policy.log")[-1], {"lines": 200, "name": "blue", "verdict": "deny"})
    p = subprocess.Popen([env.program, "policy", "log", "-f", "--verdict", "deny"], env=env.env, stdout=subprocess.PIPE, text=True)
    contains(p.stdout.readline(), "a.example.org")
    p.stdout.readline()
    p.stdout.readline()
    sup.event("decision", decision=known[1])  # printed already
    sup.event("decision", decision=decision(6))
    sup.event("decision", decision=decision(7, "deny", name="b.example.org"))
    contains(p.stdout.readline(), "deny     blue: b.example.org:443")
    p.send_signal(2)
    equal(p.wait(timeout=10), 0)
    del sup.answers["policy.log"]


@case
def ports():
    "ports publishes on the loopback unless told otherwise, lists and ends; wrong ones never leave"
    def publish(p):
        return {"id": 3, "sandbox": p["name"], "host_address": p["address"], "host_port": p["host_port"] or 40001, "guest_port": p["guest_port"]}

    sup.answers["port.publish"] = publish
    contains(env.run("ports", ok=0).stderr, "no ports are published")
    equal(env.run("ports", "blue", "--publish", "8080:3000", ok=0).stdout, "127.0.0.1:8080 -> blue:3000\n")
    equal(sup.asked("port.publish")[-1], {"name": "blue", "guest_port": 3000, "host_port": 8080, "address": "127.0.0.1"})
    r = env.run("ports", "blue", "-p", "[::]:0:3000", "-p", "5000", ok=0)
    equal(r.stdout, "[::]:40001 -> blue:3000\n127.0.0.1:40001 -> blue:5000\n")
    contains(r.stderr, "other machines")
    for bad in ("x", "8080:", ":80", "8080:70000", "0:0", "1:2:3:4", "::", "[::1:80:80", "host:1:2", "-1:2", "1:2 "):
        refused("ports", "blue", f"--publish={bad}", word="bulkhead:")
    refused("ports", "--publish", "1:2", word="name of a sandbox")
    refused("ports", "--unpublish", "web", word="number")
    env.run("ports", "--unpublish", "3", ok=0)
    equal(sup.asked("port.unpublish")[-1], {"id": 3})
    sup.state["ports"] = [{"id": 3, "sandbox": "blue", "host_address": "127.0.0.1", "host_port": 8080, "guest_port": 3000}]
    contains(env.run("ports", "blue", ok=0).stdout, "127.0.0.1:8080")
    equal(env.json("ports")["ports"][0]["id"], 3)


@case
def secrets_have_one_source():
    "secret set takes a value from stdin, a variable or a command, never from an argument"
    r = env.run("secret", "set", "anthropic", "--stdin", input="sk-abc\n", ok=0)
    equal(sup.asked("secret.set")[-1], {"service": "anthropic", "value": "sk-abc"})
    equal("sk-abc" in r.stdout + r.stderr, False)
    env.run("secret", "set", "github", "--sandbox", "blue", "--from-env", "GH_TOKEN", ok=0)
    equal(sup.asked("secret.set")[-1], {"service": "github", "name": "blue", "env": "GH_TOKEN"})
    env.run("secret", "set", "github", "--from-command", " gh  auth token ", "--refresh", "600", ok=0)
    equal(sup.asked("secret.set")[-1], {"service": "github", "command": ["gh", "auth", "token"], "refresh": 600})
    env.run("secret", "set", "openai", "--from-command", "pass show ai | head -1", ok=0)
    equal(sup.asked("secret.set")[-1]["command"], ["/bin/sh", "-c", "pass show ai | head -1"])
    refused("secret", "set", "x", "sk-abc", word="unexpected argument")
    refused("secret", "set", "x", word="--stdin")
    refused("secret", "set", "x", "--stdin", "--from-env", "A", word="one source")
    refused("secret", "set", "x", "--from-env", "sk-abc", word="not a value")
    refused("secret", "set", "x", "--from-command", "  ", word="empty")
    refused("secret", "set", "x", "--refresh", "60", "--from-env", "A", word="--from-command")
    for bad, word in (("", "empty"), ("\n", "empty"), ("a\nb\n", "line break"), ("k" * 8192, "longer"), (b"\xff\xfe", "UTF-8")):
        r = env.run("secret", "set", "x", "--stdin", input=bad, text=isinstance(bad, str), ok=2)
        contains(r.stderr if isinstance(bad, str) else r.stderr.decode(), word)


@case
def secrets_are_typed_unseen():
    "on a terminal the value is asked for and not shown"
    master, slave = pty.openpty()
    p = subprocess.Popen([env.program, "secret", "set", "anthropic"], env=env.env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    seen = b""

    def read():
        nonlocal seen
        try:
            seen += os.read(master, 4096)
        except OSError:
            return True
        return b"not shown): " in seen

    wait_for(read, 10, "the question")
    n = len(sup.asked("secret.set"))
    equal(termios.tcgetattr(master)[3] & termios.ECHO, 0)
    os.write(master, b"sk-typed-in\n")
    equal(sup.wait_asked("secret.set", n + 1), {"service": "anthropic", "value": "sk-typed-in"})
    end = time.monotonic() + 10
    while p.poll() is None and time.monotonic() < end:
        read()
    equal(p.wait(timeout=10), 0)
    equal(b"sk-typed-in" in seen, False)
    os.close(master)


@case
def an_interrupt_leaves_the_terminal_as_it_was():
    "Ctrl-C at the question ends the command with the echo on again, and nothing is kept"
    master, slave = pty.openpty()
    n = len(sup.asked("secret.set"))
    p = subprocess.Popen(["setsid", "-c", "-w", env.program, "secret", "set", "anthropic"], env=env.env, stdin=slave, stdout=slave, stderr=slave)
    wait_for(lambda: not termios.tcgetattr(master)[3] & termios.ECHO, 10, "the question")
    os.write(master, b"sk-half\x03")
    wait_for(lambda: termios.tcgetattr(master)[3] & termios.ECHO, 10, "the echo")
    assert p.wait(timeout=10) != 0
    equal(len(sup.asked("secret.set")), n)
    os.close(slave)
    os.close(master)


@case
def secrets_are_listed_masked():
    "secret ls and rm"
    sup.answers["secret.list"] = {"store": "file", "secrets": []}
    contains(env.run("secret", "ls", ok=0).stderr, "no credentials")
    sup.answers["secret.list"] = {"store": "file", "secrets": [{"service": "github", "sandbox": None, "source": "command", "detail": "gh auth token",
                                                                "masked": "ghp…9a", "updated": "2026-01-02T03:04:05.000Z"}]}
    contains(env.run("secret", "ls", ok=0).stdout, "gh auth token")
    equal(env.json("secret", "ls")["store"], "file")
    env.run("secret", "rm", "github", "npm", "--sandbox", "blue", ok=0)
    equal(sup.asked("secret.remove")[-2:], [{"service": "github", "name": "blue"}, {"service": "npm", "name": "blue"}])


@case
def audit_is_verified():
    "audit verify says whole or where it broke, by its exit code too"
    sup.answers["audit.verify"] = {"records": 120, "ok": True, "problem": None}
    contains(env.run("audit", "verify", ok=0).stdout, "whole: 120 records")
    sup.answers["audit.verify"] = {"records": 7, "ok": False, "problem": "record 8 was altered"}
    contains(env.run("audit", "verify", ok=1).stdout, "record 8 was altered")
    equal(json.loads(env.run("audit", "verify", "--json", ok=1).stdout)["ok"], False)


if __name__ == "__main__":
    main(set_up, tear_down)
