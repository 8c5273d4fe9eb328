#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Credentials and the audit log through the supervisor's socket; no machine is booted. Cases run in order and share one supervisor."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bulkhead import BUILD, Env, Rpc, RpcError  # noqa: E402
from tap import Skip, case, contains, equal, main, wait_for  # noqa: E402

G = {}  # env, daemon, r


def setup():
    G["env"] = Env()
    for k in ("DBUS_SESSION_BUS_ADDRESS", "PROVIDER_KEY"):
        G["env"].env.pop(k, None)
    up()


def up(**extra):
    G["env"].env.update(extra)
    G["daemon"] = G["env"].spawn_supervisor()
    G["r"] = G["env"].rpc()


def down(kill=True):
    G["r"].close()
    G["daemon"].kill() if kill else G["daemon"].terminate()
    G["daemon"].wait(20)


def teardown():
    G["r"].close()
    G["env"].close()


def call(method, **params):
    return G["r"].call(method, **params)


def refused(code, part, method, **params):
    try:
        call(method, **params)
    except RpcError as e:
        equal(e.code, code, f"{method}: {e}")
        contains(str(e), part)
        return e
    raise AssertionError(f"{method} {params} was not refused")


def secrets(all_=False):
    r = call("secret.list")
    return r if all_ else {(s["service"], s["sandbox"]): s for s in r["secrets"]}


def state(*parts):
    return G["env"].state.joinpath("bulkhead", *parts)


def values():
    return sorted(p.name for p in state("secrets").glob("*.value"))


def memory_holds(pid, needle):
    """Where the bytes stand in a process' writable memory once it has ended the turn in which it answered: names of mappings."""
    call("sync")
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            span, perms, rest = line.split(maxsplit=2)
            if not perms.startswith("rw"):
                continue
            a, b = (int(x, 16) for x in span.split("-"))
            if b - a > 1 << 30:  # a sanitizer's own books, reserved rather than used
                continue
            try:
                mem.seek(a)
                data = mem.read(b - a)
            except (OSError, ValueError, OverflowError):
                continue
            if needle in data:
                found.append(rest.split()[-1] if len(rest.split()) > 3 else f"anonymous {span}")
    return found


# ---- stored ------------------------------------------------------------------------------------------------------------------------------


@case
def a_stored_value_lies_in_a_closed_file_and_is_told_of():
    r = call("secret.set", service="anthropic", value="sk-ant-api03-one-two-three")
    equal((r["service"], r["sandbox"], r["source"], r["detail"], r["masked"]), ("anthropic", None, "stored", "file", "sk-…ee"))
    contains(r["notice"], "no Secret Service keeps it (there is no session bus)")
    equal(state("secrets").stat().st_mode & 0o777, 0o700)
    for p in state("secrets").iterdir():
        equal(p.stat().st_mode & 0o777, 0o600, p.name)
    equal(len(values()), 1)
    equal(state("secrets", values()[0]).read_text(), "sk-ant-api03-one-two-three")
    equal("one-two" in state("secrets", "secrets.json").read_text(), False)
    answer = secrets(all_=True)
    equal(answer["store"], "file")
    equal("one-two" in json.dumps(answer), False)


@case
def the_value_is_nowhere_in_the_supervisors_memory():
    "after it was set while no machine needs it; a value that is held is found by the same search"
    value = "vAlUe-" + os.urandom(12).hex()
    call("secret.set", service="groq", value=value)
    equal(memory_holds(G["daemon"].pid, value.encode()), [])
    call("secret.set", service="groq", env="PROVIDER_KEY", value=value)
    found = memory_holds(G["daemon"].pid, value.encode())
    equal(len(found), 1, f"held once, in pages of its own: {found}")
    maps = pathlib.Path(f"/proc/{G['daemon'].pid}/smaps").read_text()
    locked = [int(x) for x in re.findall(r"^Locked:\s+(\d+) kB", maps, re.M)]
    sanitized = b"__asan_init" in pathlib.Path(BUILD, "bulkhead-supervisor").read_bytes()  # its mlock() does nothing
    equal(any(locked) or sanitized, True, "some page is locked")
    call("secret.remove", service="groq")
    equal(memory_holds(G["daemon"].pid, value.encode()), [])


