#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The supervisor with real children and a really booted guest, through docs/protocol.md. Cases run in order and share one sandbox ('a')."""
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bulkhead import BUILD, CHILD_VERSION, TOP, Env, Rpc, RpcError  # noqa: E402
from sess import Exec, run, sh  # noqa: E402
from inject import system_call  # noqa: E402
from tap import case, contains, equal, main, wait_for  # noqa: E402

G = {}  # env, daemon, r (a client)
BOOT_MS = 120000


def setup():
    G["env"] = Env()
    G["daemon"] = G["env"].spawn_supervisor()
    G["r"] = G["env"].rpc()


def teardown():
    env = G["env"]
    wait_for(lambda: G["daemon"].poll() is None, 1, "the supervisor to be alive at the end")
    env.close()


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


def state(name="a"):
    return call("sandbox.get", name=name)["state"]


def reach(*states, name="a", ms=BOOT_MS, **kw):
    return call("sandbox.wait", name=name, states=list(states), timeout_ms=ms, timeout=ms / 1000 + 10, **kw)


def up(name="a"):
    """Running, whatever it was before."""
    if state(name) in ("stopped", "failed"):
        call("sandbox.start", name=name)
    return reach("running", name=name)


def crash():
    """SIGKILLs the supervisor."""
    G["daemon"].kill()
    G["daemon"].wait()
    G["r"].close()


def again():
    G["daemon"] = G["env"].spawn_supervisor()
    G["r"] = G["env"].rpc()


def children(name="a"):
    """pids of vmm and term as the supervisor wrote them down."""
    d = G["env"].runtime / "bulkhead/sb" / name
    return {k: int((d / f"{k}.pid").read_text().split()[0]) for k in ("vmm", "term") if (d / f"{k}.pid").exists()}


def machine_pid(name="a"):
    vmm = children(name)["vmm"]

    def look():
        for p in pathlib.Path("/proc").iterdir():
            try:
                if p.name.isdigit() and int((p / "stat").read_text().rsplit(")", 1)[1].split()[1]) == vmm:
                    return int(p.name)
            except (OSError, IndexError):
                continue
        return None

    return wait_for(look, 10, "the vmm to have a machine")


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def sb_file(name, file):
    return G["env"].state / "bulkhead/sandboxes" / name / file


# ---- without a machine ------------------------------------------------------------------------------------------------------------


@case
def one_supervisor_a_user():
    "a second supervisor leaves with a sentence; socket and directory are closed to others"
    import subprocess
    p = subprocess.run([str(BUILD / "bulkhead-supervisor")], env=G["env"].env, capture_output=True, text=True, timeout=20)
    equal(p.returncode, 1)
    contains(p.stderr, "a supervisor runs already")
    equal(G["env"].socket.parent.stat().st_mode & 0o777, 0o700)
    equal(G["env"].supervisor_pid(), G["daemon"].pid)


