#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Root in a booted guest tries to get out past the rules. One name is allowed; nothing of tests/lib/escapes.py may reach a canary.

All of it, the supervisor too, runs in a network namespace of its own in which every address there is, of IPv4 and of IPv6, is this machine's: canaries
listen on all of them, and whatever is sent to any but 127.0.0.1 is seen on the loopback. A missing check would so really reach somebody, which a case
shows with rules that name the addresses literally. Each row must also have run, met what it was to meet, and left its denial in the record.
"""
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bulkhead import Env  # noqa: E402
from escapes import DRIVER, FORBIDDEN, NAT64, NOT_CONNECTABLE, UNRULED, VPORT, WORD, rows  # noqa: E402
from origins import ADDRESS, Origins  # noqa: E402
from tap import Skip, case, contains, equal, main, wait_for  # noqa: E402

env = o = tmp = None
PORT = 0
hits, sent = [], []
GOOD = "192.0.2.77"  # an address like any other of the internet, which a name may lead to


def alone():
    """Goes on in a network namespace whose addresses are all of them."""
    if os.environ.get("BULKHEAD_TEST_ALONE"):
        return
    ip = "ip link set lo up && ip route add local 0.0.0.0/0 dev lo && ip -6 route add local ::/0 dev lo && exec \"$@\""
    os.execvpe("unshare", ["unshare", *(["-r"] if os.geteuid() else []), "-n", "sh", "-c", ip, "sh", sys.executable, *sys.argv], {**os.environ, "BULKHEAD_TEST_ALONE": "1"})


def canaries():
    """TCP on every address at PORT; everything on the loopback's wire."""
    global PORT

    def tcp(family, where, port):
        s = socket.socket(family, socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.bind((where, port))
        s.listen(64)

        def serve():
            while True:
                c, _ = s.accept()
                if c.getsockname()[0] != GOOD:
                    hits.append(c.getsockname()[0])
                c.close()
        threading.Thread(target=serve, daemon=True).start()
        return s.getsockname()[1]

    def wire():
        s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        s.bind(("lo", 0))
        while True:
            p, where = s.recvfrom(256)
            if where[1] == 0x0800:
                to = socket.inet_ntop(socket.AF_INET, p[16:20])
            elif where[1] == 0x86DD:
                to = socket.inet_ntop(socket.AF_INET6, p[24:40])
            else:
                to = f"type {where[1]:x}"
            if to not in (ADDRESS, GOOD) and not to.startswith("ff02:"):  # the kernel's own neighbour discovery
                sent.append(to)

    PORT = tcp(socket.AF_INET, "0.0.0.0", 0)
    tcp(socket.AF_INET6, "::", PORT)
    threading.Thread(target=wire, daemon=True).start()


def setup():
    global env, o, tmp
    tmp = pathlib.Path(tempfile.mkdtemp(prefix="bh-esc-"))
    canaries()
    o = Origins(tmp / "origins")
    for name, (addr, _) in FORBIDDEN.items():
        o.names[f"{name}.deep.test"] = addr
    o.names["ipv4only.arpa"] = ["192.0.0.170", NAT64]
    o.names["both.deep.test"] = ["10.0.0.1", GOOD]
    answers = [0]

    def changing(kind):
        answers[0] += kind == 1
        return ADDRESS if answers[0] % 2 else "10.0.0.1"
    o.names["rebind.deep.test"] = changing
    env = Env()
    d = env.config / "bulkhead"
    d.mkdir()
    (d / "config.yaml").write_text(o.config() + "ask_ms: 1000\n")
    for rule in (f"{ADDRESS}:{o.https}", f"{ADDRESS}:{o.http}", f"origin.test:{o.https}", f"origin.test:{o.http}", "**.deep.test", f"tcp **.deep.test:{PORT}",
                 f"ws.test:{o.http} GET /fine/**", f"ws.test:{o.http} POST /fine/**", f"ws.test:{o.https} GET /fine/**"):
        env.run("policy", "allow", rule, ok=0)
    env.run("create", "--name", "esc", "--memory", "1G", "--unattended", "shell", ok=0)
    env.run("create", "--name", "garbage", "--memory", "512M", "--unattended", "shell", ok=0)
    env.run("start", "esc", ok=0, timeout=200)


def teardown():
    env.close()
    o.close()
    subprocess.run(["rm", "-rf", str(tmp)], check=False)


def root(sandbox, *argv, timeout=60, **kw):
    r = env.run("exec", "--user", "root", sandbox, "--", *argv, timeout=timeout, **kw)
    return r.stdout + r.stderr


def got_out():
    """What canaries, the allowed origin and the resolver know of."""
    return ([*hits], [*sent], [r["path"] for r in o.seen if WORD in r["path"] and not r["path"].startswith("/redirect=")],
            [q for q in o.dns_seen if WORD in q[0] and not q[0].endswith(".deep.test")])


class Records:
    """Denials since the last look."""

    def __init__(self):
        self.rpc, self.last, self.seen = env.rpc(), -1, []
        self.clear()

    def take(self):
        found = [d for d in self.rpc.call("policy.log", name="esc", lines=400)["decisions"] if d["seq"] > self.last]
        self.last = max([self.last, *(d["seq"] for d in found)])
        self.seen += [f"{d['rule']} ({d['scope']}), {d['name'] or d['address']}" for d in found if (d["verdict"], d["event"]) == ("deny", "decided")]

    def clear(self):
        self.take()
        self.seen = []

    def wait(self, rules):
        """One denial for each of these patterns; those that none is left for."""
        def missing():
            self.take()
            left, without = list(self.seen), []
            for rule in sorted(rules, key=lambda r: r == UNRULED):
                match = next((s for s in left if re.search(rule, s)), None)
                left.remove(match) if match else without.append(rule)
            return without
        try:
            wait_for(lambda: not missing(), 3, "them", every=0.2)
            return []
        except AssertionError:
            return missing()


def attempt(some, records):
    """What is wrong with these rows, which run together: {name: why}."""
    before = got_out()
    records.clear()
    out = root("esc", "python3", "-c", DRIVER, input=json.dumps([r.argv for r in some]), timeout=200)
    equal((s := state("esc"))["state"], "running", f"the sandbox after {[r.name for r in some]} ({s['reason']})")
    said = json.loads(out)
    wrong = {r.name: f"said {text[-600:]!r}, not {r.says!r}" for r, text in zip(some, said) if not re.search(r.says, text, re.M)}
    if without := records.wait([r.rule for r in some if r.rule]):
        wrong[f"the record of {[r.name for r in some]}"] = f"no denial because of {without}, but {records.seen}"
    after = got_out()
    if after != before:
        wrong[f"one of {[r.name for r in some]}"] = f"IT GOT OUT: {[a[len(b):] for a, b in zip(after, before)]}"
    return wrong


@case
def none_gets_out():
    "over a hundred attempts of guest root: each ran, met what it was to meet, is in the record, and no canary saw any"
    every = rows(o, PORT)
    assert len(every) >= 100, len(every)
    records, wrong = Records(), {}
    together = [r for r in every if not r.alone]
    for some in [together[i:i + 18] for i in range(0, len(together), 18)] + [[r] for r in every if r.alone]:
        wrong.update(attempt(some, records))
    print(f"# {len(every)} attempts")
    for name, why in wrong.items():
        print(f"# {name}: {why}")
    equal(sorted(wrong), [])


@case
def canaries_sing():
    "the control: with rules that name the addresses literally, the same names do reach the canaries: the check is all that stood between"
    del hits[:]
    names = [n for n in FORBIDDEN if n not in NOT_CONNECTABLE]
    literal = sorted({FORBIDDEN[n][0].removeprefix("::ffff:") for n in names if n != "translated"} | {FORBIDDEN["translated"][0]})
    for addr in literal:
        env.run("policy", "allow", "-s", "esc", addr, ok=0)
    root("esc", "sh", "-c", "".join(f"curl -s --max-time 60 http://{n}.deep.test:{PORT}/ & " for n in names) + "wait", timeout=120)
    silent = [n for n in names if address(FORBIDDEN[n][0]) not in {address(h) for h in hits}]
    equal(silent, [])
    assert len(sent) > 20, sent
    for addr in literal:
        env.run("policy", "rm", "-s", "esc", "allow", addr, ok=0)


BOX = "docker run --rm {} box /busybox wget -T 5 -q -O - {} 2>&1 | tail -1"


@case
def nor_from_containers():
    "a container of root's: with the host's network and all privileges, on docker's bridge, on a network with IPv6; by name, by address, by IPv6"
    wait_for(lambda: next(s for s in env.json("ls")["sandboxes"] if s["name"] == "esc")["docker"]["state"] == "ready", 180, "dockerd", every=0.5)
    root("esc", "sh", "-c", "cd $(mktemp -d) && cp /bin/busybox . && tar -c busybox | docker import - box && docker network create --ipv6 --subnet fd77:1::/64 six", timeout=120)
    records, before = Records(), got_out()
    wrong = []
    for how in ("--network host --privileged", "", "--network six"):
        urls = [f"http://10.77.0.1:{PORT}/{WORD}", f"http://loop.deep.test:{PORT}/{WORD}"] + ([f"http://[2001:db8::77]:{PORT}/{WORD}"] if how else [])
        for url in urls:
            records.clear()
            said = root("esc", "sh", "-c", BOX.format(how, url), timeout=90)
            why = None if re.search(r"403|reset", said) else f"said {said!r}"
            if without := records.wait([f"its address is|{UNRULED}"]):
                why = f"{why}, no denial because of {without}"
            if why:
                wrong.append(f"{how or 'bridge'}, {url}: {why}")
    equal(wrong, [])
    equal(got_out(), before)


@case
def still_works():
    "after all of it what is allowed is still allowed, and the sandbox runs"
    equal(root("esc", "curl", "-sS", f"https://origin.test:{o.https}/fine"), f"hello from origin.test:{o.https} GET /fine\n")
    equal(state("esc")["state"], "running")


def state(name):
    return next(s for s in env.json("ls")["sandboxes"] if s["name"] == name)


def take_channel(then):
    """Root's program in the sandbox 'garbage' that takes the agent's end of the channel from process 1."""
    if not root("garbage", "sh", "-c", "ls /dev/vport* 2>/dev/null").strip():
        raise Skip("the channel is vsock here: there is no device to take")
    try:
        return root("garbage", "python3", "-c", VPORT + then, timeout=60)
    except subprocess.TimeoutExpired:
        return ""


@case
def every_port_of_the_channel():
    "root takes the channel's device from process 1 and opens each port of the host with garbage: none answers but with a reset, and nobody fails"
    env.run("start", "garbage", ok=0, timeout=200)
    before = got_out()
    # Numbers that the agent has used and ended: an answer to any other would end its own connection, and the machine.
    said = take_channel("""
import socket, struct
for i in range(90):
    s = socket.socket(); s.settimeout(20)
    try: s.connect(("203.0.113.77", 1)); s.sendall(b"\\1"); s.recv(1)
    except OSError: pass
    s.close()
for k, port in enumerate([*range(70), 1024, 65535, 0xffffffff], 1):
    os.write(fd, struct.pack("<IHBB", 2 * k, 8, 2, 0) + struct.pack("<II", port, 65536) + struct.pack("<IHBB", 2 * k, 64, 5, 0) + os.urandom(64))
print("all written")
""")
    contains(said, "all written")
    equal(env.run("exec", "garbage", "--", "echo", "still here", ok=0).stdout, "still here\n")
    equal((state("garbage")["state"], state("esc")["state"]), ("running", "running"))
    equal(got_out(), before)


# What root writes with the channel's device in its hands, and why its sandbox then fails. Stream 1 is the one that the agent is asked by; a later one when the first
# was refused, as the guest was not up yet.
LIES = {
    "no frames": ("while True: os.write(fd, b'canaryword' * 400)", "no frame of the channel"),
    "the head of a frame that never comes": ("os.write(fd, b'abc\\0\\0\\x60\\5\\0'); time.sleep(100)", "did not end it"),
    "an agent that speaks no protocol": ("for n in (1, 3, 5): os.write(fd, struct.pack('<IHBB', n, 64, 5, 0) + b'\\xff' * 64); time.sleep(1)\ntime.sleep(100)", "agent is not listened to any more: it broke the protocol"),
    "a stream that nobody opened": ("os.write(fd, struct.pack('<IHBB', 0x7ffffff1, 1, 5, 0) + b'x'); time.sleep(100)", "never opened"),
}


def with_channel(then):
    """Root's program that has taken the channel's device and goes on with `then`."""
    take_channel("")
    p = subprocess.Popen([env.program, "exec", "--user", "root", "garbage", "--", "python3", "-c", VPORT + "import time\ntime.sleep(0.5)\n" + then], env=env.env, stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    equal(p.stdout.readline(), "taken True\n")
    return p


def ended(p):
    """What a command said when its sandbox had failed: soon, and in a sentence."""
    out = p.communicate(timeout=15)[0]
    assert p.returncode not in (0, None) and out.strip(), (p.returncode, out)


@case
def garbage_into_the_channel():
    "each ends that sandbox with a sentence and in seconds, commands in it end, and nothing else does: the supervisor, its processes and the other sandbox go on; it starts again"
    pid = env.supervisor_pid()
    for what, (then, why) in LIES.items():
        if state("garbage")["state"] != "running":
            env.run("start", "garbage", ok=0, timeout=200)
        p = with_channel(then)
        waits = subprocess.Popen([env.program, "exec", "garbage", "--", "sleep", "300"], env=env.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        began = time.monotonic()
        s = wait_for(lambda: state("garbage")["state"] == "failed" and state("garbage"), 30, f"the sandbox's end after {what}", every=0.2)
        print(f"# {what}: {time.monotonic() - began:.1f} s, {s['reason']}")
        contains(s["reason"], why)
        ended(p)
        ended(waits)
        equal(env.run("exec", "garbage", "--", "true", timeout=10).returncode != 0, True)
        equal(env.supervisor_pid(), pid)
    still_works()
    env.run("start", "garbage", ok=0, timeout=200)
    equal(env.run("exec", "garbage", "--", "echo", "again", ok=0).stdout, "again\n")


@case
def an_agent_that_hears_nothing():
    "root takes from the channel what is for the agent: a command ends with a sentence; kill and start work"
    p = with_channel("while True:\n try: os.read(fd, 65536)\n except BlockingIOError: pass")
    began = time.monotonic()
    r = None
    while r is None or (r.returncode == 0 and time.monotonic() - began < 60):  # 0: the agent was quicker
        assert time.monotonic() - began < 600, "no command is told that the agent does not answer"
        try:
            r = env.run("exec", "garbage", "--", "true", timeout=20)
        except subprocess.TimeoutExpired:
            r = None  # it had begun when the agent lost the thread: only the next one learns of it
    contains(r.stderr, "does not answer")
    # By now it has failed because of that, or the agent has had a word again in between.
    env.run("kill", "garbage", timeout=20)
    s = wait_for(lambda: state("garbage")["state"] in ("failed", "stopped") and state("garbage"), 30, "its end", every=0.2)
    assert s["state"] == "stopped" or "does not answer" in s["reason"], s
    ended(p)
    env.run("start", "garbage", ok=0, timeout=200)
    equal(env.run("exec", "garbage", "--", "echo", "again", ok=0).stdout, "again\n")


def address(text):
    """As the canary tells it: an unspecified one is the loopback."""
    text = ADDRESS if text == "0.0.0.0" else text
    try:
        return socket.inet_pton(socket.AF_INET6, text).removeprefix(bytes(10) + b"\xff\xff")
    except OSError:
        return socket.inet_pton(socket.AF_INET, text)


if __name__ == "__main__":
    alone()
    main(setup, teardown)