@case
def a_new_value_replaces_the_old_one_and_its_file():
    call("secret.set", service="anthropic", value="sk-ant-api03-another-one")
    equal(len(values()), 1)
    equal(state("secrets", values()[0]).read_text(), "sk-ant-api03-another-one")
    equal(list(secrets()), [("anthropic", None)])


@case
def a_sandbox_has_its_own():
    G["dir"] = pathlib.Path(G["env"].dir, "w")
    G["dir"].mkdir()
    call("sandbox.create", kit="shell", name="blue", path=str(G["dir"]))
    call("secret.set", service="anthropic", name="blue", value="sk-ant-api03-of-blue")
    equal(sorted(secrets(), key=str), [("anthropic", "blue"), ("anthropic", None)])
    refused(1001, "there is no sandbox 'bleu'", "secret.set", service="anthropic", name="bleu", value="x" * 20)
    equal(len(values()), 2)


@case
def they_are_there_after_a_sigkill():
    down()
    up()
    equal(sorted(secrets(), key=str), [("anthropic", "blue"), ("anthropic", None)])
    equal(secrets()[("anthropic", "blue")]["masked"], "sk-…ue")


@case
def removed_with_its_sandbox():
    call("sandbox.remove", name="blue", force=True)
    equal(list(secrets()), [("anthropic", None)])
    equal(len(values()), 1)


@case
def removed_with_its_file():
    call("secret.remove", service="anthropic")
    equal(secrets(), {})
    equal(values(), [])
    refused(1001, "there is no credential 'anthropic'", "secret.remove", service="anthropic")


@case
def what_is_no_credential_is_refused():
    for value, part in (("", "it is empty"), ("a\nb", "more than one line"), ("a\x01b", "control character"), ("x" * 8192, "longer than 8191"), (7, "must be a string")):
        refused(-32602, part, "secret.set", service="anthropic", value=value)
    refused(-32602, "says where the value comes from", "secret.set", service="anthropic")
    refused(-32602, "says where the value comes from", "secret.set", service="anthropic", value="x" * 20, command=["true"])
    refused(-32602, "must be the name of a variable", "secret.set", service="anthropic", env="A B")
    refused(-32602, "must begin with a program", "secret.set", service="anthropic", command=[])
    e = refused(1001, "there is no service 'antropic'", "secret.set", service="antropic", value="x" * 20)
    equal(e.data["did_you_mean"], "anthropic")
    equal(secrets(), {})
    equal(values(), [])
    call("secret.set", service="anthropic", value="x" * 8191)
    call("secret.remove", service="anthropic")


# ---- from the environment and from commands ----------------------------------------------------------------------------------------------


@case
def from_a_variable_of_the_environment():
    r = call("secret.set", service="openai", env="PROVIDER_KEY")
    contains(r["notice"], "the supervisor's environment has no 'PROVIDER_KEY' yet")
    equal((r["source"], r["detail"], r["masked"]), ("env", "PROVIDER_KEY", None))
    down()
    up(PROVIDER_KEY="sk-proj-from-environment")
    equal(secrets()[("openai", None)]["detail"], "PROVIDER_KEY")
    r = call("secret.set", service="openai", env="PROVIDER_KEY")
    equal((r.get("notice"), r["masked"]), (None, "sk-…nt"))
    equal(values(), [])
    call("secret.remove", service="openai")


