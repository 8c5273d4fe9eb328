#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong, end to end: each ends with a sentence and leaves nothing behind. The first cases have no machine."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bulkhead import BUILD, CHILD_VERSION, TOP, Env, RpcError  # noqa: E402
from screen import Screen  # noqa: E402
from tap import case, contains, equal, main, wait_for  # noqa: E402

env = work = qmp = None
NOBODY = 65534


def set_up():
    global env, work, qmp
    env = Env(BULKHEAD_QEMU=str(TOP / "tests/lib/qemu_refuses.py"))
    qmp = env.dir / "qmp"
    env.env["BULKHEAD_TEST_QMP"] = str(qmp)
    work = env.dir / "work"
    work.mkdir()


def tear_down():
    env.close()


def sandboxes(e=None):
    return {s["name"]: s["state"] for s in (e or env).json("ls")["sandboxes"]}


def spawn(*argv, of=None, **kw):
    return subprocess.Popen([env.program, *map(str, argv)], env=(of or env).env, stdin=kw.pop("stdin", subprocess.DEVNULL), stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, **kw)


@case
def what_is_not_utf_8_is_refused():
    "a word that cannot be sent as it is ends with a sentence and code 2, never half of it"
    for argv in (("run", "--rm", "shell", work, "--", "echo", b"a\xff"), ("run", "--exclude", b"\xff*", work), ("create", "--backend", b"\xfe", work),
                 ("exec", "-u", b"\xff", "x", "--", "true"), ("exec", "-w", b"\xff", "x", "--", "true"), ("exec", "x", "--", "echo", b"\xff"),
                 ("start", b"\xff"), ("create", "-e", b"K=\xff", work)):
        r = subprocess.run([env.program, *(a if isinstance(a, bytes) else str(a) for a in argv)], env=env.env, capture_output=True, text=True,
                           stdin=subprocess.DEVNULL, timeout=20)
        equal(r.returncode, 2, argv)
        contains(r.stderr, "not UTF-8")
    raw = os.fsencode(work) + b"/\xff"
    os.mkdir(raw)
    for argv in (("create", raw), ("create", "-w", raw, work)):
        r = subprocess.run([env.program, *argv], env=env.env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20)
        equal((r.returncode, "its path is not UTF-8" in r.stderr), (1, True), r.stderr)
    os.rmdir(raw)
    equal(sandboxes(), {})


@case
def a_second_run_drops_nothing():
    "run on a directory that has a sandbox names what is asked for and is not so; nothing is dropped in silence"
    d = env.dir / "two"
    d.mkdir()
    env.run("create", "--name", "two", "--memory", "1G", "-e", "A=1", "--exclude", "*.x", d, ok=0)
    for argv, says in ((("--cpus", "4"), "2 CPUs, not 4"), (("--memory", "3G"), "memory of 1.0G, not 3.0G"), (("--mode", "ro"), f"'{d}' in mode review, not ro"),
                       (("--exclude", "*.y"), "'*.y' is not excluded"), (("-e", "B=1"), "no variable B"), (("-e", "A=2"), "another value of A"),
                       (("--no-default-excludes",), "the default excludes hold"), (("--unattended",), "it is not unattended"),
                       (("--backend", "kvm"), "backend qemu, not kvm"), (("-w", f"{work}:ro"), f"'{work}' in mode none, not ro"),
                       (("--cpus", "4", "--memory", "3G", "--name", "two"), "2 CPUs, not 4; memory")):
        r = env.run("run", *argv, d, ok=1)
        contains(r.stderr, says)
        equal(r.stdout, "")
    contains(env.run("run", "--cpus", "4", d, "--", "true", ok=125).stderr, "'two' is not as asked (2 CPUs, not 4)")
    equal(sandboxes(), {"two": "stopped"})
    env.run("rm", "two", ok=0)


def at_terminal(*argv, asks=None, answer=()):
    """What `bulkhead ARGS` leaves on a wide terminal, its lines joined, and its exit status."""
    with Screen(["sh", "-c", '"$@"; echo "ended with $?"; read x', "sh", env.program, *map(str, argv)], cols=200, env=env.env, sync=False) as s:
        if asks:
            wait_for(lambda: asks in s.text().replace("\n", ""), 20, f"{asks!r} on the screen")
            s.keys(*answer)
        text = s.wait(r"^ended with \d+", 60).replace("\n", "").split("ended with ")
        return text[0], int(text[1])


