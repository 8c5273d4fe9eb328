#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The agent in a really booted guest: sessions, bulk, docker, statistics, garbage, shutdown. QEMU and the image, nothing of ours on the host."""
import hashlib
import os
import random
import signal
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from guest import AGENT_SHUTDOWN, AGENT_TIME, CREDIT, DATA, SESS_EXIT, SESSION, WINDOW, Control, Machine, frame, image, str16  # noqa: E402
from tap import Skip, case, contains, equal, main  # noqa: E402

BUILD = os.environ.get("BULKHEAD_BUILD") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build")
MB = 1 << 20
m = None


def setup():
    global m
    if not image():
        return
    m = Machine(BUILD).start()
    m.hello(hostname="testbox", workspace="/srv/some where/project")


def teardown():
    if m:
        m.close()


def guest(fn):
    """A case that needs the booted guest."""
    def run():
        if not m:
            raise Skip("no guest image; build one with: bulkhead image build")
        fn()
    run.__doc__, run.__name__ = fn.__doc__, fn.__name__
    return case(run)


@guest
def hello():
    "the agent answers with its kernel, version and our generation"
    g = m.control.guest
    equal(g["gen"], 1)
    equal(g["version"], 1)
    contains(g["kernel"], "cloud-amd64")
    equal(m.run(["uname", "-r"]).out.decode().strip(), g["kernel"])
    print(f"# hello {g['up_ns'] / 1e9:.1f} s after the kernel's start")


@guest
def streams_and_status():
    "stdout and stderr stay apart, the exit status comes after both"
    r = m.sh("echo out; echo err >&2; exit 7")
    equal((bytes(r.out), bytes(r.err), r.code, r.signal), (b"out\n", b"err\n", 7, 0))


@guest
def killed_by_a_signal():
    "a process killed by a signal ends with it"
    r = m.sh("kill -SEGV $$")
    equal((r.code, r.signal), (0, signal.SIGSEGV))


@guest
def host_sends_signals():
    "SESS_SIGNAL reaches the process's group"
    s = m.session(["sh", "-c", "trap 'echo caught; exit 5' TERM; sleep 60 & echo up; wait"])
    s.wait_output(b"up")
    s.kill(signal.SIGTERM)
    equal((s.wait(20).code, b"caught" in s.out), (5, True))
    s = m.session(["sh", "-c", "echo up; sleep 60"])
    s.wait_output(b"up")
    s.kill(signal.SIGKILL)
    equal(s.wait(20).signal, signal.SIGKILL)


@guest
def stdin_to_eof():
    "stdin comes through to its end"
    equal(bytes(m.run(["tr", "a-z", "A-Z"], stdin=b"hello").out), b"HELLO")


@guest
def who_and_where():
    "a command runs as agent in the workspace, which was made for it"
    equal(m.run(["id", "-un"]).out, b"agent\n")
    equal(m.run(["pwd"]).out, b"/srv/some where/project\n")
    equal(m.run(["stat", "-c", "%U", "."]).out, b"agent\n")
    contains(m.run(["id", "-Gn"]).out.decode(), "docker")
    equal(m.run(["id", "-un"], user="root").out, b"root\n")
    equal(m.run(["sudo", "-n", "id", "-un"]).out, b"root\n")
    equal(m.run(["pwd"], cwd="/usr/share").out, b"/usr/share\n")


@guest
def environment():
    "the environment is the user's, ours can be added and wins"
    e = dict(x.split("=", 1) for x in m.run(["env"], env=["A=b=c", "HOME=/elsewhere", "nonsense"]).out.decode().splitlines())
    equal({k: e.get(k) for k in ("A", "HOME", "USER", "SHELL", "LOGNAME")},
          {"A": "b=c", "HOME": "/elsewhere", "USER": "agent", "SHELL": "/bin/bash", "LOGNAME": "agent"})
    equal("TERM" in e, False)
    contains(e["PATH"], "/usr/bin")
    root = m.run(["sh", "-c", "command -v dockerd"], user="root")
    contains(root.out.decode(), "/usr/sbin/dockerd")
    equal(m.run(["mine"], env=["PATH=/nowhere"]).failed[0], 2)