@case
def the_command_line_hands_a_variable_on():
    "also to the supervisor it starts later; no other variable goes with it"
    env = {"PROVIDER_KEY": "sk-proj-from-the-shell-00", "OTHER_KEY": "another-key"}
    out = G["env"].run("secret", "set", "openai", "--from-env", "PROVIDER_KEY", env=env, ok=0).stdout
    contains(out, "openai is set for every sandbox (env)")
    equal(secrets()[("openai", None)]["masked"], "sk-…00")
    down()
    G["env"].run("ls", env=env, ok=0)
    pid = G["env"].supervisor_pid()
    began = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
    equal((b"sk-proj-from-the-shell-00" in began, b"another-key" in began), (True, False))
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not pathlib.Path(f"/proc/{pid}").exists() or "State:\tZ" in pathlib.Path(f"/proc/{pid}/status").read_text(), 10, "the supervisor to be gone")
    up()
    call("secret.remove", service="openai")


@case
def from_a_command_without_a_shell():
    r = call("secret.set", service="github", command=["printf", "%s\\n", "ghp_$HOME;x0123456"])
    equal((r["source"], r["detail"], r["masked"]), ("command", "printf %s\\n ghp_$HOME;x0123456", "ghp…56"))
    equal(values(), [])
    equal("ghp_$HOME" in state("secrets", "secrets.json").read_text(), True)  # as an argument: the person's words
    call("secret.remove", service="github")


@case
def a_command_that_fails_says_why_and_changes_nothing():
    def fails(part, *argv):
        refused(1006, part, "secret.set", service="github", command=list(argv))

    fails("'sh' exited with status 3: not logged in", "sh", "-c", "echo starting >&2; echo not logged in >&2; exit 3")
    fails("'false' exited with status 1", "false")
    fails("there is no program 'no-such-program'", "no-such-program")
    fails("cannot start '/etc/passwd'", "/etc/passwd")
    fails("it is empty", "true")
    fails("more than one line", "printf", "a\\nb")
    fails("printed more than 8191 bytes", "head", "-c", "1000000", "/dev/zero")
    fails("killed by SIGKILL", "sh", "-c", "kill -9 $$")
    equal(secrets(), {})


@case
def a_command_has_no_key_of_the_environment_and_leaves_nothing_behind():
    "the supervisor's PROVIDER_KEY is not passed on; a process that the command leaves is not waited for"
    refused(1006, "it is empty", "secret.set", service="github", command=["sh", "-c", "printf '%s' \"$PROVIDER_KEY\""])
    t, left = time.monotonic(), pathlib.Path(G["env"].dir, "left")
    r = call("secret.set", service="github", command=["sh", "-c", f"sleep 47 & echo $! >'{left}'; printf abcdefghijklmnop"])
    equal(r["masked"], "abc…op")
    equal(time.monotonic() - t < 20, True, "it did not wait for what was left")
    os.kill(int(left.read_text()), signal.SIGKILL)
    call("secret.remove", service="github")


@case
def two_at_once_for_one_service():
    fifo = pathlib.Path(G["env"].dir, "fifo")
    os.mkfifo(fifo)
    with G["env"].rpc() as other:
        n = other.send("secret.set", service="github", command=["cat", str(fifo)])
        wait_for(lambda: subprocess.run(["pgrep", "-f", f"cat {fifo}"], capture_output=True).stdout, 10, "the command to run")
        refused(1008, "is being set already", "secret.set", service="github", value="x" * 20)
        call("secret.set", service="xai", value="x" * 20)
        with open(fifo, "w") as f:
            f.write("late-but-good-value\n")
        equal(other.answer(n)["masked"], "lat…ue")
    call("secret.remove", service="github")
    call("secret.remove", service="xai")


@case
def a_client_that_leaves_and_a_supervisor_that_ends_meanwhile():
    fifo = pathlib.Path(G["env"].dir, "fifo2")
    os.mkfifo(fifo)
    other = G["env"].rpc()
    other.send("secret.set", service="github", command=["cat", str(fifo)])
    wait_for(lambda: subprocess.run(["pgrep", "-f", f"cat {fifo}"], capture_output=True).stdout, 10, "the command to run")
    other.close()
    equal(call("sync")["seq"] >= 0, True)
    down(kill=False)
    equal(G["daemon"].returncode, 0)
    wait_for(lambda: not subprocess.run(["pgrep", "-f", f"cat {fifo}"], capture_output=True).stdout, 10, "the command to be gone")
    up()
    equal(secrets(), {})


