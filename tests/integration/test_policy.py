#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rules through the command line and the protocol, without a machine: files, their watching, the administrator's bound, broken files."""
import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bulkhead import Env, RpcError  # noqa: E402
from tap import case, contains, equal, main, wait_for  # noqa: E402

G = {}


def set_up():
    G["env"] = env = Env()
    G["admin"] = env.dir / "etc"
    G["admin"].mkdir()
    env.env["BULKHEAD_ADMIN_POLICY_DIR"] = str(G["admin"])
    G["global"] = env.config / "bulkhead" / "policy.yaml"
    (env.dir / "src").mkdir()
    G["r"] = env.rpc()
    for name in ("blue", "red"):
        call("sandbox.create", name=name, path=str(env.dir / "src"))
    G["own"] = env.state / "bulkhead" / "sandboxes" / "blue" / "policy.yaml"


def tear_down():
    G["env"].close()


def call(method, **params):
    return G["r"].call(method, **params)


def run(*argv, ok=0, **kw):
    return G["env"].run("policy", *argv, ok=ok, **kw)


def refused(code, part, method, **params):
    try:
        call(method, **params)
    except RpcError as e:
        equal(e.code, code, str(e))
        contains(str(e), part)
        return
    raise AssertionError(f"{method} {params} was not refused")


def check(**params):
    """call(), whose own parameter is 'method' too."""
    r = G["r"]
    r.n += 1
    r.s.sendall(json.dumps({"jsonrpc": "2.0", "id": r.n, "method": "policy.check", "params": params}).encode() + b"\n")
    return r.answer(r.n)


def verdict(host, **params):
    return check(host=host, **params)["verdict"]


def restart():
    proc = pathlib.Path("/proc") / str(G["env"].supervisor_pid())
    call("supervisor.shutdown")
    wait_for(lambda: not proc.exists(), 10, "the supervisor to end")
    G["r"] = G["env"].rpc()


def put(path, text):
    """As an editor does: beside, then in place of it."""
    path.parent.mkdir(exist_ok=True)
    new = path.with_name("policy.yaml~")
    new.write_text(text)
    new.rename(path)


def fresh(*paths):
    """No rules but what the case makes."""
    for p in (G["global"], G["own"], G["admin"] / "policy.yaml"):
        p.unlink(missing_ok=True)
    call("policy.reload")


@case
def everything_is_asked_about_at_first():
    "without a file everything is asked about, and a private address is not reached even so"
    fresh()
    r = call("policy.list")
    equal((r["rules"], r["default"], r["preset"], r["errors"], r["unattended"]), ([], "ask", None, [], False))
    equal(verdict("example.org"), "ask")
    c = call("policy.check", host="10.0.0.1")
    equal(c["verdict"], "deny")
    contains(c["why"], "private address")
    contains(run("ls").stdout, "everything else: ask")
    equal(run("check", "example.org", ok=3).stdout.split(":")[0], "ask")