@guest
def refusals_are_sentences():
    "what cannot be started is refused with a sentence"
    for kw, part in ((dict(argv=["no-such-program"]), "'no-such-program' is not in the sandbox"),
                     (dict(argv=["/etc/passwd"]), "cannot run '/etc/passwd'"),
                     (dict(argv=["id"], user="nobody-at-all"), "no user 'nobody-at-all'"),
                     (dict(argv=["id"], cwd="/no/such/place"), "cannot enter directory '/no/such/place'")):
        r = m.run(**kw)
        contains(r.failed[1] if r.failed else f"started: {r.code}", part)


@guest
def login_shell():
    "a login shell runs a command with its arguments untouched"
    r = m.run(["printf", "%s|", "a b", "$HOME", "*"], login=True)
    equal(r.out, b"a b|$HOME|*|")


@guest
def terminal():
    "a pty has its size, takes a new one, and its keys make signals"
    s = m.session(["bash", "--norc"], tty=True, rows=33, cols=101, env=["PS1=ready> "])
    s.wait_output(b"ready> ")
    s.write(b"stty size; tty; echo $TERM\r")
    s.wait_output(b"33 101\r\n").wait_output(b"/dev/pts/").wait_output(b"xterm-256color")
    m.wait(lambda: s.take().out.count(b"ready> ") == 2, 20, "the prompt")
    s.resize(20, 5)
    s.resize(40, 120)
    s.write(b"stty size\r")
    s.wait_output(b"40 120")
    # Only once it runs: a bash that is just about to start it takes ^C for a part of its line.
    s.write(b"sh -c 'echo now''; exec sleep 99'\r")
    s.wait_output(b"now\r\n")
    s.write(b"\x03")
    s.wait_output(b"^C")
    s.write(b"echo st=$?\r")
    s.wait_output(b"st=130")
    s.write(b"exit 9\r")
    equal(s.wait(20).code, 9)


@guest
def terminal_output_is_whole():
    "what a terminal's process wrote last is not lost at its end"
    want = "".join(f"{i}\r\n" for i in range(1, 20001)).encode() + b"END\r\n"
    for _ in range(10):
        r = m.session(["sh", "-c", "seq 1 20000; echo END"], tty=True).wait(60)
        at = next((i for i, (a, b) in enumerate(zip(r.out, want)) if a != b), min(len(r.out), len(want)))
        equal(bytes(r.out[at - 20:at + 20]), want[at - 20:at + 20], f"{len(r.out)} of {len(want)} bytes, other from {at} on")


