#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Credentials end to end: a really booted sandbox talks to an origin of our own; the origin sees the key, the whole machine never held it.

Cases run in order and share one sandbox ('inj').
"""
import base64
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bulkhead import Env  # noqa: E402
from memory import outside_locked  # noqa: E402
from origins import ADDRESS, Origins  # noqa: E402
from tap import case, contains, equal, main, wait_for  # noqa: E402

env = o = tmp = None
KEY = "bearer-key-" + os.urandom(12).hex()
BASIC = "basic-key-" + os.urandom(12).hex()
NEXT = "rotated-key-" + os.urandom(12).hex()


def basic(value):
    return "Basic " + base64.b64encode(f"me:{value}".encode()).decode()


def setup():
    global env, o, tmp
    tmp = pathlib.Path(tempfile.mkdtemp(prefix="bh-inj-"))
    o = Origins(tmp / "origins")
    env = Env()
    d = env.config / "bulkhead"
    d.mkdir()
    (d / "config.yaml").write_text(o.config())
    (d / "services.yaml").write_text(
        "bearer:\n  env: BEARER_KEY\n  placeholder: bk-\n  hosts: origin.test\n  header: Authorization\n  format: Bearer %s\n"
        "forge:\n  env: FORGE_KEY\n  rules:\n    - {hosts: other.test, header: Authorization, format: 'basic:me'}\n    - {hosts: third.test, header: X-Forge, format: 'v=%s'}\n")
    for rule in (ADDRESS, f"origin.test:{o.https}", f"origin.test:{o.http}", f"other.test:{o.https}", f"third.test:{o.https}"):
        env.run("policy", "allow", rule, ok=0)
    env.run("secret", "set", "bearer", "--stdin", input=KEY + "\n", ok=0)
    env.run("secret", "set", "forge", "--stdin", input=BASIC + "\n", ok=0)
    env.run("create", "--name", "inj", "--memory", "768M", "shell", ok=0)
    env.run("start", "inj", ok=0, timeout=300)


def teardown():
    env.close()
    o.close()
    shutil.rmtree(tmp, ignore_errors=True)


def sh(command, ok=0, timeout=120):
    return env.run("exec", "inj", "--", "sh", "-c", command, ok=ok, timeout=timeout).stdout


def last(path):
    """Headers of the request the origin saw last, which must have been to this path; names in lower case."""
    equal(o.seen[-1]["path"], path)
    return {k.lower(): v for k, v in o.seen[-1]["headers"]}


def curl(host, path, *more, ok=0):
    return sh(f"curl -sS --max-time 60 {' '.join(more)} 'https://{host}:{o.https}{path}'", ok=ok)


def log(**kw):
    with env.rpc() as r:
        return r.call("policy.log", name="inj", lines=1000, **kw)["decisions"]


def placeholder(name="BEARER_KEY"):
    return sh(f'printf %s "${name}"')


@case
def a_placeholder_stands_for_the_key():
    "in every session the same, random behind its prefix, and not the key"
    p = placeholder()
    equal(re.fullmatch(r"bk-[A-Za-z0-9]{40}", p) is not None, True, p)
    equal(placeholder(), p)
    equal(re.fullmatch(r"[A-Za-z0-9]{40}", placeholder("FORGE_KEY")) is not None, True)


@case
def the_host_sets_the_header():
    "of a request that has none, in place of one the guest made up, and in Basic's form"
    contains(curl("origin.test", "/plain"), "hello from origin.test")
    equal(last("/plain")["authorization"], f"Bearer {KEY}")
    curl("origin.test", "/own", "-H 'Authorization: Bearer mine'", "-H 'authorization: Bearer mine-too'")
    equal([v for k, v in o.seen[-1]["headers"] if k.lower() == "authorization"], [f"Bearer {KEY}"])
    curl("other.test", "/basic")
    equal(last("/basic")["authorization"], basic(BASIC))
    curl("third.test", "/second-rule")
    equal(last("/second-rule")["x-forge"], f"v={BASIC}")
    equal("authorization" in last("/second-rule"), False)


@case
def the_placeholder_is_replaced_wherever_it_stands():
    "in a header of another name and within the base64 of Basic"
    curl("origin.test", "/other", '-H "X-Api-Key: $BEARER_KEY"')
    equal(last("/other")["x-api-key"], KEY)
    curl("third.test", "/in-basic", '-u "someone:$FORGE_KEY"')
    equal(last("/in-basic")["authorization"], "Basic " + base64.b64encode(f"someone:{BASIC}".encode()).decode())


@case
def other_clients():
    "python, node and git, with what they trust by themselves"
    sh(f"python3 -c 'import urllib.request as u; print(u.urlopen(\"https://origin.test:{o.https}/python\").read())'")
    equal(last("/python")["authorization"], f"Bearer {KEY}")
    sh(f"node -e 'fetch(\"https://origin.test:{o.https}/node\").then(r => r.text()).then(console.log)'")
    equal(last("/node")["authorization"], f"Bearer {KEY}")
    sh(f"git ls-remote https://other.test:{o.https}/no-such.git", ok=None)
    equal(o.seen[-1]["path"].startswith("/no-such.git/info/refs"), True)
    equal(last(o.seen[-1]["path"])["authorization"], basic(BASIC))


@case
def an_echo_is_masked():
    text = curl("origin.test", "/echo-auth", "-i")
    contains(text, "you sent")
    equal(KEY in text, False)
    text = curl("other.test", "/echo-auth", "-i")
    equal(BASIC in text or basic(BASIC)[6:] in text, False)


@case
def a_placeholder_toward_another_host_is_an_alarm():
    "refused, recorded, and told to whoever watches and in the lifecycle log: in a field, and in the body of what goes in clear"
    n = len(o.seen)
    with env.rpc() as r:
        r.call("events.subscribe")
        text = curl("other.test", "/steal", '-H "X-Data: $BEARER_KEY"', "-w '%{http_code}'", ok=None)
        contains(text, "403")
        told = r.wait_event(lambda e: e["kind"] == "attention" and e["what"] == "alarm", 20)
        equal(told["name"], "inj")
        contains(told["text"], f"the placeholder of 'bearer' was on its way to other.test:{o.https} (curl) and was refused")
    with env.rpc() as r:
        equal([x["level"] for x in r.call("log.read", name="inj", lines=100)["records"] if x["text"].startswith("ALARM: the placeholder of 'bearer'")], ["warn"])
    contains(sh(f'curl -sS --max-time 60 -d "x=$BEARER_KEY" http://origin.test:{o.http}/in-body -w "%{{http_code}}"', ok=None), "403")
    equal([r["path"] for r in o.seen[n:]], [])
    wait_for(lambda: any(d["event"] == "alarm" and d["service"] == "bearer" for d in log()), 10, "the alarm's record")
    # In clear not even toward its own.
    sh(f'curl -sS --max-time 60 -H "X-Data: $BEARER_KEY" http://origin.test:{o.http}/clear', ok=None)
    equal([r["path"] for r in o.seen[n:]], [])


@case
def no_redirect_is_followed_with_it():
    curl("origin.test", f"/redirect=https://third.test:{o.https}/landed", "-L")
    headers = last("/landed")
    equal(KEY in json.dumps(headers), False)


def machine():
    return next(p for p in env.processes() if os.readlink(f"/proc/{p}/exe").rsplit("/", 1)[1].startswith("qemu-system"))


def memory(pid):
    """Everything in a process' writable memory, in parts; they overlap, so that nothing lies across an edge."""
    step, over, page = 4 << 20, 256, os.sysconf("SC_PAGESIZE")
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem, open(f"/proc/{pid}/pagemap", "rb", 0) as pages:
        for line in maps:
            span, perms = line.split()[:2]
            a, b = (int(x, 16) for x in span.split("-"))
            if not perms.startswith("rw") or b - a > 64 << 30:
                continue
            for at in range(a, b, step):
                n = min(step, b - at)
                pages.seek(at // page * 8)
                if not any(pages.read(n // page * 8)[7::8]):  # neither there nor swapped out: never touched
                    continue
                try:
                    mem.seek(at)
                    yield mem.read(min(n + over, b - at))
                except (OSError, ValueError):
                    continue


@case
def the_machine_never_held_it():
    "all of its memory, its disk, its recordings and its logs, searched from the host; what must be there is found by the same search"
    here = placeholder().encode()
    needles = {KEY.encode(): 0, BASIC.encode(): 0, base64.b64encode(f"me:{BASIC}".encode()): 0, here: 0}
    sh("sync; echo $BEARER_KEY > /home/agent/written; sync", ok=None)
    for data in memory(machine()):
        for k in needles:
            needles[k] += data.count(k)
    equal(needles.pop(here) > 0, True, "the placeholder is in the machine's memory: the search works")
    equal(set(needles.values()), {0}, f"in the machine's memory: {needles}")
    found = {}
    for p in (env.state / "bulkhead/sandboxes").rglob("*"):
        if p.is_file():
            r = subprocess.run(["grep", "-c", "-a", "-F", "-e", KEY, "-e", BASIC, "-e", basic(BASIC)[6:], str(p)], capture_output=True, text=True)
            if r.stdout.strip() != "0":
                found[p.name] = r.stdout.strip()
    equal(found, {})
    # Nor where decisions and lifecycle are told.
    for p in [*(env.state / "bulkhead/audit").iterdir(), *(env.state / "bulkhead").glob("*.log")]:
        data = p.read_bytes()
        equal(KEY.encode() in data or BASIC.encode() in data, False, p.name)


@case
def bulkhead_net_alone_holds_it():
    "of all processes of this Bulkhead: in pages that are locked, and in no core dump; the supervisor in its own"
    holds = {}
    for pid in env.processes():
        name = os.readlink(f"/proc/{pid}/exe").rsplit("/", 1)[1]
        try:
            if name == "bulkhead-net":
                equal(outside_locked(pid, KEY.encode()), [], "outside of locked pages")
                equal(outside_locked(pid, BASIC.encode()), [], "outside of locked pages")
            if any(KEY.encode() in d for d in memory(pid)):
                holds[name] = pid
        except PermissionError:
            continue
    equal(set(holds) <= {"bulkhead-net", "bulkhead-supervisor"} and "bulkhead-net" in holds, True, str(holds))


@case
def changes_reach_the_running_sandbox():
    "a new value with the next request; a removed one is gone with the next request; one of the sandbox wins"
    same = placeholder()
    env.run("secret", "set", "bearer", "--stdin", input=NEXT + "\n", ok=0)
    curl("origin.test", "/rotated")
    equal(last("/rotated")["authorization"], f"Bearer {NEXT}")
    equal(placeholder(), same)
    env.run("secret", "set", "bearer", "--sandbox", "inj", "--from-command", "echo from-a-command-1234567", ok=0)
    curl("origin.test", "/own-one")
    equal(last("/own-one")["authorization"], "Bearer from-a-command-1234567")
    env.run("secret", "rm", "bearer", "--sandbox", "inj", ok=0)
    curl("origin.test", "/global-again")
    equal(last("/global-again")["authorization"], f"Bearer {NEXT}")
    env.run("secret", "rm", "bearer", ok=0)
    curl("origin.test", "/none")
    equal("authorization" in last("/none"), False)
    env.run("secret", "set", "bearer", "--stdin", input=KEY + "\n", ok=0)
    curl("origin.test", "/again")
    equal(last("/again")["authorization"], f"Bearer {KEY}")


@case
def a_command_is_run_again():
    "after its refresh period, while the sandbox runs: the new value goes out; one that fails meanwhile leaves the old one and is told"
    token = tmp / "token"
    token.write_text("token-of-the-first-hour\n")
    env.run("secret", "set", "bearer", "--from-command", f"cat {token}", "--refresh", "10", ok=0)
    try:
        curl("origin.test", "/hour-1")
        equal(last("/hour-1")["authorization"], "Bearer token-of-the-first-hour")
        token.write_text("token-of-the-second-hour\n")

        def renewed():
            curl("origin.test", "/hour-2")
            return last("/hour-2")["authorization"] == "Bearer token-of-the-second-hour"
        wait_for(renewed, 40, "the second hour's token", every=0.5)
        token.unlink()
        wait_for(lambda: next(s for s in env.json("secret", "ls")["secrets"] if s["service"] == "bearer")["error"], 40, "the failure to be told", every=0.5)
        curl("origin.test", "/hour-3")
        equal(last("/hour-3")["authorization"], "Bearer token-of-the-second-hour")
    finally:
        env.run("secret", "set", "bearer", "--stdin", input=KEY + "\n", ok=0)


@case
def killed_processes_change_nothing():
    "bulkhead-net and the supervisor by SIGKILL: the key still goes where it belongs, the placeholder is the same, no record is lost"
    same = placeholder()
    os.kill(next(p for p in env.processes() if os.readlink(f"/proc/{p}/exe").endswith("/bulkhead-net")), signal.SIGKILL)
    wait_for(lambda: "hello" in curl("origin.test", "/after-net", ok=None), 40, "a connection through a new bulkhead-net", every=0.3)
    equal(last("/after-net")["authorization"], f"Bearer {KEY}")
    os.kill(env.supervisor_pid(), signal.SIGKILL)
    equal(placeholder(), same)
    curl("origin.test", "/after-supervisor")
    equal(last("/after-supervisor")["authorization"], f"Bearer {KEY}")
    r = env.json("audit", "verify")
    equal((r["ok"], r["problem"]), (True, None))


@case
def what_is_decided_without_a_supervisor_is_recorded():
    "it is killed, and only then does the guest make a request with the key: the next one has the records of it"
    sh(f"setsid sh -c 'while [ ! -e /tmp/go ]; do sleep 0.2; done; sleep 2; curl -sS --max-time 60 https://origin.test:{o.https}/while-alone' >/tmp/alone 2>&1 &")
    sh("touch /tmp/go")
    pid = env.supervisor_pid()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: any(r["path"] == "/while-alone" for r in o.seen), 60, "the request of the guest alone")
    equal(env.supervisor_pid(), pid, "nobody has started another one")
    env.start_supervisor()

    def recorded():
        return {d["event"] for d in log() if d["path"] == "/while-alone"} >= {"decided", "injected", "closed"}
    wait_for(recorded, 30, "its records", every=0.3)
    equal(env.json("audit", "verify")["ok"], True)


@case
def every_injection_is_a_record():
    done = [d for d in log() if d["event"] == "injected"]
    equal({d["service"] for d in done}, {"bearer", "forge"})
    paths = {d["path"] for d in done}
    equal({"/plain", "/basic", "/second-rule", "/python", "/after-supervisor"} <= paths, True, str(paths))
    equal("/none" in paths, False)
    r = env.json("audit", "verify")
    equal((r["ok"], r["records"] > 30), (True, True))


main(setup, teardown)