@case
def protocol_abuse():
    "garbage, duplicate keys, deep nesting, wrong types and a missing hello are each answered with a sentence"
    with Rpc(G["env"].socket, hello=False) as c:
        def raw(line):
            c.s.sendall(line + b"\n")
            return c.line(10)["error"]

        equal(raw(b"\x00\xff\xfe garbage")["code"], -32700)
        equal(raw(b"{" * 100000)["code"], -32700)
        equal(raw(b'{"a":' * 5000 + b"1" + b"}" * 5000)["code"], -32700)
        equal(raw(b'{"jsonrpc":"2.0","id":1,"id":2,"method":"hello"}')["code"], -32700)
        equal(raw(b"[1,2]")["code"], -32600)
        equal(raw(b'{"jsonrpc":"2.0","id":{},"method":"hello"}')["code"], -32600)
        equal(raw(b'{"jsonrpc":"2.0","id":1,"method":"sandbox.list"}')["code"], -32600)
        contains(raw(b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{"version":99}}')["message"], "protocol 1")
        equal(raw(b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{"version":"1"}}')["code"], -32602)
        c.s.sendall(b'{"jsonrpc":"2.0","id":"x","method":"hello","params":{"version":1}}\n')
        equal(c.line(10)["id"], "x")
    e = refused(-32601, "there is no method", "sandbox.lst")
    equal(e.data, {"did_you_mean": "sandbox.list"})
    refused(-32602, "no parameter 'nmae'", "sandbox.get", nmae="x")
    refused(-32602, "'name' is missing", "sandbox.get")
    refused(-32602, "'name' must be a string", "sandbox.get", name=3)
    refused(-32602, "'lines' must be a whole number", "log.read", lines=-1)
    refused(-32602, "must name at least one state", "sandbox.wait", name=create("w"), states=[])
    refused(-32602, "no state 'flying'", "sandbox.wait", name="w", states=["flying"])
    call("sandbox.remove", name="w")


def create(name, **kw):
    return call("sandbox.create", name=name, kit="shell", **kw)["name"]


@case
def a_line_too_long_ends_the_connection_only():
    "2 MiB without a newline: that client is told and cut, the others go on"
    with Rpc(G["env"].socket) as c:
        c.s.settimeout(20)
        try:
            c.s.sendall(b"x" * (2 << 20))
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            contains(c.line(10)["error"]["message"], "a line may have at most")
            c.line(10)
            raise AssertionError("the connection is still open")
        except ConnectionError:
            pass
    call("sandbox.list")


@case
def bad_input_is_refused_before_anything_is_made():
    "names, paths, sizes, kits and environments that cannot be: a sentence, and nothing is left"
    for name in ("a/b", "..", "", "x" * 41, "Ümlaut", "new\nline", "-x"):
        refused(-32602, "name", "sandbox.create", name=name, kit="shell")
    refused(1006, "does not exist", "sandbox.create", kit="shell", path="/no/such/directory")
    refused(1006, "/etc/passwd", "sandbox.create", kit="shell", path="/etc/passwd")
    refused(1005, "more than this machine has", "sandbox.create", kit="shell", memory=1 << 50)
    refused(1005, "too little", "sandbox.create", kit="shell", memory=1 << 20)
    refused(1005, "CPUs", "sandbox.create", kit="shell", cpus=999)
    refused(1005, "too small", "sandbox.create", kit="shell", disk=4096)
    refused(-32602, "'memory'", "sandbox.create", kit="shell", memory="2G")
    equal(refused(-32602, "there is no kit", "sandbox.create", kit="shel").data, {"did_you_mean": "shell"})
    refused(-32602, "env", "sandbox.create", kit="shell", env={"A B": "x"})
    refused(-32602, "there is no backend", "sandbox.create", kit="shell", backend="xen")
    equal(call("sandbox.list")["sandboxes"], [])
    equal(os.listdir(G["env"].state / "bulkhead/sandboxes"), [])


@case
def a_create_cut_short_leaves_nothing():
    "a supervisor killed while it makes a sandbox: the next one shows no sandbox that nobody made"
    d = G["env"].state / "bulkhead/sandboxes"
    half = d / ".new-half"
    (half / "rec").mkdir(parents=True)
    crash()
    again()
    equal((call("sandbox.list")["sandboxes"], half.exists()), ([], False))
    equal(create("half"), "half")
    equal(sorted(os.listdir(d)), ["half"])
    refused(1002, "already a sandbox", "sandbox.create", name="half", kit="shell")
    call("sandbox.remove", name="half")


@case
def names_are_made_of_the_directory():
    "without a name: the directory's, made legal and unique; found again by its path"
    d = G["env"].dir / "My Project.2"
    d.mkdir()
    one, two = (call("sandbox.create", kit="shell", path=str(d))["name"] for _ in range(2))
    equal((one, two), ("my-project-2", "my-project-2-2"))
    equal([s["name"] for s in call("sandbox.find", path=str(d))["sandboxes"]], [one, two])
    equal(refused(1001, "there is no sandbox", "sandbox.get", name="my-project-3").data, {"did_you_mean": "my-project-2"})
    refused(1002, "already", "sandbox.create", kit="shell", name=one)
    equal(sorted(call("sandbox.prune")["removed"]), [one, two])
    wait_for(lambda: not call("sandbox.list")["sandboxes"], 10, "the pruned ones to go")


@case
def two_subscribers_see_the_same():
    "two subscribers get every event in the same order; sync ends what a request caused"
    with G["env"].rpc("dashboard") as a, G["env"].rpc("dashboard") as b:
        a.call("events.subscribe")
        b.call("events.subscribe")
        create("two")
        call("sandbox.remove", name="two")
        call("sync")
        for c in (a, b):
            c.call("sync")
        kinds = [(e["seq"], e["kind"], e.get("name")) for e in a.events]
        equal(kinds, [(e["seq"], e["kind"], e.get("name")) for e in b.events])
        for want in ("sandbox", "log", "removed", "host"):
            if want not in [k for _, k, _ in kinds]:
                raise AssertionError(f"no {want} in {kinds}")
        equal([s for s, _, _ in kinds], sorted(s for s, _, _ in kinds))


@case
def thirty_sandboxes():
    "30 stopped sandboxes: listed in a moment, there again after SIGTERM and a new supervisor; a damaged one is shown and can only be removed"
    for i in range(30):
        create(f"n{i:02}", env={"K": "v" * 100})
    t = time.monotonic()
    equal(len(call("sandbox.list")["sandboxes"]), 30)
    took = time.monotonic() - t
    if took > 0.5:
        raise AssertionError(f"the list took {took:.2f} s")
    G["daemon"].terminate()
    equal(G["daemon"].wait(10), 0)
    G["r"].close()
    sb_file("n07", "sandbox.json").write_bytes(b'{"version": 1, "name": "n0')
    sb_file("n08", "sandbox.json").write_text(sb_file("n08", "sandbox.json").read_text().replace('"cpus": 2', '"cpus": 4000'))
    again()
    listed = {s["name"]: s for s in call("sandbox.list")["sandboxes"]}
    equal(len(listed), 30)
    equal({s["state"] for n, s in listed.items() if n not in ("n07", "n08")}, {"stopped"})
    for n in ("n07", "n08"):
        equal(listed[n]["state"], "failed")
        contains(listed[n]["reason"], "damaged")
        refused(1003, "only be removed", "sandbox.start", name=n)
    equal(call("sandbox.get", name="n03")["env"], {"K": "v" * 100})


def resynced(c, fill):
    """The events that `c`, which does not read while fill() runs, gets from its `resync` on."""
    ids = [c.send("sandbox.list") for _ in range(20)]
    for _ in range(10):
        call("sync")
    fill()
    call("sync")
    for i in ids:
        c.answer(i)
    first = c.wait_event(lambda e: e["kind"] == "resync", 10)
    c.call("sync")
    return first, c.events


@case
def a_state_larger_than_a_line():
    "large environments are not in lists; what a line does not hold follows it: 40 sandboxes of long paths are all listed, told and told again"
    call("sandbox.prune")
    wait_for(lambda: not call("sandbox.list")["sandboxes"], 20, "the sandboxes to go")
    for i in range(2):
        create(f"e{i}", env={"K": "v" * 31000})
    deep = G["env"].dir.joinpath(*["d" * 200] * 4)
    tops = [deep / f"{i}{'w' * (1000 - len(str(deep)) - 2)}" for i in range(8)]
    for t in tops:
        t.mkdir(parents=True)
    for i in range(40):
        create(f"n{i:02}", path=str(tops[0]), workspaces=[{"path": str(t), "mode": "ro"} for t in tops[1:]])
    names = {f"n{i:02}" for i in range(40)} | {"e0", "e1"}
    r = call("sandbox.list")
    assert len(json.dumps(r["sandboxes"][:2])) < 5000 and r["sandboxes"][0]["name"] == "e0", r["sandboxes"][0]
    assert r["next"] and len(r["sandboxes"]) < 42
    rest = call("sandbox.list", **{"from": r["next"]})
    equal([s["name"] for s in r["sandboxes"] + rest["sandboxes"]], sorted(names))
    equal((rest["next"], len(G["env"].json("ls")["sandboxes"])), (None, 42))
    equal(call("sandbox.get", name="e1")["env"], {"K": "v" * 31000})
    with G["env"].rpc("dashboard") as c:
        r = c.call("events.subscribe")
        c.call("sync")
        follow = [e["sandbox"]["name"] for e in c.events if e["kind"] == "sandbox"]
        assert follow, "nothing followed"
        equal((r["rest"], {s["name"] for s in r["sandboxes"]} | set(follow)), (follow, names))
        first, then = resynced(c, lambda: create("seen-late"))
        follow = [e["sandbox"]["name"] for e in then if e["kind"] == "sandbox"]
        equal((first["rest"], {s["name"] for s in first["sandboxes"]} | set(follow)), (follow, names | {"seen-late"}))
    call("sandbox.prune")
    wait_for(lambda: not call("sandbox.list")["sandboxes"], 20, "the sandboxes to go")
    for i in range(30):
        create(f"n{i:02}")


@case
def slow_reader():
    "a subscriber that does not read misses events, stalls nobody, and gets the state once it reads"
    slow = Rpc(G["env"].socket, "dashboard")
    slow.call("events.subscribe")
    ids = [slow.send("sandbox.list") for _ in range(120)]  # answers of some 20 KiB that nobody reads
    for _ in range(10):
        call("sync")  # a turn of the supervisor each: by now it is stuck with that client
    t = time.monotonic()
    create("seen-late")
    if time.monotonic() - t > 20:
        raise AssertionError("a slow reader made another client wait")
    call("sync")
    for i in ids:
        slow.answer(i)
    e = slow.wait_event(lambda e: e["kind"] == "resync", 10)
    contains([s["name"] for s in e["sandboxes"]], "seen-late")
    slow.close()
    call("sandbox.prune")
    wait_for(lambda: not call("sandbox.list")["sandboxes"], 20, "the sandboxes to go")


@case
def a_child_that_breaks_the_protocol():
    "a vmm that sends what is not legal is killed at once and its sandbox fails with that reason; who asked for KVM is not given QEMU"
    d = G["env"].dir / "fake"
    d.mkdir()
    for f in ("bulkhead-supervisor", "bulkhead-term", "bulkhead-net", "bulkhead-guest"):
        shutil.copy(BUILD / f, d / f)
    fake = d / "bulkhead-vmm"
    fake.write_text(f"""#!{sys.executable}
import json, os, socket, struct, sys
if "--probe" in sys.argv:
    print(json.dumps({{"kvm": "absent", "sentence": "there is none here", "qemu": "7", "accel": "tcg", "loop_ns": 0}}))
    sys.exit()
s = socket.socket(fileno=3)
s.setblocking(True)
data, fds, _, _ = socket.recv_fds(s, 65536, 16)
kind, zero, gen = struct.unpack_from("<HHI", data)
jail = b"none"
s.send(struct.pack("<HHI", 120, 0, gen) + struct.pack("<HIH", {CHILD_VERSION}, os.getpid(), len(jail)) + jail)
how = open({str(d / 'how')!r}).read()
if how == "illegal":
    s.send(struct.pack("<HHI", 120, 0, gen) + struct.pack("<HIH", {CHILD_VERSION}, os.getpid(), len(jail)) + jail)
elif how == "unknown":
    s.send(struct.pack("<HHI", 999, 0, gen))
elif how == "damaged":
    s.send(struct.pack("<HHI", 121, 0, gen) + b"\\xff" * 7)
elif how == "generation":
    s.send(struct.pack("<HHI", 123, 0, gen + 1))
elif how == "silence":
    os._exit(7)
s.recv(1)
""")
    fake.chmod(0o755)
    with Env(BULKHEAD_DATADIR=str(TOP)) as env:
        env.spawn_supervisor(str(d / "bulkhead-supervisor"))
        r = env.rpc()
        r.call("sandbox.create", name="f", kit="shell")
        for how, part in (("illegal", "illegal message 120"), ("unknown", "unknown message 999"), ("damaged", "damaged message 121"),
                          ("generation", "illegal message 123"), ("silence", "exited with status 7")):
            (d / "how").write_text(how)
            r.call("sandbox.start", name="f")
            s = r.call("sandbox.wait", name="f", states=["failed"], timeout_ms=20000)
            contains(s["reason"], part)
        r.call("sandbox.create", name="k", kit="shell", backend="kvm")
        try:
            r.call("sandbox.start", name="k")
            raise AssertionError("what was to run on KVM was started without one")
        except RpcError as e:
            contains(str(e), "its backend is kvm, but there is none here (with --backend auto")
        equal(r.call("sandbox.list")["sandboxes"][1]["state"], "stopped")
        r.close()


# ---- one machine ------------------------------------------------------------------------------------------------------------------


@case
def life_of_a_sandbox():
    "create, start, run, exit statuses, signals, input, environment; the states are told in order"
    with G["env"].rpc() as sub:
        sub.call("events.subscribe")
        work = G["env"].dir / "work"
        work.mkdir()
        create("a", memory=1 << 30, env={"GREETING": "hello there"}, path=str(work))
        equal(call("sandbox.start", name="a")["state"], "starting")
        s = reach("running")
        equal(s["generation"], 1)
        contains(s["guest"]["kernel"], "cloud-amd64")
        sub.call("sync")
        seen = [e["sandbox"]["state"] for e in sub.events if e["kind"] == "sandbox"]
        order = [x for i, x in enumerate(seen) if i == 0 or seen[i - 1] != x]
        equal(order[-3:], ["preparing", "starting", "running"])
    equal(sh(G["r"], "a", "uname -r").strip(), s["guest"]["kernel"])
    equal(sh(G["r"], "a", 'echo "$GREETING $X"; pwd; id -un', env={"X": "y"}).split("\n")[:3], ["hello there y", str(work), "agent"])
    equal(sh(G["r"], "a", "id -un; pwd", user="root", cwd="/tmp").split(), ["root", "/tmp"])
    x = run(G["r"], "a", ["sh", "-c", "echo out; echo err >&2; exit 41"])
    equal((x.out, x.err, x.code, x.signal), (b"out\n", b"err\n", 41, 0))
    x = Exec(G["r"], "a", ["sleep", "100"])
    while x.pid is None:
        x.pump()
    x.kill(signal.SIGTERM)
    equal(x.finish().signal, signal.SIGTERM)
    x = run(G["r"], "a", ["/no/such/program"])
    contains(x.failed or f"code {x.code}", "no/such" if x.failed else "127")
    x = Exec(G["r"], "a", ["sha256sum"])
    data = os.urandom(1 << 20) * 4
    import hashlib
    x.send(data)
    x.eof()
    contains(x.finish().out.decode(), hashlib.sha256(data).hexdigest())
    refused(1003, "running", "sandbox.start", name="a")
    refused(1003, "stop it first", "sandbox.remove", name="a")
    refused(1003, "stop it first", "supervisor.shutdown")


@case
def children_are_sealed():
    "doctor tells what the jails of this sandbox's processes got"
    checks = {c["name"]: c for c in call("doctor")["checks"]}
    for part in ("jail of bulkhead-vmm (a)", "jail of bulkhead-term (a)"):
        contains(checks[part]["detail"], "seccomp(")
        contains(checks[part]["detail"], "no_new_privs")
    for name in ("kvm", "qemu", "image", "memory", "disk", "runtime", "config"):
        if name not in checks:
            raise AssertionError(f"doctor says nothing of {name}")


@case
def statistics_when_somebody_watches():
    "statistics come to who watches, at the pace asked for, and end"
    with G["env"].rpc("dashboard") as c:
        c.call("stats.watch", interval_ms=300, what=["stats", "top", "containers"])
        kinds = set()
        end = time.monotonic() + 20
        while not {"stats", "top"} <= kinds and time.monotonic() < end:
            e = c.wait_event(lambda e: e["kind"] in ("stats", "top", "containers"), 20)
            equal(e["name"], "a")
            if e["kind"] == "stats":
                s = e["stats"]
                if not (0 <= s["cpu"] <= 1 and s["mem_total"] > 900 << 20 and s["host_rss"] > 50 << 20 and s["pids"] > 1):
                    raise AssertionError(f"not true: {s}")
            kinds.add(e["kind"])
        equal(kinds - {"containers"}, {"stats", "top"})  # containers: once dockerd answers
        c.call("stats.watch", interval_ms=0)
    wait_for(lambda: call("sandbox.get", name="a")["stats"] is None, 10, "the statistics to end")


@case
def pause_and_resume():
    "a paused sandbox stands still and goes on where it was"
    x = Exec(G["r"], "a", ["sh", "-c", "while :; do date +%s%N; sleep 0.1; done"])
    x.until(b"\n")
    call("sandbox.pause", name="a")
    reach("paused", ms=10000)
    refused(1003, "paused", "session.open", name="a", kind="exec", argv=["true"])
    call("sandbox.pause", name="a")
    x.sock.settimeout(0.5)
    try:
        while x.pump(0.5):
            pass
        raise AssertionError("the stream ended")
    except TimeoutError:
        pass
    n = len(x.out)
    call("sandbox.resume", name="a")
    reach("running", ms=10000)
    while len(x.out) == n:
        x.pump(10)
    x.kill(signal.SIGKILL)
    x.finish()


@case
def supervisor_killed_while_commands_run():
    "SIGKILL of the supervisor: exec and terminal go on without it, the next one adopts the same machine and its sessions"
    x = Exec(G["r"], "a", ["cat"])
    x.send(b"before\n")
    x.until(b"before\n")
    t = call("session.attach", name="a", rows=24, cols=80)
    view = socket.socket(fileno=t["fd"])
    before, machine = children(), machine_pid()
    crash()
    x.send(b"alone\n")
    x.until(b"alone\n")
    equal((children(), machine_pid()), (before, machine))
    again()
    s = call("sandbox.get", name="a")
    equal((s["state"], s["generation"]), ("running", 1))
    equal((children(), machine_pid()), (before, machine))
    contains([q["id"] for q in s["sessions"]], t["session"]["id"])
    contains([q["id"] for q in s["sessions"]], x.session["id"])
    x.send(b"after\n")
    x.until(b"after\n")
    x.eof()
    equal(x.finish().code, 0)
    equal(call("session.attach", name="a")["session"]["id"], t["session"]["id"])
    os.close(G["r"].fds.pop() if G["r"].fds else os.dup(view.fileno()))
    new = Exec(G["r"], "a", ["true"])
    if new.session["id"] <= t["session"]["id"]:
        raise AssertionError("a session's number was used again")
    new.finish()
    view.close()
    call("session.close", name="a", session=t["session"]["id"], forget=True)


@case
def term_killed():
    "a bulkhead-term that dies is replaced; its sessions end with a sentence and new ones work"
    with G["env"].rpc() as sub:
        sub.call("events.subscribe")
        t = call("session.attach", name="a")
        os.close(t["fd"])
        os.kill(children()["term"], signal.SIGKILL)
        e = sub.wait_event(lambda e: e["kind"] == "session" and e["session"]["id"] == t["session"]["id"] and e["session"]["state"] == "failed", 10)
        contains(e["session"]["title"], "bulkhead-term")
    wait_for(lambda: call("sandbox.get", name="a")["guest"], 20, "the guest to answer the new terminal process")
    equal(state(), "running")
    equal(sh(G["r"], "a", "echo works"), "works\n")


@case
def disk_kept_over_stop_and_start():
    "stop is orderly and quick, start finds the disk as it was; the supervisor may die at the moment of starting"
    sh(G["r"], "a", "echo kept > /home/agent/file; sync")
    call("sandbox.stop", name="a")
    s = reach("stopped", ms=30000)
    equal((s["state"], s["reason"]), ("stopped", ""))
    equal([k for k in children() if k == "vmm"], [])
    call("sandbox.start", name="a")
    crash()
    again()
    s = reach("running")
    equal(s["generation"], 2)
    equal(sh(G["r"], "a", "cat /home/agent/file"), "kept\n")


@case
def reset_gives_a_clean_disk():
    "reset of a running sandbox ends in running with nothing left, also when the supervisor is killed in the middle"
    call("sandbox.reset", name="a")
    crash()
    again()
    s = reach("running")
    equal(run(G["r"], "a", ["cat", "/home/agent/file"]).code, 1)
    equal(s["reason"], "")


@case
def stop_is_forced():
    "a machine that does not go down in time is ended; the supervisor that is killed meanwhile finishes it"
    os.kill(machine_pid(), signal.SIGSTOP)
    call("sandbox.stop", name="a", deadline_ms=500)
    s = reach("stopped", ms=20000)
    contains(s["reason"], "did not go down in time")
    call("sandbox.start", name="a")
    reach("running")
    pid = machine_pid()
    call("sandbox.stop", name="a", deadline_ms=20000)
    crash()
    again()
    reach("stopped", ms=30000)
    equal(alive(pid), False)


@case
def machine_killed():
    "QEMU dies: failed, with the reason; the same for its vmm; start leads out"
    up()
    os.kill(machine_pid(), signal.SIGKILL)
    s = reach("failed", ms=10000)
    contains(s["reason"], "SIGKILL")
    refused(1006, "has failed", "sandbox.wait", name="a", states=["running"])
    call("sandbox.start", name="a")
    pid = machine_pid()
    os.kill(children()["vmm"], signal.SIGKILL)
    contains(reach("failed", ms=10000)["reason"], "SIGKILL")
    equal(alive(pid), False)


@case
def forbidden_call():
    "code that took over the vmm asks for a socket: it dies of it, and the reason names the call and the filter"
    up()
    system_call(children()["vmm"], 41, 2, 1, 0)
    s = reach("failed", ms=10000)
    contains(s["reason"], "SIGSYS")
    contains(s["reason"], "seccomp refused system call 'socket' (41) to vmm")


@case
def machine_gone_while_nobody_looked():
    "machine and supervisor both die: the next supervisor says so"
    up()
    crash_pids = children()
    crash()
    os.kill(crash_pids["vmm"], signal.SIGKILL)
    wait_for(lambda: not alive(crash_pids["vmm"]), 20, "the vmm to die")
    again()
    s = call("sandbox.get", name="a")
    equal(s["state"], "failed")
    contains(s["reason"], "no supervisor")


@case
def guest_panic():
    "a kernel panic: failed, with the panic's words and the console's last lines"
    up()
    x = Exec(G["r"], "a", ["sh", "-c", "echo c > /proc/sysrq-trigger"], user="root")
    s = reach("failed", ms=60000)
    contains(s["reason"].lower(), "panic")
    equal(len(s["console_tail"]), 20)
    if any(ord(ch) < 32 for line in s["console_tail"] for ch in line):
        raise AssertionError("control characters in the console's tail")
    contains("\n".join(call("console.read", name="a", lines=50)["lines"]), "Kernel panic")
    contains(json.dumps(call("log.read", name="a", lines=20)["records"]), "anic")
    x.finish(10)


@case
def after_a_restart_of_the_host():
    "a sandbox recorded as running on another boot is stopped, with its disk"
    crash()
    f = sb_file("a", "sandbox.json")
    j = json.loads(f.read_text())
    j.update(state="running", boot_id="00000000-0000-0000-0000-000000000000", reason="")
    f.write_text(json.dumps(j))
    again()
    s = call("sandbox.get", name="a")
    equal(s["state"], "stopped")
    contains(s["reason"], "restarted")


@case
def limits_of_what_runs():
    "a start beyond the limits of config.yaml is refused with a sentence; a wrong config.yaml is told with line and column"
    crash()
    cfg = G["env"].config / "bulkhead"
    cfg.mkdir(exist_ok=True)
    (cfg / "config.yaml").write_text("max_memory: 1500M\nmax_running: 1\nmax_sandboxes: 3\n")
    again()
    for n in ("l1", "l2"):
        create(n, memory=1 << 30)
    refused(1005, "max_sandboxes", "sandbox.create", kit="shell")
    call("sandbox.start", name="l1")
    refused(1005, "max_running", "sandbox.start", name="l2")
    crash()
    (cfg / "config.yaml").write_text("max_memory: 1500M\n")
    again()
    refused(1005, "max_memory", "sandbox.start", name="l2")
    crash()
    (cfg / "config.yaml").write_text("cpus: 2\nmemory: a lot\n")
    again()
    c = [c for c in call("doctor")["checks"] if c["name"] == "config"][0]
    equal(c["status"], "fail")
    contains(c["detail"], "line 2, column 9")
    (cfg / "config.yaml").unlink()


@case
def remove_by_force_and_by_itself():
    "rm --force of a sandbox that boots; one that is to go when it stops goes; nothing is left of either"
    pid = machine_pid("l1")
    call("sandbox.remove", name="l1", force=True)
    equal(alive(pid), False)
    equal(sb_file("l1", "").exists(), False)
    equal((G["env"].runtime / "bulkhead/sb/l1").exists(), False)
    create("once", memory=512 << 20, remove_on_stop=True)
    call("sandbox.start", name="once")
    call("sandbox.kill", name="once")
    wait_for(lambda: "once" not in [s["name"] for s in call("sandbox.list")["sandboxes"]], 10, "'once' to go")
    equal(sb_file("once", "").exists(), False)
    call("sandbox.remove", name="l2")


@case
def stalled_client_is_cut():
    "a client that never reads is cut off after 30 s"
    c = Rpc(G["env"].socket, "dashboard")
    c.s.settimeout(2)
    try:
        while True:
            c.send("log.read", lines=2000)
    except OSError:
        pass  # neither end's buffers take more
    t = time.monotonic()
    wait_for(lambda: "a client has not read" in (G["env"].state / "bulkhead/supervisor.log").read_text(), 45, "the supervisor to cut it")
    if time.monotonic() - t < 20:
        raise AssertionError("it was cut too early")
    c.close()


if __name__ == "__main__":
    main(setup, teardown)