@case
def rules_are_added_listed_and_removed():
    "policy allow, deny, ask, ls, check and rm; the file keeps what the person wrote in it"
    fresh()
    put(G["global"], "# my rules\nallow:\n  - a.test   # one\n")
    equal(run("allow", "**.example.org:443", "GET", "/v1/**").stdout, "allow **.example.org:443 GET /v1/**\n")
    run("deny", "bad.example.org")
    run("ask", "-s", "blue", "a.test:443")
    equal(G["global"].read_text(), '# my rules\nallow:\n  - a.test   # one\n  - "**.example.org:443 GET /v1/**"\ndeny:\n  - "bad.example.org"\n')
    contains(G["own"].read_text(), 'ask:\n  - "a.test:443"\n')
    equal(os.stat(G["own"]).st_mode & 0o777, 0o600)
    rules = G["env"].json("policy", "ls", "-s", "blue")["rules"]
    equal([(x["id"], x["scope"], x["text"]) for x in rules],
          [(1, "sandbox", "ask a.test:443"), (1, "global", "allow a.test"), (2, "global", "allow **.example.org:443 GET /v1/**"), (3, "global", "deny bad.example.org")])
    equal(rules[2]["methods"] + [rules[2]["path"]] + rules[2]["ports"], ["GET", "/v1/**", [443, 443]])
    out = run("ls").stdout
    contains(out, "allow **.example.org:443 GET /v1/**")
    equal("ask a.test:443" in out, False)
    equal(verdict("a.test"), "allow")
    equal(verdict("a.test", name="blue"), "ask")
    equal(verdict("a.test", name="red"), "allow")
    equal(verdict("bad.example.org"), "deny")
    equal(call("policy.check", host="x.example.org")["opens"], True)
    equal(verdict("x.example.org", method="get", path="/v1/y"), "allow")
    equal(verdict("x.example.org", method="POST", path="/v1/y"), "ask")
    contains(run("check", "x.example.org", "GET", "/v1/a").stdout, "global rule 'allow **.example.org:443 GET /v1/**'")
    equal(run("check", "bad.example.org:8443", ok=1).stdout.split(":")[0], "deny")
    run("rm", "2")
    run("rm", "deny", "bad.example.org")
    run("rm", "-s", "blue", "a.test:443")
    equal(G["global"].read_text(), "# my rules\nallow:\n  - a.test   # one\ndeny:\n")
    equal(verdict("bad.example.org"), "ask")


@case
def what_is_wrong_is_refused_with_a_sentence():
    "rules, numbers and names that are wrong change nothing"
    fresh()
    run("allow", "a.test")
    before = G["global"].read_text()
    for argv, part in ((["allow", "https://a.test/x"], "without a scheme"), (["allow", "a.test:99999"], "is no port"), (["allow", "2130706433"], "is no address"),
                       (["allow", "tcp", "a.test"], "needs a port"), (["allow", "a.test"], "there already"), (["rm", "7"], "no such rule"), (["rm", "b.test"], "no such rule"),
                       (["rm", "-s", "blue", "a.test"], "a global one is removed without a sandbox"), (["ls", "-s", "nobody"], "nobody"),
                       (["preset", "nice"], "balanced"), (["allow", "10.0.0.1/8"], "did you mean 10.0.0.0/8")):
        r = run(*argv, ok=1)
        contains(r.stderr, part)
        equal(r.stderr.count("\n"), 1, r.stderr)
    equal(G["global"].read_text(), before)
    refused(-32602, "say what the rule does", "policy.add", rule="a.test")
    refused(-32602, "either", "policy.remove")
    refused(-32602, "either", "policy.remove", id=1, rule="a.test")
    refused(-32602, "not a pattern", "policy.check", host="*.a.test")
    refused(-32602, "not a pattern", "policy.check", host="10.0.0.0/8")
    refused(1001, "", "policy.list", name="nobody")


@case
def files_are_watched():
    "a file that was edited, in place or replaced, holds at once, also one of a sandbox; removed, it holds no more"
    fresh()
    call("policy.list", name="blue")  # from now on it is known
    with G["env"].rpc() as r:
        r.call("events.subscribe")

        def edited(fn, path):
            fn()
            return r.wait_event(lambda e: e["kind"] == "log" and str(path) in e["text"], 10)

        edited(lambda: put(G["global"], "allow: [a.test]\n"), G["global"])
        equal(verdict("a.test"), "allow")
        edited(lambda: G["global"].write_text("deny: [a.test]\n"), G["global"])
        equal(verdict("a.test"), "deny")
        edited(lambda: put(G["own"], "deny: [b.test]\n"), G["own"])
        equal((verdict("b.test", name="blue"), verdict("b.test", name="red")), ("deny", "ask"))
        edited(lambda: put(G["admin"] / "policy.yaml", "deny: [c.test]\n"), G["admin"])
        equal(verdict("c.test"), "deny")
        edited(lambda: G["global"].unlink(), G["global"])
        equal(verdict("a.test"), "ask")