# ---- services ----------------------------------------------------------------------------------------------------------------------------


@case
def the_persons_own_services():
    own = G["env"].config / "bulkhead" / "services.yaml"
    own.parent.mkdir(exist_ok=True)
    own.write_text("forge:\n  env: FORGE_TOKEN\n  hosts: git.forge.example\n  header: Authorization\n  format: basic:me\n")
    known = {s["name"]: s for s in secrets(all_=True)["services"]}
    equal(known["forge"]["hosts"], ["git.forge.example"])
    equal({"anthropic", "openai", "google", "github", "groq", "mistral", "openrouter", "xai", "npm"} <= set(known), True)
    call("secret.set", service="forge", value="0123456789abcdef")
    # A broken file is refused with its place, and what was good stays.
    own.write_text("forge:\n  env: FORGE_TOKEN\n  host: git.forge.example\n")
    r = secrets(all_=True)
    contains(r["errors"][0], "services.yaml:3:3: a service has 'summary'")
    equal("forge" in {s["name"] for s in r["services"]}, True)
    own.unlink()
    r = secrets(all_=True)
    equal(r["errors"], [])
    contains(r["secrets"][0]["error"], "no service of this name")
    call("secret.remove", service="forge")


@case
def a_damaged_list_is_not_overwritten():
    call("secret.set", service="xai", value="0123456789abcdef")
    down()
    p = state("secrets", "secrets.json")
    good = p.read_text()
    for bad in (good[:-20], "[]", good.replace('"id"', '"no"'), good.replace('"stored"', '"stolen"'), ""):
        p.write_text(bad)
        up()
        refused(1006, "cannot be used", "secret.list")
        refused(1006, "cannot be used", "secret.set", service="groq", value="x" * 20)
        down()
        equal(p.read_text(), bad)
    p.write_text(good)
    up()
    equal(list(secrets()), [("xai", None)])
    call("secret.remove", service="xai")


# ---- the Secret Service ------------------------------------------------------------------------------------------------------------------


