#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What passing a connection through costs: throughput and latency of bulkhead-net against a plain socat relay, in one run; 5,000 held connections.

usage: bench_passthrough.py [MEBIBYTES] [ROUNDS] [--json FILE]
Client and server are the same; the client connects to a Unix socket both times (the guest's end of a connection is one), the server listens on
loopback. 'begin' is connecting through to a first byte from the server: bulkhead-net reads the opening, peeks at the first bytes, decides, resolves and
connects; socat forks and connects. Rounds take turns, medians are shown. Needs socat.
"""
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from engine import Engine  # noqa: E402
from report import median, report, spread  # noqa: E402
from tap import wait_for  # noqa: E402

CHUNK = bytes(1 << 18)
HELLO = b"\x16\x03\x01"  # a record of TLS begins so; the rest is whatever a real client said
HELD = 5000


def client_hello(name):
    """A real ClientHello for the name, as OpenSSL says it."""
    import ssl
    out = ssl.MemoryBIO()
    o = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    try:
        o.do_handshake()
    except ssl.SSLWantReadError:
        pass
    hello = out.read()
    assert hello.startswith(HELLO)
    return hello


class Server(threading.Thread):
    """Reads a ClientHello's worth, then by one letter: e echo, d N bytes down, u N bytes up and then one byte."""

    def __init__(self, skip):
        super().__init__(daemon=True)
        self.skip = skip
        self.s = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.s.getsockname()[1]
        self.start()

    def run(self):
        while True:
            c, _ = self.s.accept()
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        try:
            take(c, self.skip)
            c.sendall(b"!")
            while what := c.recv(1):
                if what == b"e":
                    c.sendall(b"e")
                    continue
                n = int.from_bytes(take(c, 8), "little")
                if what == b"d":
                    while n > 0:
                        n -= c.send(CHUNK[: min(n, len(CHUNK))])
                else:
                    take(c, n)
                    c.sendall(b"k")
        except OSError:
            pass


def take(c, n):
    """n bytes; the last chunk of them is returned."""
    view, got, keep = memoryview(bytearray(min(n, len(CHUNK)))), 0, b""
    while got < n:
        r = c.recv_into(view[: min(n - got, len(view))])
        if r == 0:
            raise OSError("ended early")
        keep = bytes(view[:r]) if n <= 16 and r == n else keep + bytes(view[:r]) if n <= 16 else b""
        got += r
    return keep


def cpu(pid):
    """User and system seconds of a process."""
    try:
        f = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0
    return sum(map(int, f[11:13])) / os.sysconf("SC_CLK_TCK")


class Ours:
    def __init__(self, engine, port, hello):
        self.engine, self.port, self.hello = engine, port, hello

    def cpu(self):
        return cpu(self.engine.pid)

    def connect(self):
        s = self.engine.connect("bench.test", self.port)
        s.sendall(self.hello)
        assert self.engine.opened(s)
        assert take(s, 1) == b"!"
        return s


class Socat:
    def __init__(self, path, port, hello):
        self.path, self.hello = path, hello
        self.p = subprocess.Popen(["socat", "-b", str(len(CHUNK)), f"UNIX-LISTEN:{path},fork,backlog=256", f"TCP:127.0.0.1:{port},nodelay"], stderr=subprocess.DEVNULL)
        wait_for(lambda: os.path.exists(path), 10, "socat")

    def cpu(self):
        """Of the newest connection's process: one that has ended may linger."""
        return cpu(max(pathlib.Path(f"/proc/{self.p.pid}/task/{self.p.pid}/children").read_text().split(), key=int))

    def connect(self):
        s = socket.socket(socket.AF_UNIX)
        s.connect(self.path)
        s.sendall(self.hello)
        assert take(s, 1) == b"!"
        return s


def throughput(way, what, n):
    """MiB a second, and CPU seconds a GiB of who passes it on."""
    with way.connect() as s:
        t, before = time.monotonic(), way.cpu()
        s.sendall(what + n.to_bytes(8, "little"))
        if what == b"d":
            take(s, n)
        else:
            left = n
            while left > 0:
                left -= s.send(CHUNK[: min(left, len(CHUNK))])
            take(s, 1)
        return n / (1 << 20) / (time.monotonic() - t), (way.cpu() - before) * (1 << 30) / n


def latency(way, times=2000):
    """Microseconds of one byte there and back, the median."""
    seen = []
    with way.connect() as s:
        for _ in range(times):
            t = time.perf_counter()
            s.sendall(b"e")
            s.recv(1)
            seen.append((time.perf_counter() - t) * 1e6)
    return median(seen)


def begin(way, times=100):
    """Microseconds from connecting to the server's first byte, the median."""
    seen = []
    for _ in range(times):
        t = time.perf_counter()
        way.connect().close()
        seen.append((time.perf_counter() - t) * 1e6)
    return median(seen)


def status(pid, key):
    line = next(x for x in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith(key))
    return int(line.split()[1]) / 1024


def held(folder):
    """5,000 connections that wait for a person: memory and what of a core they take while they wait."""
    with Engine(folder, ["ask bench.test"]) as e:
        idle = status(e.pid, "VmRSS")
        hello, all_of_them = client_hello("bench.test"), []
        try:
            t, before = time.monotonic(), cpu(e.pid)
            for _ in range(HELD):
                s = e.connect("bench.test", 443)
                s.sendall(hello)
                all_of_them.append(s)
            e.wait(rf"^ask .* count={HELD}$", 60)
            took, made = time.monotonic() - t, cpu(e.pid) - before
            before = cpu(e.pid)
            time.sleep(10)  # what is measured is rest
            rest = (cpu(e.pid) - before) / 10 * 100
            rss = status(e.pid, "VmRSS")
        finally:
            for s in all_of_them:
                s.close()
    return [["at rest, nothing open", idle, "", "", ""], [f"{HELD} held", rss, (rss - idle) * 1024 / HELD, took, made], ["their CPU while they wait, %", "", "", "", rest]]


def main():
    numbers = [int(a) for a in sys.argv[1:] if a.isdigit()]
    mib, rounds = (numbers + [512, 3][len(numbers):])[:2]
    if not shutil.which("socat"):
        raise SystemExit("bench_passthrough.py: socat is needed (Debian package socat)")
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(16384, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    folder = tempfile.mkdtemp(prefix="bh-pass-")
    hello = client_hello("bench.test")
    server = Server(len(hello))
    hosts = Resolver()
    engine = Engine(folder, ["127.0.0.1", f"bench.test:{server.port}"], dns=f"127.0.0.1:{hosts.port}")
    socat = Socat(folder + "/socat", server.port, hello)
    ours = Ours(engine, server.port, hello)
    try:
        seen = {}
        for _ in range(rounds):
            for name, way in (("bulkhead", ours), ("socat", socat)):
                for what, label in ((b"d", "down"), (b"u", "up")):
                    rate, cost = throughput(way, what, mib << 20)
                    seen.setdefault((label + ", MiB/s", name), []).append(rate)
                    seen.setdefault((label + ", its CPU seconds a GiB", name), []).append(cost)
                seen.setdefault(("byte there and back, us", name), []).append(latency(way))
                seen.setdefault(("begin, us", name), []).append(begin(way))
        rows = []
        for label in [x for x, name in seen if name == "socat"]:
            a, b = (float(median(seen[label, name])) for name in ("bulkhead", "socat"))
            rows.append([label, a, b, a / b if b else "", spread(seen[label, "bulkhead"]), spread(seen[label, "socat"])])
        report("connections passed through", ["", "bulkhead", "socat", "ratio", "spread", "socat's"], rows, rounds=rounds, MiB=mib)
    finally:
        socat.p.terminate()
        socat.p.wait(10)
        engine.close()
    try:
        rows = held(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report("bulkhead-net, resident", ["", "MiB", "KiB each", "seconds to make", "its CPU seconds"], rows)


class Resolver(threading.Thread):
    """Every name is 127.0.0.1."""

    def __init__(self):
        super().__init__(daemon=True)
        self.s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.s.bind(("127.0.0.1", 0))
        self.port = self.s.getsockname()[1]
        self.start()

    def run(self):
        while True:
            q, peer = self.s.recvfrom(4096)
            end = q.index(b"\0", 12) + 5
            a = q[end - 4: end - 2] == b"\0\1"
            rr = b"\xc0\x0c\0\1\0\1\0\0\0\x01\0\x04\x7f\0\0\1" if a else b""
            self.s.sendto(q[:2] + b"\x81\x80\0\1\0" + (b"\1" if a else b"\0") + b"\0\0\0\0" + q[12:end] + rr, peer)


if __name__ == "__main__":
    main()