@case
def a_terminal_is_asked_and_told():
    "on a terminal: attach of nothing, a second run with other wishes, and what a removal loses"
    env.run("create", "--name", "still", work, ok=0)
    for argv, says in ((("attach", "nobody"), "bulkhead: there is no sandbox 'nobody'"), (("attach", "stil"), "did you mean 'still'?"),
                       (("attach", "still"), "bulkhead: sandbox 'still' is stopped: 'bulkhead start still' starts it")):
        text, status = at_terminal(*argv)
        contains(text, says)
        equal(status, 1)
    text, status = at_terminal("run", "--memory", "900T", work, asks="[U/n]", answer=("n", "Enter"))
    contains(text, "This directory has a sandbox already: 'still' (memory of 2.0G, not 900T). [u]se it or make a [n]ew one? [U/n]")
    contains(text, "more than this machine has")
    equal((status, sandboxes()), (1, {"still": "stopped"}))
    for verb in ("rm", "reset"):
        text, status = at_terminal(verb, "still", asks="Lost: everything on its disk (0B).", answer=("n", "Enter"))
        equal((status, sandboxes()), (1, {"still": "stopped"}))
    contains(env.run("reset", "still", ok=1).stderr, "loses everything on its disk (0B); say --yes")
    env.run("rm", "still", ok=0)  # as docker rm: a script is not asked


@case
def a_misspelt_key_is_told():
    "a key of config.yaml that is none: doctor and the log say so and what was meant; what else stands there is used"
    with Env() as e:
        (e.config / "bulkhead").mkdir()
        (e.config / "bulkhead/config.yaml").write_text("theme: nord\nmemroy: 1G\ncpus: 3\n")
        r = e.run("doctor")
        contains(" ".join(r.stdout.split()), "line 2, column 1: there is no key 'memroy'; did you mean 'memory'?; the rest is used")
        contains(e.run("logs", ok=0).stdout, "there is no key 'memroy'")
        equal(e.json("create", work)["cpus"], 3)


@case
def qemu_is_missing():
    "without QEMU a start says which package it is in"
    with Env(BULKHEAD_QEMU="/nonexistent/qemu") as e:
        e.run("create", "--name", "q", work, ok=0)
        r = e.run("start", "q", ok=1, timeout=60)
        contains(r.stderr, "QEMU is missing")
        contains(r.stderr, "apt install qemu-system-x86")
        assert sandboxes(e)["q"] in ("failed", "stopped")


@case
def qemu_says_nothing():
    "a QEMU that hangs before it told its version: doctor and start end, and say so"
    with Env() as e:
        (e.dir / "qemu").write_text("#!/bin/sh\nexec sleep 600\n")
        (e.dir / "qemu").chmod(0o755)
        e.env["BULKHEAD_QEMU"] = str(e.dir / "qemu")
        contains(e.run("doctor", timeout=60).stdout, "there is no QEMU that tells its version")
        e.run("create", "--name", "q", work, ok=0)
        contains(e.run("start", "q", ok=1, timeout=60).stderr, "QEMU is missing")