class Bus:
    """A session bus with a keyring of its own, unlocked."""

    def __init__(self, env):
        self.dir = env.dir / "keyring"
        (self.dir / "data").mkdir(parents=True)
        self.env = {**env.env, "XDG_DATA_HOME": str(self.dir / "data"), "HOME": str(self.dir), "XDG_RUNTIME_DIR": str(self.dir)}
        os.chmod(self.dir, 0o700)
        self.bus = subprocess.Popen(["dbus-daemon", "--session", "--nofork", "--print-address"], env=self.env, stdout=subprocess.PIPE,
                                    stderr=subprocess.DEVNULL, text=True)
        self.address = self.bus.stdout.readline().strip()
        self.env["DBUS_SESSION_BUS_ADDRESS"] = self.address
        self.ring = subprocess.Popen(["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"], env=self.env,
                                     stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.ring.stdin.write(b"a password\n")
        self.ring.stdin.close()
        wait_for(lambda: subprocess.run(["secret-tool", "store", "--label=ready", "a", "b"], env=self.env, input=b"x", capture_output=True,
                                        timeout=10).returncode == 0, 15, "the keyring")

    def items(self):
        return subprocess.run(["secret-tool", "search", "--all", "application", "bulkhead"], env=self.env, capture_output=True, text=True, timeout=10).stdout

    def close(self):
        for p in (self.ring, self.bus):
            p.kill()
            p.wait()


@case
def the_secret_service_keeps_it():
    if not all(map(shutil.which, ("secret-tool", "gnome-keyring-daemon", "dbus-daemon"))):
        raise Skip("libsecret-tools, gnome-keyring or dbus-daemon is not installed")
    down()
    bus = Bus(G["env"])
    try:
        up(DBUS_SESSION_BUS_ADDRESS=bus.address)
        r = call("secret.set", service="anthropic", value="sk-ant-api03-in-the-keyring")
        equal((r["detail"], r.get("notice")), ("secret-service", None))
        equal(values(), [])
        equal(secrets(all_=True)["store"], "secret-service")
        contains(bus.items(), "sk-ant-api03-in-the-keyring")
        contains(bus.items(), "Bulkhead: anthropic")
        equal(memory_holds(G["daemon"].pid, b"-in-the-keyring"), [])
        call("secret.set", service="anthropic", value="sk-ant-api03-the-next-one")
        wait_for(lambda: "in-the-keyring" not in bus.items(), 10, "the old one to be gone")
        contains(bus.items(), "the-next-one")
        call("secret.remove", service="anthropic")
        wait_for(lambda: "the-next-one" not in bus.items(), 10, "it to be gone")
        # The keyring goes away: a file and a notice instead.
        bus.ring.kill()
        bus.ring.wait()
        r = call("secret.set", service="anthropic", value="sk-ant-api03-without-one")
        equal(r["detail"], "file")
        contains(r["notice"], "no Secret Service keeps it")
        call("secret.remove", service="anthropic")
    finally:
        bus.close()
        down()
        G["env"].env.pop("DBUS_SESSION_BUS_ADDRESS")
        up()


# ---- the audit log -----------------------------------------------------------------------------------------------------------------------


def lines():
    return [json.loads(x) for p in sorted(state("audit").glob("*.jsonl")) for x in p.read_text().splitlines()]


@case
def every_change_of_a_credential_is_a_record():
    n = len(lines())
    call("secret.set", service="xai", value="0123456789abcdef")
    call("secret.remove", service="xai")
    got = lines()[n:]
    equal([(x["event"], x["what"], x["service"], x["sandbox"], x["source"]) for x in got],
          [("secret", "set", "xai", None, "stored"), ("secret", "removed", "xai", None, "stored")])
    equal([x["seq"] for x in lines()], list(range(1, len(lines()) + 1)))
    equal("0123456789abcdef" in "".join(p.read_text() for p in state("audit").glob("*.jsonl")), False)
    r = call("audit.verify")
    equal((r["ok"], r["problem"], r["records"]), (True, None, len(lines())))
    equal(call("policy.log")["decisions"], [])
    refused(-32602, "'allow', 'deny' or 'ask'", "policy.log", verdict="maybe")


@case
def a_sigkill_loses_no_record():
    for i in range(20):
        call("secret.set", service="xai", value=f"0123456789abcdef{i}")
    n = len(lines())
    down()
    up()
    equal(len(lines()), n)
    r = call("audit.verify")
    equal((r["ok"], r["records"]), (True, n))


@case
def a_torn_line_is_cut_and_told():
    n = len(lines())
    down()
    p = sorted(state("audit").glob("*.jsonl"))[-1]
    with p.open("a") as f:
        f.write('{"seq":9999,"at":"20')
    up()
    got = lines()
    equal((len(got), got[-1]["event"]), (n + 1, "torn"))
    equal(call("audit.verify")["ok"], True)
    text = json.dumps(call("log.read", lines=50))
    contains(text, "torn line")


@case
def tampering_is_named():
    p = sorted(state("audit").glob("*.jsonl"))[-1]
    wait_for(lambda: json.loads(state("audit", "head").read_text())["seq"] == len(lines()), 10, "the head to be written")
    good = p.read_text()
    text = good.splitlines()
    third = json.loads(text[2])["seq"]
    p.write_text("\n".join([*text[:2], text[2].replace("secret", "socket", 1), *text[3:]]) + "\n")
    r = call("audit.verify")
    equal((r["ok"], r["problem"]), (False, f"record {third} was altered"))
    p.write_text("\n".join([*text[:2], *text[3:]]) + "\n")
    equal(call("audit.verify")["problem"], f"record {third} is missing")
    p.write_text("\n".join(text[:-2]) + "\n")
    contains(call("audit.verify")["problem"], "are missing at the end")
    p.write_text(good)
    equal(call("audit.verify")["ok"], True)


main(setup, teardown)