@case
def a_broken_file_is_refused_and_the_old_rules_stay():
    "line and column are told, by the log, policy ls and reload; mended, it holds"
    fresh()
    put(G["global"], "allow:\n  - a.test\ndeny:\n  - b.test\n")
    call("policy.reload")
    put(G["global"], "allow:\n  - a.test\ndeny:\n  - *.b.test\n")
    errors = call("policy.reload")["errors"]
    equal(len(errors), 1)
    contains(errors[0], "policy.yaml:4:")
    contains(errors[0], "stands in quotes")
    equal((verdict("a.test"), verdict("b.test")), ("allow", "deny"))
    contains(run("ls", ok=1).stderr, "policy.yaml:4:")
    doctor = next(x for x in call("doctor")["checks"] if x["name"] == "policy")
    equal(doctor["status"], "fail")
    contains(doctor["detail"], "policy.yaml:4:")
    contains(run("allow", "c.test", ok=1).stderr, "policy.yaml:4:")
    records = call("log.read", lines=20)["records"]
    equal(any("policy.yaml:4:" in x["text"] and x["level"] == "error" for x in records), True)
    put(G["global"], "deny:\n  - \"*.b.test\"\n")
    equal(call("policy.reload")["errors"], [])
    equal((verdict("a.test"), verdict("x.b.test")), ("ask", "deny"))


@case
def a_file_broken_from_the_start_denies():
    "after a restart there are no old rules: nothing is allowed until the file is mended, the administrator's too"
    fresh()
    for path in (G["global"], G["admin"] / "policy.yaml"):
        put(path, "allow: [a.test]\nalow: []\n")
        restart()
        equal(verdict("a.test"), "deny")
        contains(call("policy.list")["errors"][0], "policy.yaml:2:1")
        put(path, "allow: [a.test]\n")
        equal(call("policy.reload")["errors"], [])
        equal(verdict("a.test") != "deny", True)
        path.unlink()
        call("policy.reload")


@case
def the_administrator_is_a_bound():
    "a user's rules narrow it and never loosen it; its rules have no numbers and cannot be removed"
    fresh()
    put(G["admin"] / "policy.yaml", "allow:\n  - \"**.corp.test\"\ndeny:\n  - secret.corp.test\n")
    put(G["global"], "default: allow\nallow:\n  - secret.corp.test:443\n  - other.test\ndeny:\n  - low.corp.test\n")
    call("policy.reload")
    equal([verdict(h) for h in ("a.corp.test", "secret.corp.test", "other.test", "low.corp.test")], ["allow", "deny", "deny", "deny"])
    contains(call("policy.check", host="other.test")["why"], "not on the administrator's list")
    equal([x["id"] for x in call("policy.list")["rules"] if x["scope"] == "admin"], [None, None])
    run("rm", "allow", "**.corp.test", ok=1)
    run("preset", "open")
    equal(verdict("other.test"), "deny")


@case
def presets():
    "open, balanced, locked; a sandbox's own before the global one; a default of one's own before the preset's"
    fresh()
    run("preset", "balanced")
    equal(run("preset").stdout, "balanced\n")
    r = call("policy.list")
    equal(r["preset"], "balanced")
    equal(all(x["host"].startswith("**.") and x["id"] is None for x in r["rules"]), True)
    equal(len(r["rules"]) > 10, True)
    host = r["rules"][0]["host"][3:]
    equal((verdict(host), verdict("x." + host), verdict("else.test")), ("allow", "allow", "ask"))
    run("preset", "-s", "blue", "locked")
    equal((verdict(host, name="blue"), verdict("else.test", name="blue"), verdict(host, name="red")), ("deny", "deny", "allow"))
    run("preset", "-s", "blue", "none")
    equal((verdict(host, name="blue"), call("policy.list", name="blue")["preset"]), ("ask", None))
    run("preset", "open")
    equal((verdict("else.test"), verdict("10.0.0.1"), verdict("else.test", tcp=True)), ("allow", "deny", "ask"))
    put(G["global"], "preset: open\ndefault: deny\n")
    call("policy.reload")
    equal(verdict("else.test"), "deny")


