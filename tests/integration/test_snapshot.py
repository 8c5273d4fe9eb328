#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Snapshots as the supervisor makes and keeps them, with a machine and a terminal that only speak their protocols: which message comes when, what lies on
the disk at every moment, what is lost (nothing) when something goes wrong. With real machines: tests/nested."""
import json
import os
import pathlib
import shutil
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bulkhead import BUILD, CHILD_VERSION, TOP, Env, Rpc, RpcError  # noqa: E402
from tap import case, contains, equal, main, wait_for  # noqa: E402

G = {}  # env, daemon, r (a client), d (the programs)
SIZE = 1 << 30  # of the disks

# bulkhead-vmm and bulkhead-term. What they do is said by files: `snap` (ok, fail, silent), `start` (ok, refuse, hang), `chatty` (yes: the terminal says
# all the time that the guest is there).
FAKE = r"""
import json, os, select, socket, struct, sys, time
D = {where!r}
if "--probe" in sys.argv:
    print(json.dumps({{"kvm": "usable", "sentence": "pretended", "qemu": "7", "accel": "kvm", "loop_ns": 1, "tsc_khz": 1}}))
    sys.exit()
vmm = "vmm" in sys.argv[0]
s, listener = socket.socket(fileno=3), socket.socket(fileno=4)
s.setblocking(True)
listener.setblocking(True)
def how(name):
    return open(os.path.join(D, name)).read()
def text(t):
    return struct.pack("<H", len(t)) + t.encode()
def note(**what):
    with open(os.path.join(D, "notes"), "a") as f:
        f.write(json.dumps(what) + "\n")
def whole(fd):
    return os.pread(fd, 1 << 16, 0).decode().rstrip("\0")
def send(kind, payload=b""):
    s.send(struct.pack("<HHI", kind, 0, gen) + payload)
def state(run, end=0, why=""):
    global now
    now = run
    send(121, struct.pack("<BBI", run, end, 0) + text(why))
def ready():
    send(120 if vmm else 220, struct.pack("<HI", {version}, os.getpid()) + text("none"))
def begun():
    state(1)
    send(123)
now, gen, waits = None, 0, False
while True:
    chatty = not vmm and gen and how("chatty") == "yes"
    look = select.select([s], [], [], 0.02 if waits else 0.0005 if chatty else None if vmm else 0.05)[0]
    if chatty and not look:
        send(221, struct.pack("<BQ", 1, 5) + text("6.12") + text("0.1.0") + text(""))
    if waits and how("start") == "ok":
        waits = False
        begun()
    if not look:
        continue
    try:
        data, fds, _, _ = socket.recv_fds(s, 65536, 16)
    except ConnectionError:
        data = b""
    if not data: # the supervisor is gone: the next one comes
        waits = False
        s, _ = listener.accept()
        s.setblocking(True)
        ready()
        if vmm:
            state(now)
            send(123)
        else:
            send(229)
            send(221, struct.pack("<BQ", 1, 5) + text("6.12") + text("0.1.0") + text(""))
        continue
    kind, _, gen = struct.unpack_from("<HHI", data)
    p = data[8:]
    if kind == 100:
        restore = p[14]
        note(what="start", gen=gen, fds=len(fds), restore=restore, disk=whole(fds[3]), files=[whole(f) for f in fds[10:]])
        if how("start") == "refuse":
            ready()
            state(3, 7, "the snapshot was made on a CPU with features that this one lacks")
            sys.exit(1)
        ready()
        waits = how("start") == "hang"
        if waits:
            now = 1
            note(what="hangs")
        else:
            begun()
    elif kind == 101:
        note(what="pause")
        state(2)
    elif kind == 102:
        note(what="resume")
        state(1)
    elif kind == 108:
        note(what="snapshot", fds=len(fds), run=now)
        if how("snap") == "fail":
            send(124, p[:4] + struct.pack("<I", 28) + text("cannot write the snapshot's memory: No space left on device"))
        elif how("snap") != "silent":
            os.pwrite(fds[0], how("snap").encode(), 0)
            os.pwrite(fds[1], b"memory of " + how("snap").encode(), 0)
            os.ftruncate(fds[1], 64 << 20)
            send(124, p[:4] + struct.pack("<I", 0) + text(""))
    elif kind == 200:
        ready()
        send(229)
        send(221, struct.pack("<BQ", 1, 5) + text("6.12") + text("0.1.0") + text(""))
    elif kind == 208:
        sys.exit()
    for f in fds:
        os.close(f)