@case
def a_damaged_image_is_not_booted():
    "one byte of the cached image flipped: the start says so and builds it anew, the supervisor's client is told what to do"
    with Env() as e:
        name = next(i["id"] for i in env.json("image", "ls") if i["current"])
        real, cache = pathlib.Path(e.env["XDG_CACHE_HOME"]) / "bulkhead/images" / name, e.dir / "cache"
        shutil.copytree(real, cache / "bulkhead/images" / name)
        with open(cache / "bulkhead/images" / name / "base.img", "r+b") as f:
            f.seek(123456789)
            byte = f.read(1)
            f.seek(123456789)
            f.write(bytes([byte[0] ^ 1]))
        e.env["XDG_CACHE_HOME"] = str(cache)
        e.run("create", "--name", "d", work, ok=0)
        with e.rpc() as c:
            try:
                c.call("sandbox.start", name="d")
                raise AssertionError("a damaged image was booted")
            except RpcError as refused:
                equal(refused.code, 1007)
                contains(str(refused), "its file 'base.img' is not what was built")
        p = subprocess.Popen([e.program, "start", "d"], env=e.env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
        try:
            contains(p.stderr.readline(), "its file 'base.img' is not what was built")
        finally:
            os.killpg(p.pid, signal.SIGKILL)
            p.wait()
        equal(sandboxes(e), {"d": "stopped"})


@case
def another_user_is_refused():
    "who connects as another user is turned away, even where the directory lets him through"
    if os.geteuid() != 0:
        return
    env.start_supervisor()
    opened = [d for d in (env.dir, env.runtime, env.socket.parent, env.socket) if not os.chmod(d, 0o777)]
    ask = ("import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.settimeout(20)\n"
           "try: s.sendall(b'{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"hello\",\"params\":{\"version\":1}}\\n'); print(s.recv(4096))\n"
           "except OSError as e: print(b'')")
    try:
        r = subprocess.run(["/usr/bin/python3", "-c", ask, str(env.socket)], user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", capture_output=True, text=True, timeout=30)
        assert r.returncode == 0 and "result" not in r.stdout, r.stdout + r.stderr
        mine = subprocess.run([sys.executable, "-c", ask, str(env.socket)], capture_output=True, text=True, timeout=30)
        contains(mine.stdout, "result")
    finally:
        for d in opened:
            os.chmod(d, 0o700 if d != env.socket else 0o600)


def never_boots():
    """An environment whose QEMU sleeps: what starts stays `starting`."""
    d = pathlib.Path(tempfile.mkdtemp(dir=env.dir))
    (d / "qemu").write_text("#!/bin/sh\ncase $1 in --version) exec qemu-system-x86_64 --version ;; esac\nexec sleep 600\n")
    (d / "qemu").chmod(0o755)
    return Env(BULKHEAD_QEMU=str(d / "qemu"))


def begin(e):
    """A start of the sandbox 'a', which boots for ever."""
    p = spawn("start", "a", of=e)
    wait_for(lambda: sandboxes(e)["a"] == "starting", 60, "the boot to begin")
    return p


@case
def a_start_outlives_its_supervisor():
    "the supervisor killed under a start that waits: the command asks the next one, and ends with what became of the sandbox"
    with never_boots() as e:
        e.run("create", "--name", "a", "--memory", "1G", work, ok=0)
        p = begin(e)
        was = e.supervisor_pid()
        os.kill(was, signal.SIGKILL)
        wait_for(lambda: e.supervisor_pid() != was, 30, "the command to start the next supervisor")  # it alone: a second starter may get its turn at the end
        wait_for(lambda: sandboxes(e)["a"] == "starting", 30, "the next supervisor to have it")
        e.run("kill", "a", ok=0)
        text = p.communicate(timeout=30)
        equal(p.returncode, 1)
        assert "supervisor" not in text[1], text


@case
def a_start_that_is_ended_ends():
    "a sandbox killed while it boots: who waits for it is told, not kept"
    with never_boots() as e:
        e.run("create", "--name", "a", "--memory", "1G", work, ok=0)
        p = begin(e)
        e.run("kill", "a", ok=0)
        equal((p.wait(20), p.stderr.read()), (1, "bulkhead: sandbox 'a' is stopped, not running\n"))
        p = begin(e)
        e.run("rm", "-f", "a", ok=0)
        equal((p.wait(20), p.stderr.read()), (1, "bulkhead: sandbox 'a' was removed\n"))


@case
def run_rm_ended_in_its_boot():
    "run --rm that is interrupted, hung up or killed while it boots, or whose supervisor is killed: the sandbox is gone"
    with never_boots() as e:
        e.start_supervisor()  # by one alone: a second starter waits a while for its turn, and may get it as this one is killed
        for signo in (signal.SIGINT, signal.SIGHUP, signal.SIGKILL, None):
            p = spawn("run", "--rm", "--memory", "1G", "shell", work, "--", "true", of=e)
            wait_for(lambda: "starting" in sandboxes(e).values(), 60, "the boot to begin")
            if signo:
                p.send_signal(signo)
            else:
                os.kill(e.supervisor_pid(), signal.SIGKILL)
            assert p.wait(90) != 0  # whose supervisor was killed waits for the next one
            wait_for(lambda: not sandboxes(e), 20, f"the sandbox to go after {signo}")


FAKE = """#!{python}
import json, os, pathlib, socket, struct, sys
TERM = {term}
if "--probe" in sys.argv:
    print(json.dumps({{"kvm": "absent", "sentence": "there is none here", "qemu": "7", "accel": "tcg", "loop_ns": 0}}))
    sys.exit()
s = socket.socket(fileno=3)
s.setblocking(True)
text = lambda t: struct.pack("<H", len(t)) + t.encode()
send = lambda kind, body=b"": s.send(struct.pack("<HHI", kind, 0, gen) + body)
state = lambda run: send(121, struct.pack("<BBI", run, 0, 0) + text(""))
while data := socket.recv_fds(s, 65536, 16)[0]:
    kind, _, gen = struct.unpack_from("<HHI", data)
    how = dict(line.split() for line in pathlib.Path({how!r}).read_text().splitlines()).get(str(kind))
    if kind in (100, 200):  # START
        send(220 if TERM else 120, struct.pack("<HI", {version}, os.getpid()) + text("none"))
        send(221, struct.pack("<BQ", 1, 1) + text("6.0") + text("0") + text("")) if TERM else state(1)
        send(229 if TERM else 123)
    elif kind in (101, 102) and how == "refuse":
        send(125, text("not in this weather\\x1b"))
    elif kind in (101, 102) and how != "silent":
        state(2 if kind == 101 else 1)
    elif kind == 103:  # QUIT
        break
"""


@case
def a_pause_that_is_refused_ends():
    "a machine that refuses to pause or to go on, or does not answer: the sentence says so, and the next try may do (a monitor of the test's own)"
    d = env.dir / "fake"
    d.mkdir()
    how = d / "how"
    for f in ("bulkhead-supervisor", "bulkhead-net", "bulkhead-guest"):
        shutil.copy(BUILD / f, d / f)
    for f, term in (("bulkhead-vmm", False), ("bulkhead-term", True)):
        (d / f).write_text(FAKE.format(version=CHILD_VERSION, python=sys.executable, term=term, how=str(how)))
        (d / f).chmod(0o755)
    how.write_text("")
    with Env(BULKHEAD_DATADIR=str(TOP)) as e:
        e.spawn_supervisor(str(d / "bulkhead-supervisor"))
        with e.rpc() as r:
            r.call("sandbox.create", name="p", kit="shell")
        e.run("start", "p", ok=0, timeout=60)
        pauses_and_resumes(e, "p", lambda pause, resume: how.write_text(f"101 {pause}\n102 {resume}\n"))


def pauses_and_resumes(e, name, rule):
    rule("refuse", "refuse")
    contains(e.run("pause", name, ok=1, timeout=30).stderr, f"'{name}' is running, not paused: it was not paused: not in this weather")
    rule("silent", "do")
    t = time.monotonic()
    contains(e.run("pause", name, ok=1, timeout=30).stderr, f"'{name}' is running, not paused: it was not paused: its machine does not answer")
    assert 8 < time.monotonic() - t < 60
    rule("do", "refuse")
    e.run("pause", name, ok=0, timeout=30)
    contains(e.run("resume", name, ok=1, timeout=30).stderr, f"'{name}' is paused, not running: it was not resumed: not in this weather")
    rule("do", "do")
    e.run("resume", name, ok=0, timeout=30)
    contains(e.run("logs", name, ok=0).stdout, "it was not resumed")


# ---- machines --------------------------------------------------------------------------------------------------------------------


@case
def qemu_refuses_to_pause():
    "the same of the real QEMU, whose monitor's answers are changed on their way"
    env.run("create", "--name", "a", "--memory", "1G", work, ok=0)
    env.run("start", "a", ok=0, timeout=300)
    pauses_and_resumes(env, "a", lambda pause, resume: qmp.write_text(f"stop {pause}\ncont {resume}\n"))


@case
def a_variable_reaches_the_command():
    "run -e on the sandbox that is there sets it for the command"
    equal(env.run("run", "-e", "B=b c", work, "--", "printenv", "B", ok=0).stdout, "b c\n")
    env.run("rm", "--force", "a", ok=0)


@case
def run_rm_leaves_nothing():
    "run --rm killed under its command, or its supervisor killed under it: the sandbox is gone, and the command's status came back where there was one to take it"
    p = spawn("run", "--rm", "--memory", "1G", "shell", work, "--", "sh", "-c", "echo up; read x; echo $x; exit 3", stdin=subprocess.PIPE)
    equal(p.stdout.readline(), "up\n")
    pid = env.supervisor_pid()
    os.kill(pid, signal.SIGKILL)
    p.stdin.write("told\n")
    p.stdin.flush()
    equal((p.stdout.readline(), p.wait(60), p.stderr.read()), ("told\n", 3, ""))
    equal(sandboxes(), {})

    p = spawn("run", "--rm", "--memory", "1G", "shell", work, "--", "sh", "-c", "echo up; exec sleep 1000")
    equal(p.stdout.readline(), "up\n")
    p.kill()
    wait_for(lambda: not sandboxes(), 20, "the sandbox to go")


main(set_up, tear_down)