def bulk_in(n, program, **kw):
    block = random.Random(7).randbytes(MB)
    want = hashlib.sha256()
    s = m.session(program, **kw)
    for _ in range(n // MB):
        want.update(block)
        s.write(block)
        m.wait(lambda: len(s.take().stdin) < 4 * MB, 60, "the guest to take stdin")
    s.write(b"", end=True)
    return s, want.hexdigest()


@guest
def bulk():
    "100 MB come out and go in intact"
    s = m.session(["sh", "-c", "head -c 104857600 /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 2>/dev/null | tee /tmp/bulk; sha256sum </tmp/bulk >&2"])
    s.count_only, s.sum = True, hashlib.sha256()
    start = time.monotonic()
    s.wait(300)
    equal((s.code, s.count), (0, 100 * MB))
    equal(s.sum.hexdigest(), s.err.decode().split()[0])
    print(f"# out: {time.monotonic() - start:.1f} s with its sums")
    start = time.monotonic()
    s, want = bulk_in(100 * MB, ["sh", "-c", "rm -f /tmp/bulk; sha256sum"])
    equal(s.wait(300).out.decode().split()[0], want)
    print(f"# in: {time.monotonic() - start:.1f} s with its sum")


@guest
def both_ways_at_once():
    "20 MB through cat, both ways at once"
    s, want = bulk_in(20 * MB, ["cat"])
    equal((s.wait(120).code, hashlib.sha256(s.out).hexdigest()), (0, want))


@guest
def a_reader_that_rests():
    "a host that does not read stops the process, nobody else, and loses nothing"
    s = m.session(["sh", "-c", "seq 1 2000000; echo done >&2"])
    s.s.hold = True
    m.wait(lambda: s.take().s.owed >= WINDOW - 16, 30, "the window to fill")
    for _ in range(5):
        equal(m.sh("echo quick").out, b"quick\n")
    equal((s.take().code, b"done" in s.err), (None, False))
    s.s.hold = False
    s.s.give()
    equal((s.wait(60).code, bytes(s.out[-8:])), (0, b"2000000\n"))
    equal(s.out.count(b"\n"), 2000000)


@guest
def a_process_that_does_not_read():
    "a process that does not read its stdin gets no more than it can hold, and the rest comes later"
    s = m.session(["sh", "-c", "sleep 1; wc -c"])
    s.write(b"z" * (8 * MB), end=True)
    equal(s.wait(60).out.strip(), b"8388608")


@guest
def background_children():
    "a background child that keeps the pipes open delays the end a moment, not for ever, and lives on"
    start = time.monotonic()
    r = m.sh("sleep 31.5 & echo started")
    equal((r.code, bytes(r.out)), (0, b"started\n"))
    assert time.monotonic() - start < 25, "the exit waited for the background child"
    equal(m.run(["pkill", "-f", "sleep 31.5"]).code, 0)
    r = m.sh("(sleep 0.1; echo late) & echo soon")
    equal(bytes(r.out), b"soon\nlate\n")


def gone(pattern, seconds=12):
    m.wait(lambda: m.run(["pgrep", "-f", pattern]).code == 1, seconds, f"the end of {pattern}")


@guest
def hang_up():
    "a stream that is dropped hangs up its process, on pipes and on a terminal; one that ignores it is killed"
    for tty in (False, True):
        s = m.session(["sh", "-c", "echo up; exec sleep 4711"], tty=tty)
        s.wait_output(b"up")
        s.s.abort()
        gone("sleep 4711")
        s = m.session(["sh", "-c", "trap '' HUP; setsid sleep 4712 & echo up; while :; do sleep 1; done; : 4712"], tty=tty)
        s.wait_output(b"up")
        s.s.end()
        gone("4712", 20)
        # Told even though it said it is done.
        m.wait(s.ended, 10, "SESS_EXIT after a hang-up")


@guest
def many_sessions():
    "60 sessions at once, and no stream, descriptor or cgroup is left of them"
    def groups_with():
        return set(m.sh("cd /sys/fs/cgroup/sessions && grep -l . s*/cgroup.procs", user="root").out.decode().split())
    before = groups_with()  # what a session before left running on purpose is its own
    sessions = [m.session(["sh", "-c", f"echo {i}; exit {i}"], tty=i % 2 == 0) for i in range(60)]
    for i, s in enumerate(sessions):
        equal((s.wait(60).code, s.out.split()[0].decode()), (i, str(i)))
    fds = int(m.sh("ls /proc/1/fd | wc -l", user="root").out)
    assert fds < 25, f"PID 1 holds {fds} descriptors"
    groups = groups_with() - before
    equal(len(groups), 1, f"session cgroups while one session lists them: {groups}")


@guest
def zombies():
    "orphans are reaped"
    m.sh("for i in 1 2 3 4 5; do (setsid sleep 0.05 &) ; done; sleep 0.5")
    equal(m.sh("grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l").out.strip(), b"0")


@guest
def a_system():
    "mounts, names, limits and loopback are what a person expects"
    out = m.sh("hostname; cat /etc/hostname; getent hosts testbox; ls /dev/shm /dev/mqueue >/dev/null && echo shm; "
               "cat /proc/sys/fs/inotify/max_user_watches; cat /proc/1/comm; findmnt -no FSTYPE /; findmnt -no FSTYPE /tmp; "
               "cat /sys/fs/cgroup/cgroup.controllers; ip -o link 2>/dev/null | grep -c LOOPBACK,UP; ls /sys/class/net").out.decode()
    lines = out.splitlines()
    equal(lines[:2], ["testbox", "testbox"])
    for part in ("127.0.1.1", "shm", "1048576", "overlay", "tmpfs", "memory", "lo"):
        contains(out, part)
    equal([n for n in lines if n.startswith(("eth", "en"))], [])
    r = m.run(["python3", "-c", "import socket;s=socket.create_server(('127.0.0.1',0));c=socket.create_connection(s.getsockname());print('tcp')"])
    equal(r.out, b"tcp\n")


@guest
def clock_and_entropy():
    "the clock is the host's, and is set again when the host says so"
    now = int(m.run(["date", "+%s"]).out)
    assert abs(now - time.time()) < 5, f"guest {now}, host {time.time():.0f}"
    m.control.s.send(frame(AGENT_TIME, struct.pack("<Q", 1_900_000_000 * 10**9)))
    assert abs(int(m.run(["date", "+%s"]).out) - 1_900_000_000) < 10
    m.control.s.send(frame(AGENT_TIME, struct.pack("<Q", time.time_ns())))


@guest
def statistics():
    "statistics and processes come as often as asked, are true, and stop"
    m.control.stats_every(250)
    m.control.next("stats")
    busy = m.session(["sh", "-c", "while :; do :; done"])
    a = m.control.next("stats")
    b = m.control.next("stats", where=lambda v: v["up_ns"] > a["up_ns"] + 10**9)
    used = (b["cpu_busy_ns"] - a["cpu_busy_ns"]) / (b["cpu_total_ns"] - a["cpu_total_ns"])
    assert 0.2 < used <= 1, f"a loop uses {used:.2f} of two CPUs"
    total = int(m.sh("sed -n 's/MemTotal: *//p' /proc/meminfo").out.split()[0]) * 1024
    equal((b["mem_total"], b["vcpus"]), (total, 2))
    assert 0 < b["mem_used"] < total and 0 < b["disk_used"] < b["disk_total"] and b["io_written"] > 0 and b["pids"] > 5, b
    top = m.control.next("top", where=lambda rows: rows and rows[0]["cpu"] > 300)
    assert top[0]["uid"] == 1000 and top[0]["rss"] > 100000, top[0]
    busy.s.abort()
    m.control.stats_every(0)
    m.sh("true")
    m.control.take().seen.clear()
    m.sh("sleep 0.7")
    equal(m.control.take().seen, [])


@guest
def dockerd():
    "dockerd becomes ready by itself, and is told"
    d = m.docker_ready(120)
    print(f"# ready {d['ready_ns'] / 1e9:.1f} s after the kernel's start")
    # dockerd gives its containerd 15 s, which two machines beside it on this emulated one may take from it.
    if d["restarts"] > 1:
        raise AssertionError(f"it was started again {d['restarts']} times")
    equal(m.run(["docker", "info", "--format", "{{.Driver}} {{.CgroupVersion}}"]).out.strip(), b"overlay2 2")


@guest
def docker_build_and_run():
    "docker build from scratch with busybox, docker run, its exit status"
    m.sh("mkdir -p ~/img && cd ~/img && cp /bin/busybox . && printf 'FROM scratch\\nCOPY busybox /bin/busybox\\n"
         "RUN [\"/bin/busybox\",\"--install\",\"-s\",\"/bin\"]\\nRUN echo built > /made\\nCMD [\"cat\",\"/made\"]\\n' > Dockerfile")
    r = m.sh("cd ~/img && docker build -q -t box .", seconds=180)
    equal(r.code, 0, r.err.decode())
    r = m.run(["docker", "run", "--rm", "box"], seconds=120)
    equal((bytes(r.out), r.code), (b"built\n", 0), r.err.decode())
    equal(m.run(["docker", "run", "--rm", "box", "sh", "-c", "exit 42"], seconds=120).code, 42)


@guest
def containers():
    "containers are told with names and states, and their processes with short ids"
    cid = m.run(["docker", "run", "-d", "--name", "spinner", "box", "sh", "-c", "while :; do :; done"], seconds=120).out.decode().strip()
    m.control.stats_every(500)
    seen = m.control.next("containers", where=lambda rows: any(r["name"] == "spinner" and r["state"] == "running" for r in rows))
    c = next(r for r in seen if r["name"] == "spinner")
    equal((c["id"], c["image"]), (cid[:12], "box"))
    m.control.next("top", where=lambda rows: any(r["container"] == cid[:12] for r in rows))
    m.control.stats_every(0)
    equal(m.run(["docker", "rm", "-f", "spinner"], seconds=60).code, 0)


@guest
def compose():
    "docker compose up brings a service up and runs it to its end"
    m.sh("mkdir -p ~/comp && cd ~/comp && printf 'services:\\n  one:\\n    image: box\\n    command: [\"echo\",\"from compose\"]\\n' > compose.yaml")
    r = m.sh("cd ~/comp && docker compose up --no-color && docker compose down", seconds=180)
    equal(r.code, 0, r.err.decode())
    contains(r.out.decode(), "from compose")


@guest
def dockerd_killed():
    "a dockerd that dies is started again, and both is told"
    before = m.docker_ready(120)["restarts"]
    m.sh("pkill -KILL -x dockerd", user="root")
    m.wait(lambda: m.control.take().docker["state"] == "failed", 10, "the news of its death")
    contains(m.control.docker["why"], "signal 9")
    equal(m.docker_ready(120)["restarts"], before + 1)
    equal(m.run(["docker", "run", "--rm", "box"], seconds=120).out, b"built\n")


@guest
def garbage_on_a_session():
    "a session stream that holds no frames, or none that make sense, is closed; the agent lives"
    rnd = random.Random(1)
    for body in (b"\xff" * 64, frame(SESS_EXIT, b"x" * 8), frame(32, b"\x01"), frame(32, struct.pack("<BHH", 0, 24, 80) + str16("x" * 300)),
                 struct.pack("<BBHI", 32, 0, 0, 1 << 30), rnd.randbytes(5000), b"\x20"):
        s = m.chan.open(SESSION)
        s.send(body)
        s.end()
        m.wait(lambda: s.reset is not None or s.eof, 10, f"the end of a stream with {body[:16]!r}")
    s = m.session(["cat"])
    m.wait(lambda: s.take().pid, 10, "cat")
    for _ in range(200):
        s.s.send(frame(rnd.choice([35, 37, 38, 39, 40, 99]), rnd.randbytes(rnd.randrange(40))))
    s.s.end()
    m.wait(lambda: s.ended() or s.s.eof, 20, "the end of a session fed with garbage")
    equal(m.sh("echo alive").out, b"alive\n")


@guest
def garbage_on_control():
    "garbage on the control stream ends that stream; a new one serves"
    m.control.s.send(b"\x07" * 100)
    m.wait(lambda: m.control.s.reset is not None, 10, "the reset")
    m.control = Control(m.chan, hostname="testbox", workspace="/srv/some where/project")
    m.wait(lambda: m.control.take().guest and m.control.docker, 10, "the agent's hello on a new control stream")


@guest
def small_frames():
    "20,000 frames of a byte each hold nobody up; a port that is none is refused"
    s = m.chan.open(SESSION)
    m.wait(lambda: s.opened, 10, "the stream")
    for _ in range(20000):
        m.chan.put(DATA, s.number, b"\x20")  # one byte each, never a whole frame: taken and credited
    m.wait(lambda: m.sh("echo x").out == b"x\n", 20, "another session")
    s2 = m.chan.open(4242)
    m.wait(lambda: s2.reset is not None, 10, "the refusal of a port that is none")
    s.abort()


@guest
def garbage_on_the_channel():
    "what is no frame ends the channel's connection; a new HELLO finds a living agent and a clean slate"
    left = m.session(["sh", "-c", "echo up; exec sleep 4713"])
    left.wait_output(b"up")
    rnd = random.Random(3)
    for junk in (b"\xff" * 7, rnd.randbytes(70000), struct.pack("<IHBB", 3, 32768, DATA, 0) + b"half", struct.pack("<IHBB", 999999, 4, CREDIT, 0) + b"\1\0\0\0"):
        m.chan.outb += junk
        # Half a frame swallows what follows up to its length: more than enough of nothing.
        m.chan.outb += b"\0" * 40000
        m.hello(hostname="testbox", workspace="/srv/some where/project")
        equal(m.sh("echo alive").out, b"alive\n")
    gone("sleep 4713")


@guest
def new_generation():
    "a second HELLO resets every stream"
    s = m.session(["sh", "-c", "echo up; exec sleep 4714"], tty=True)
    s.wait_output(b"up")
    m.hello(gen=9, hostname="renamed")
    equal(m.control.guest["gen"], 9)
    equal(m.run(["hostname"]).out, b"renamed\n")
    gone("sleep 4714")


@guest
def shutdown_and_again():
    "an orderly shutdown ends the machine, keeps what was written, and its disk is clean at the next start"
    m.sh("echo kept > ~/kept; docker run -d --name stays box sh -c 'trap : TERM; while :; do sleep 1; done'", seconds=60)
    s = m.session(["sh", "-c", "trap 'echo told; sync; exit 0' TERM; echo up; while :; do sleep 0.1; done"])
    s.wait_output(b"up")
    m.control.s.send(frame(AGENT_SHUTDOWN, struct.pack("<I", 20000)))
    start = time.monotonic()
    m.wait(lambda: m.control.take().going_down, 10, "AGENT_GOING_DOWN")
    m.wait(lambda: s.take().code is not None or s.s.reset is not None, 10, "the end of a session at shutdown")
    contains(s.out.decode(), "told")
    equal(m.wait_off(40), 0)
    print(f"# off after {time.monotonic() - start:.1f} s")
    m.start()
    m.hello()
    equal(m.sh("cat ~/kept").out, b"kept\n")
    dmesg = m.run(["dmesg"], user="root").out.decode()
    equal([line for line in dmesg.splitlines() if "recover" in line or "EXT4-fs error" in line], [])
    m.docker_ready(120)
    contains(m.run(["docker", "images", "-q", "box"]).out.decode() + "x", "x")
    equal(m.run(["docker", "run", "--rm", "box"], seconds=120).out, b"built\n")


@guest
def full_disk():
    "on a full disk processes still start, and the machine still goes down in order"
    r = m.sh("fallocate -l $(($(df --output=avail / | tail -1) - 8192))k /filler; dd if=/dev/zero of=/filler2 bs=1M 2>/dev/null; df --output=avail / | tail -1", user="root", seconds=120)
    assert int(r.out.split()[-1]) < 4096, r.out
    r = m.sh("echo x > ~/full && cat ~/full; echo st=$?")
    contains(r.err.decode() + r.out.decode(), "st=")
    equal(m.session(["bash", "-c", "exit 4"], tty=True).wait(20).code, 4)
    m.control.s.send(frame(AGENT_SHUTDOWN, struct.pack("<I", 20000)))
    equal(m.wait_off(40), 0)
    m.start()
    m.hello()
    equal(m.sh("rm -f /filler /filler2 && echo space > ~/full && cat ~/full", user="root", seconds=60).out, b"space\n")


@guest
def power_cut():
    "a machine that is killed starts again with what was synced"
    m.sh("echo synced > ~/synced; sync; echo maybe > ~/maybe")
    m.stop()
    m.start()
    m.hello()
    equal(m.sh("cat ~/synced").out, b"synced\n")


@guest
def poweroff_inside():
    "poweroff inside powers off; a user who is not root is told how"
    r = m.run(["/usr/sbin/poweroff"])
    equal(r.code, 1)
    contains(r.err.decode(), "sudo")
    m.session(["sudo", "poweroff"])
    equal(m.wait_off(40), 0)


@guest
def damaged_disk():
    "a disk with a damaged superblock is repaired at the next start"
    with open(m.disk, "r+b") as f:
        f.seek(0x400 + 0x3FC)
        f.write(b"\0\0\0\0")
    m.start()
    m.hello()
    equal(m.sh("cat ~/synced").out, b"synced\n")
    contains(m.console_tail(), "FILE SYSTEM WAS MODIFIED")
    m.control.s.send(frame(AGENT_SHUTDOWN, struct.pack("<I", 10000)))
    equal(m.wait_off(40), 0)


@guest
def foreign_disk():
    "a disk that holds something else is not formatted: the console says so and the machine ends"
    with open(m.disk, "r+b") as f:
        f.seek(0x400)
        f.write(b"\xaa" * 4096)
    m.start()
    equal(m.wait_off(40), 0)
    contains(m.console_tail(), "reset the sandbox to get a clean one")


if __name__ == "__main__":
    main(setup, teardown)