"""


def call(method, **params):
    return G["r"].call(method, **params)


def refused(code, part, method, **params):
    try:
        call(method, **params)
    except RpcError as e:
        contains(str(e), part)
        equal(e.code, code, str(e))
        return
    raise AssertionError(f"{method} {params} was not refused")


def reach(*states, name="a"):
    return call("sandbox.wait", name=name, states=list(states), timeout_ms=20000)


def tell(**files):
    for name, word in files.items():
        (G["d"] / name).write_text(word)


def notes(*kinds):
    """What the machine was told since the last look, all but `kinds` left out."""
    path = G["d"] / "notes"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    path.unlink(missing_ok=True)
    return [n for n in lines if not kinds or n["what"] in kinds]


def at(name="a"):
    return G["env"].state / "bulkhead/sandboxes" / name


def begin(path):
    with open(path, "rb") as f:
        return f.read(64).decode().rstrip("\0")


def disk(text=None, name="a"):
    with open(at(name) / "disk.img", "r+b") as f:
        if text is not None:
            f.write(text.encode().ljust(64, b"\0"))
            f.flush()
            f.seek(0)
        return f.read(64).decode().rstrip("\0")


def hidden(name="a"):
    return sorted(p.name for p in at(name).iterdir() if p.name.startswith("."))


def spawn():
    G["daemon"] = G["env"].spawn_supervisor(str(G["d"] / "bulkhead-supervisor"))
    G["r"] = G["env"].rpc()


def crash():
    G["daemon"].kill()
    G["daemon"].wait()
    G["r"].close()


def setup():
    G["env"] = Env(BULKHEAD_DATADIR=str(TOP))
    d = G["d"] = G["env"].dir / "fake"
    d.mkdir()
    for f in ("bulkhead-supervisor", "bulkhead-net", "bulkhead-guest"):
        shutil.copy(BUILD / f, d / f)
    for f in ("bulkhead-vmm", "bulkhead-term"):
        (d / f).write_text(f"#!{sys.executable}\n" + FAKE.format(version=CHILD_VERSION, where=str(d)))
        (d / f).chmod(0o755)
    tell(snap="first", start="ok", chatty="no")
    spawn()


def teardown():
    G["r"].close()
    G["env"].close()


@case
def none_without_a_machine():
    "a sandbox that does not run, and one that has none, are refused in words"
    equal(call("sandbox.create", name="a", kit="shell", disk=SIZE)["snapshot"], None)
    refused(1003, "sandbox 'a' is stopped: a snapshot is made of one that runs", "sandbox.snapshot", name="a")
    refused(1003, "sandbox 'a' has no snapshot", "sandbox.restore", name="a")


@case
def not_in_qemu():
    "a sandbox in QEMU goes on running and says that it cannot"
    call("sandbox.create", name="q", kit="shell", backend="qemu", disk=SIZE)
    call("sandbox.start", name="q")
    reach("running", name="q")
    notes()
    refused(1003, "sandbox 'q' runs in QEMU: only bulkhead's own machine (kvm)", "sandbox.snapshot", name="q")
    equal(notes(), [])
    call("sandbox.kill", name="q")
    reach("stopped", name="q")
    (at("q") / "snapshot").mkdir()
    for f in ("state", "memory", "disk.img"):
        (at("q") / "snapshot" / f).write_text("x")
    crash()
    spawn()
    assert call("sandbox.get", name="q")["snapshot"]["bytes"] > 0
    refused(1003, "here it runs in QEMU", "sandbox.restore", name="q")
    call("sandbox.remove", name="q")


@case
def snapshot():
    "the machine is paused, writes its two files, goes on; state, memory and a copy of the disk that is as sparse lie in the sandbox's directory"
    call("sandbox.start", name="a")
    reach("running")
    disk("the disk of then")
    notes()
    sb = call("sandbox.snapshot", name="a")
    assert sb["snapshot"]["bytes"] > 0 and sb["snapshot"]["created"].startswith("20"), sb["snapshot"]
    reach("running")
    equal([(n["what"], n.get("run"), n.get("fds")) for n in notes()], [("pause", None, None), ("snapshot", 2, 2), ("resume", None, None)])
    kept = at() / "snapshot"
    equal(sorted(p.name for p in kept.iterdir()), ["disk.img", "image", "memory", "state"])
    equal((kept / "state").read_text(), "first")
    equal(begin(kept / "disk.img"), "the disk of then")
    equal((kept / "disk.img").stat().st_size, (at() / "disk.img").stat().st_size)
    assert (kept / "disk.img").stat().st_blocks <= 2048, "the copy has no holes"
    equal(hidden(), [])


@case
def of_a_paused_one():
    "one that a person paused stays paused; the new snapshot is in the old one's place"
    call("sandbox.pause", name="a")
    reach("paused")
    tell(snap="second")
    notes()
    call("sandbox.snapshot", name="a")
    equal([n["what"] for n in notes()], ["snapshot"])
    equal(call("sandbox.get", name="a")["state"], "paused")
    equal((at() / "snapshot/state").read_text(), "second")
    equal(hidden(), [])
    call("sandbox.resume", name="a")
    reach("running")


@case
def one_that_fails():
    "what the machine cannot write is told; it goes on, nothing is left behind, the snapshot before stays"
    tell(snap="fail")
    notes()
    refused(1006, "no snapshot of sandbox 'a' was made: cannot write the snapshot's memory: No space left", "sandbox.snapshot", name="a")
    reach("running")
    equal([n["what"] for n in notes()], ["pause", "snapshot", "resume"])
    equal(hidden(), [])
    equal((at() / "snapshot/state").read_text(), "second")


@case
def nothing_else_meanwhile():
    "while one is made it is neither paused nor resumed nor made twice; the machine's end ends it"
    tell(snap="silent")
    notes()
    asked = G["r"].send("sandbox.snapshot", name="a")
    with Rpc(G["env"].socket) as other:
        other.call("sandbox.wait", name="a", states=["paused"], timeout_ms=20000)
        for method in ("sandbox.resume", "sandbox.snapshot"):
            try:
                other.call(method, name="a")
                raise AssertionError(f"{method} was not refused")
            except RpcError as e:
                equal(e.code, 1008, str(e))
        other.call("sandbox.kill", name="a")
        try:
            G["r"].answer(asked)
            raise AssertionError("it was made")
        except RpcError as e:
            contains(str(e), "its machine was ended meanwhile")
    reach("stopped")
    equal(hidden(), [])
    equal((at() / "snapshot/state").read_text(), "second")


@case
def restore_of_a_stopped_one():
    "the next machine gets the two files and a copy of the disk; its disk is the sandbox's once it runs; the snapshot stays"
    disk("the disk of now")
    notes()
    before = call("sandbox.get", name="a")["generation"]
    call("sandbox.restore", name="a")
    equal(reach("running")["generation"], before + 1)
    (n,) = notes("start")
    equal((n["fds"], n["restore"], n["disk"], n["files"]), (12, 1, "the disk of then", ["second", "memory of second"]))
    equal(disk(), "the disk of then")
    equal(hidden(), [])
    equal(begin(at() / "snapshot/disk.img"), "the disk of then")


@case
def restore_of_a_running_one():
    "its machine is ended first, whatever is heard until then; what it wrote is gone, also from the snapshot's copy it never wrote to"
    tell(chatty="yes")
    for _ in range(5):
        disk("what it did then")
        call("sandbox.restore", name="a")
        reach("running")
        equal(disk(), "the disk of then")
    tell(chatty="no")
    call("sandbox.stop", name="a", deadline_ms=0)
    reach("stopped")
    call("sandbox.start", name="a")
    reach("running")
    equal([(n["fds"], n["restore"]) for n in notes("start")], [(12, 1)] * 5 + [(10, 0)])


@case
def one_that_is_refused():
    "a snapshot that does not fit this host fails with the machine's sentence, and the disk of now stays"
    tell(start="refuse")
    disk("the disk of now")
    call("sandbox.restore", name="a")
    reason = reach("failed")["reason"]
    contains(reason, "it was not restored, its disk is as it was: the snapshot was made on a CPU with features that this one lacks")
    equal((disk(), hidden()), ("the disk of now", []))
    tell(start="ok")
    image = (at() / "snapshot/image").read_text()
    (at() / "snapshot/image").write_text("0123456789abcdef")
    call("sandbox.restore", name="a")
    contains(reach("failed")["reason"], "its snapshot is of another guest image (0123456789abcdef)")
    equal((disk(), hidden()), ("the disk of now", []))
    (at() / "snapshot/image").write_text(image)
    os.truncate(at() / "snapshot/disk.img", 1 << 20)
    call("sandbox.restore", name="a")
    contains(reach("failed")["reason"], "its snapshot is damaged")
    equal((disk(), hidden()), ("the disk of now", []))
    os.truncate(at() / "snapshot/disk.img", SIZE)


@case
def supervisor_killed_meanwhile():
    "one killed while it made a snapshot: the next lets the machine go on. While it restored: the next takes the copied disk if the machine lives, else not"
    call("sandbox.start", name="a")
    reach("running")
    tell(snap="silent")
    notes()
    G["r"].send("sandbox.snapshot", name="a")
    with Rpc(G["env"].socket) as other:
        other.call("sandbox.wait", name="a", states=["paused"], timeout_ms=20000)
    wait_for(lambda: "snapshot" in (G["d"] / "notes").read_text(), 20, "the machine to be told")
    equal(len(hidden()), 1)
    crash()
    spawn()
    reach("running")
    equal(([n["what"] for n in notes()], hidden()), (["pause", "snapshot", "resume"], []))
    for lives in (True, False):
        disk("the disk of now")
        tell(start="hang")
        notes()
        call("sandbox.restore", name="a")
        wait_for(lambda: "hangs" in (G["d"] / "notes").read_text() if (G["d"] / "notes").exists() else False, 20, "the machine to be told")
        equal((disk(), hidden()), ("the disk of now", [".disk-restored"]))
        crash()
        if not lives:
            os.kill(int((G["env"].runtime / "bulkhead/sb/a/vmm.pid").read_text().split()[0]), signal.SIGKILL)
        (at() / ".snapshot-7").mkdir()
        (at() / ".disk-9").write_text("x")
        spawn()
        tell(start="ok")
        equal(reach("running" if lives else "failed")["backend"], "kvm") # also before this supervisor has probed the host
        equal((disk(), hidden()), ("the disk of then" if lives else "the disk of now", []))
    call("sandbox.start", name="a")
    reach("running")


@case
def reset_and_removal():
    "a reset removes the snapshot, also one that is not whole yet; so does a removal"
    call("sandbox.reset", name="a")
    equal(reach("running")["snapshot"], None)
    equal((at() / "snapshot").exists(), False)
    tell(snap="third")
    call("sandbox.snapshot", name="a")
    asked = G["r"].send("sandbox.snapshot", name="a")
    with Rpc(G["env"].socket) as other:
        other.call("sandbox.remove", name="a", force=True)
    try:
        G["r"].answer(asked)
    except RpcError as e:
        contains(str(e), "being removed")
    wait_for(lambda: not at().exists(), 10, "its directory to be gone")


main(setup, teardown)