@case
def unattended_sandboxes_are_denied_what_nobody_allows():
    "create --unattended: an ask is a deny, in the sandbox object too, and after a restart"
    fresh()
    G["env"].run("create", "--unattended", "-n", "robot", str(G["env"].dir / "src"), ok=0)
    run("allow", "a.test")
    run("ask", "b.test")
    for again in (False, True):
        if again:
            restart()
        equal([verdict(h, name="robot") for h in ("a.test", "b.test", "c.test")], ["allow", "deny", "deny"])
        equal([verdict(h, name="blue") for h in ("a.test", "b.test", "c.test")], ["allow", "ask", "ask"])
        equal(call("policy.list", name="robot")["unattended"], True)
        equal(call("sandbox.get", name="robot")["unattended"], True)


@case
def the_editor():
    "policy edit runs $EDITOR on the file and says what is wrong with it"
    fresh()
    env = {"EDITOR": "sh -c 'echo \"deny: [e.test]\" >\"$0\"'", "VISUAL": ""}
    run("edit", env=env)
    equal(verdict("e.test"), "deny")
    r = run("edit", "-s", "blue", env={"VISUAL": "sh -c 'echo \"dny: [e.test]\" >\"$0\"'"}, ok=1)
    contains(r.stderr, "blue/policy.yaml:1:1: 'dny' is not known here")
    contains(r.stderr, "stays so until that is mended")
    contains(run("edit", env={"VISUAL": "false"}, ok=1).stderr, "failed")


@case
def a_sandbox_that_is_gone_takes_its_rules_along():
    "a new one of the same name begins without"
    fresh()
    run("deny", "-s", "red", "r.test")
    equal(verdict("r.test", name="red"), "deny")
    call("sandbox.remove", name="red", force=True)
    call("sandbox.create", name="red", path=str(G["env"].dir / "src"))
    equal(verdict("r.test", name="red"), "ask")


@case
def thousands_of_rules():
    "a large file is read, listed, checked and changed"
    fresh()
    put(G["global"], "deny:\n" + "".join(f"  - \"**.host{i}.test\"\n" for i in range(5000)))
    equal(call("policy.reload")["errors"], [])
    equal((verdict("a.host4999.test"), verdict("a.host5000.test")), ("deny", "ask"))
    equal([x["id"] for x in G["env"].json("policy", "ls")["rules"]], list(range(1, 5001)))
    equal(len(call("policy.list", **{"from": 4900})["rules"]), 100)
    run("rm", "4999")
    equal((verdict("host4998.test"), verdict("host4997.test")), ("ask", "deny"))
    put(G["global"], "deny:\n" + "".join(f"  - h{i}.test\n" for i in range(8193)))
    contains(call("policy.reload")["errors"][0], "more than 8192 rules")
    equal(verdict("a.host4999.test"), "deny")
    put(G["global"], "allow:\n" + "".join(f"  - h{i}.test /{'x' * 110}\n" for i in range(8192)))
    contains(call("policy.reload")["errors"][0], "larger than 1 MiB")
    contains(call("policy.list")["errors"][0], "larger than 1 MiB")
    equal(verdict("else.test"), "deny")
    fresh()
    equal(verdict("else.test"), "ask")


@case
def completions():
    "bash completes the commands of policy, their options and the names of sandboxes"
    def complete(*words):
        line = " ".join(f"'{w}'" for w in ("bulkhead", *words))
        script = (f'export PATH={pathlib.Path(G["env"].program).parent}:$PATH; source <(bulkhead completion bash); COMP_WORDS=({line}) COMP_CWORD={len(words)}; '
                  '_bulkhead; echo "${COMPREPLY[*]}"')
        return subprocess.run(["bash", "-c", script], env=G["env"].env, capture_output=True, text=True, check=True).stdout.split()

    equal(complete("policy", "pre"), ["preset"])
    equal(complete("policy", "preset", "ba"), ["balanced"])
    equal(complete("policy", "allow", "--sa"), ["--sandbox"])
    equal(complete("policy", "allow", "-s", "bl"), ["blue"])
    equal(complete("policy", "log", "--fo"), ["--follow"])


@case
def decisions_are_logged():
    "policy log: none yet; words that are wrong are refused"
    equal(run("log").stdout, "")
    contains(run("log", "--verdict", "maybe", ok=2).stderr, "allow, deny or ask")
    contains(run("log", "-n", "0", ok=2).stderr, "1 to 5000")


main(set_up, tear_down)
