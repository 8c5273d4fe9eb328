# SPDX-License-Identifier: Apache-2.0
"""The real bulkhead-term, sealed as in use: a test plays its supervisor (core/proto/child.h), the guest behind its dial socket (agent.h) and the viewers
(rows.h)."""
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import tempfile
import threading

from bulkhead import BUILD
from tap import wait_for

STATES = ("opening", "busy", "idle", "waits", "exited", "failed")
ATTENTION = ("bell", "notify", "waits")


def s16(t):
    t = t if isinstance(t, bytes) else t.encode()
    return struct.pack("<H", len(t)) + t


def frame(kind, payload=b"", flags=0):
    return struct.pack("<BBHI", kind, flags, 0, len(payload)) + payload


class Frames:
    """Whole frames of a stream."""

    def __init__(self, sock):
        self.s, self.buf = sock, b""

    def next(self, timeout=60):
        self.s.settimeout(timeout)
        while len(self.buf) < 8 or len(self.buf) < 8 + struct.unpack_from("<I", self.buf, 4)[0]:
            d = self.s.recv(1 << 20)
            if not d:
                raise EOFError
            self.buf += d
        n = struct.unpack_from("<I", self.buf, 4)[0]
        kind, payload = self.buf[0], self.buf[8:8 + n]
        self.buf = self.buf[8 + n:]
        return kind, payload


class Term:
    """bulkhead-term and everything around it."""

    def __init__(self, rows=24, cols=80, cap=0, idle_ms=0, pattern=""):
        self.rows, self.cols = rows, cols
        self.tmp = tempfile.mkdtemp(prefix="bh-term-")
        self.rec = pathlib.Path(self.tmp, "rec")
        self.rec.mkdir()
        self.ctl, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(f"{self.tmp}/s")
        listener.listen()

        def descriptors():
            a, b = os.dup2(theirs.fileno(), 20), os.dup2(listener.fileno(), 21)
            os.dup2(a, 3)
            os.dup2(b, 4)

        self.p = subprocess.Popen([str(BUILD / "bulkhead-term")], preexec_fn=descriptors, close_fds=False)
        theirs.close()
        self.dial, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        rec, log = os.open(self.rec, os.O_RDONLY), os.open(f"{self.tmp}/log", os.O_WRONLY | os.O_CREAT, 0o600)
        start = struct.pack("<IQII", 10000, cap, 0, idle_ms) + s16("test") + s16("") + struct.pack("<H", 0) + s16(pattern)
        socket.send_fds(self.ctl, [struct.pack("<HHI", 200, 0, 1) + start], [far.fileno(), rec, log])
        for fd in (rec, log):
            os.close(fd)
        far.close()
        control = self.answer()
        Frames(control).next()
        control.sendall(frame(2, struct.pack("<HIQ", 1, 1, 0) + s16("test") + s16("test")))
        self.control, self.n = control, 0
        self.told, self.history, self.attention = {}, [], []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        """What it tells its supervisor; a queue that is not read would stop it."""
        while True:
            try:
                m = self.ctl.recv(1 << 16)
            except OSError:
                return
            if not m:
                return
            kind, p = struct.unpack_from("<H", m)[0], m[8:]
            if kind == 226:
                session, _, state, rows, cols, viewers, pid, code, signo, out, _ = struct.unpack_from("<IBBHHHIIIQQ", p)
                n = struct.unpack_from("<H", p, 44)[0]
                title = p[46 + n + 2:].decode()
                self.told[session] = {"state": STATES[state], "rows": rows, "cols": cols, "viewers": viewers, "code": code, "signo": signo, "out": out,
                                      "title": title}
                if not self.history or self.history[-1] != (session, STATES[state]):
                    self.history.append((session, STATES[state]))
            elif kind == 227:
                session, what, n = struct.unpack_from("<IBH", p)
                self.attention.append((session, ATTENTION[what], p[7:7 + n].decode()))

    def answer(self):
        _, gen, _, token = struct.unpack("<IIII", self.dial.recv(16))
        ours, theirs = socket.socketpair()
        socket.send_fds(self.dial, [struct.pack("<IIII", 2, gen, 0, token)], [theirs.fileno()])
        theirs.close()
        return ours

    def open(self):
        """The guest's end of a new terminal, started."""
        self.n += 1
        opened = struct.pack("<BHH", 1, self.rows, self.cols) + s16("") + s16("") + s16("") + struct.pack("<HH", 0, 0)
        self.ctl.send(struct.pack("<HHI", 201, 0, 1) + struct.pack("<IB", self.n, 0) + s16("test") + opened)
        guest = self.answer()
        Frames(guest).next()
        guest.sendall(frame(33, struct.pack("<I", 1)))
        return guest

    def attach(self, session=None, rows=None, cols=None, readonly=False, look=False):
        view, theirs = socket.socketpair()
        socket.send_fds(self.ctl, [struct.pack("<HHI", 202, 0, 1) + struct.pack("<IB", session or self.n, readonly)], [theirs.fileno()])
        theirs.close()
        view.sendall(frame(64, struct.pack("<HHHH", 1, rows or self.rows, cols or self.cols, int(look))))
        return view

    def session(self):
        """The guest's end of a new terminal, and a viewer of it."""
        guest = self.open()
        return guest, self.attach()

    def wait_state(self, session, state, seconds=20):
        wait_for(lambda: self.told.get(session, {}).get("state") == state, seconds,
                 f"session {session} to be told as {state}; it is {self.told.get(session)}")

    def close(self):
        self.p.kill()
        self.p.wait()
        for s in (self.ctl, self.dial, self.control):
            s.close()
        shutil.rmtree(self.tmp, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.close()


def out(data):
    """Output of the guest's program."""
    data = data if isinstance(data, bytes) else data.encode()
    return frame(40, data)


class Viewer:
    """One that draws all it gets and acknowledges it, as a dashboard does."""

    def __init__(self, sock):
        self.s, self.rows, self.kinds, self.exit, self.size = sock, {}, [], None, None
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        f = Frames(self.s)
        try:
            while True:
                kind, p = f.next(3600)
                self.kinds.append(kind)
                if kind == 97:
                    self._draw(p)
                    self.s.sendall(frame(65, p[:8]))
                elif kind == 105:
                    self.exit = struct.unpack("<II", p)
        except (EOFError, OSError):
            pass

    def _draw(self, p):
        _, rows, cols = struct.unpack_from("<QHH", p)
        n, at = struct.unpack_from("<H", p, 40)[0], 42
        self.size = (rows, cols)
        for _ in range(n):
            index, _, used = struct.unpack_from("<HBH", p, at)
            at, col, text = at + 5, 0, ""
            while col < used:
                run = struct.unpack_from("<H", p, at)[0]
                at += 14
                for _ in range(run):
                    head = p[at]
                    text += p[at + 1:at + 1 + (head >> 2)].decode() or ("" if head & 3 == 0 else " ")
                    at += 1 + (head >> 2)
                col += run
            self.rows[index] = text

    def wait(self, text, seconds=20):
        wait_for(lambda: any(text in r for r in list(self.rows.values())), seconds, f"{text!r} in {self.rows}")

    def key(self, c):
        self.s.sendall(frame(67, struct.pack("<IB", c if isinstance(c, int) else ord(c), 0)))
