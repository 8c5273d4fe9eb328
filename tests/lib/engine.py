# SPDX-License-Identifier: Apache-2.0
"""The real, sealed bulkhead-net without a machine (tests/netpolicy/engine.c): what a guest's agent says is said here.

Engine(dir, rules=[...], ...) starts it; .connect(name, port) is a connection of the guest that waits for its verdict; .opened() takes it:
True when it may go on (what follows is the server's), False when it was reset.
"""
import pathlib
import re
import signal
import socket
import ssl
import struct
import subprocess
import tempfile

from bulkhead import BUILD
from guest import frame
from netconn import NETC_GO, NETC_OPEN, NETC_RESET
from tap import wait_for


def _text(s):
    return struct.pack("<H", len(s)) + s.encode()


def address(text):
    return socket.inet_pton(socket.AF_INET6, text) if ":" in text else bytes(10) + b"\xff\xff" + socket.inet_aton(text)


def opening(name, port):
    """What the agent says first; a name of digits and dots alone is an address."""
    number = all(c in "0123456789." for c in name)
    dst = address(name if number else "198.18.0.9")
    payload = struct.pack("<H", 1) + dst + struct.pack("<H", port) + _text("" if number else name) + struct.pack("<II", 7, 1000) + _text("curl") + _text("curl it") + _text("")
    return frame(NETC_OPEN, payload)


class Engine:
    def __init__(self, directory, rules=(), secrets=(), program=None, **options):
        """options: dns, ca_file, ca_out, proxy, no_proxy, ask_ms, dial_gen, dial_port, tcp as engine.c's."""
        self.dir = pathlib.Path(tempfile.mkdtemp(dir=directory))
        self.path, self.out, self.log = (str(self.dir / n) for n in ("sock", "out", "log"))
        args = ["--program", program or BUILD / "bulkhead-net", "--listen", self.path]
        for r in rules:
            args += ["--rule", r]
        for s in secrets:
            args += ["--secret", *s]
        for k, v in options.items():
            args += ["--" + k.replace("_", "-"), v]
        with open(self.out, "w") as out, open(self.log, "w") as log:
            self.p = subprocess.Popen([BUILD / "tests/netpolicy/engine", *map(str, args)], stdin=subprocess.PIPE, stdout=out, stderr=log)
        self.pid = int(wait_for(lambda: re.search(r"^listening (\d+)$", self.said(), re.M) or self.alive(), 20, "bulkhead-net")[1])

    def alive(self):
        if self.p.poll() is not None:
            raise AssertionError(f"the engine ended: {pathlib.Path(self.log).read_text()}")

    def said(self):
        return pathlib.Path(self.out).read_text()

    def wait(self, pattern, seconds=20):
        return wait_for(lambda: re.search(pattern, self.said(), re.M), seconds, f"{pattern!r} in:\n{self.said()[-2000:]}")

    def tell(self, line):
        """One of engine.c's commands; done when this returns."""
        before = self.said().count(f"did {line}\n")
        self.p.stdin.write(line.encode() + b"\n")
        self.p.stdin.flush()
        wait_for(lambda: self.said().count(f"did {line}\n") > before or self.alive(), 20, f"the engine to {line!r}")

    def count(self, pattern):
        return len(re.findall(pattern, self.said(), re.M))

    def connect(self, name, port, timeout=30):
        return self.connect_raw(opening(name, port), timeout)

    def connect_raw(self, data, timeout=30):
        """A connection whose guest says what it likes."""
        s = socket.socket(socket.AF_UNIX)
        s.connect(self.path)  # waits for room in the backlog, as one with a timeout does not
        s.settimeout(timeout)
        s.sendall(data)
        return s

    @staticmethod
    def opened(s):
        head = b""
        while len(head) < 8:
            part = s.recv(8 - len(head))
            if not part:
                return False
            head += part
        kind = struct.unpack("<BBHI", head)[0]
        assert kind in (NETC_GO, NETC_RESET), kind
        return kind == NETC_GO

    def close(self):
        self.p.stdin.close()
        try:
            self.p.wait(10)
        except subprocess.TimeoutExpired:
            self.p.send_signal(signal.SIGKILL)
            self.p.wait(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _tls(s, name, ca):
    c = ssl.create_default_context(cafile=str(ca))
    inb, outb = ssl.MemoryBIO(), ssl.MemoryBIO()
    return s, c.wrap_bio(inb, outb, server_hostname=name), inb, outb


def tls_get(e, name, port, ca, path="/x", *fields):
    """A whole answer over TLS inside a guest's connection; None when it was reset."""
    with e.connect(name, port) as s:
        s, t, inb, outb = _tls(s, name, ca)
        told = False

        def pump(step):
            nonlocal told
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    if out := outb.read():
                        s.sendall(out)
                    if not told:
                        if not e.opened(s):
                            raise ConnectionResetError from None
                        told = True
                    data = s.recv(65536)
                    if data:
                        inb.write(data)
                    else:
                        inb.write_eof()
        try:
            pump(t.do_handshake)
            t.write("".join(f"{x}\r\n" for x in (f"GET {path} HTTP/1.1", f"Host: {name}:{port}", "Connection: close", *fields, "")).encode())
            s.sendall(outb.read())
            answer = b""
            while part := pump(lambda: t.read(65536)):
                answer += part
        except ConnectionResetError:
            return None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            pass
        return answer.decode(errors="replace")
