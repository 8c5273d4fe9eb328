# SPDX-License-Identifier: Apache-2.0
"""The host's end of core/proto/netconn.h in Python: what the guest opens to port 16, and port 3 of the guest. The test decides what becomes of each."""
import os
import ssl
import struct
import subprocess

from guest import Reader, frame

NETCONN_PORT, FORWARD_PORT = 16, 3
NETC_OPEN, NETC_GO, NETC_RESET, NETC_TO, NETC_FAILED = 128, 129, 130, 131, 132


def head(s):
    """The first frame of a stream, taken out; None when it is not whole yet."""
    if len(s.got) < 8:
        return None
    kind, flags, zero, n = struct.unpack_from("<BBHI", s.got)
    assert flags == 0 and zero == 0 and n <= 2048, f"a frame that cannot be: {bytes(s.got[:8])!r}"
    if len(s.got) < 8 + n:
        return None
    p = bytes(s.got[8:8 + n])
    del s.got[:8 + n]
    return kind, p


class Conn:
    """A connection of the guest; `open` is what it said."""

    def __init__(self, s):
        self.s, self.open = s, None

    def look(self):
        if self.open is None and (h := head(self.s)):
            kind, p = h
            assert kind == NETC_OPEN, f"the guest began with frame {kind}"
            r = Reader(p)
            o = dict(version=r.take("H"))
            o["dst"] = p[2:18]
            r.at = 18
            o.update(port=r.take("H"), name=r.text(), pid=r.take("I"), uid=r.take("I"), comm=r.text(), cmdline=r.text(), container=r.text())
            assert r.at == len(p), "bytes behind NETC_OPEN"
            self.open = o
        return self.open

    def go(self, data=b""):
        self.s.send(frame(NETC_GO) + data)

    def reset(self):
        self.s.send(frame(NETC_RESET))

    @property
    def got(self):
        return self.s.got if self.look() else b""

    def take(self):
        data = bytes(self.got)
        del self.s.got[:]
        self.s.give()
        return data


class Authority:
    """A root of the test's own, and server certificates from it. Needs the openssl program."""

    def __init__(self, directory):
        self.dir = directory
        self.run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=Bulkhead test root", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                 "-keyout", "root.key", "-out", "root.pem")
        with open(os.path.join(directory, "root.pem"), "rb") as f:
            self.pem = f.read()

    def run(self, *args):
        subprocess.run(["openssl", *args], cwd=self.dir, check=True, capture_output=True, timeout=60)

    def server(self, name):
        """A context that serves as `name`."""
        self.run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                 "-addext", f"subjectAltName=DNS:{name}", "-addext", "basicConstraints=critical,CA:FALSE", "-CA", "root.pem", "-CAkey", "root.key",
                 "-keyout", "leaf.key", "-out", "leaf.pem")
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        c.load_cert_chain(os.path.join(self.dir, "leaf.pem"), os.path.join(self.dir, "leaf.key"))
        return c


def serve_tls(chan, c, context, answer, seconds=60):
    """TLS on a connection of the guest: waits for a request's head, answers, ends. The head; None when the client broke off."""
    inb, outb = ssl.MemoryBIO(), ssl.MemoryBIO()
    t, got, state = context.wrap_bio(inb, outb, server_side=True), bytearray(), {"shaken": False, "done": False}

    def step():
        if c.got:
            inb.write(c.take())
        if c.s.eof or c.s.reset is not None:
            state["done"] = True
        try:
            if not state["shaken"]:
                t.do_handshake()
                state["shaken"] = True
            got.extend(t.read(65536))
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            state["done"] = True
        c.s.send(outb.read())
        return b"\r\n\r\n" in got or state["done"]
    c.go()
    chan.wait(step, seconds, "a request over TLS")
    if b"\r\n\r\n" not in got:
        if c.s.reset is None:
            c.s.end()
        return None
    t.write(answer)
    try:
        t.unwrap()
    except ssl.SSLError:
        pass
    c.s.send(outb.read())
    c.s.end()
    return bytes(got)


class Net:
    """Listens for the guest's connections; `serve` is called with each new Conn whose NETC_OPEN has come."""

    def __init__(self, chan, serve=None):
        self.chan, self.conns, self.serve = chan, [], serve
        chan.listen(NETCONN_PORT, lambda s: self.conns.append(Conn(s)))

    def close(self):
        self.chan.listeners.pop(NETCONN_PORT, None)
        for c in self.conns:
            if c.s.reset is None and not c.s.eof:
                c.s.abort()

    def next(self, seconds=30, where=lambda o: True):
        """The next connection whose opening says so, taken out."""
        def find():
            for c in self.conns:
                if c.look() and where(c.open):
                    self.conns.remove(c)
                    return c
        return self.chan.wait(find, seconds, "a connection of the guest")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def forward(chan, port):
    """A connection to a port of the guest's loopback: the stream, with NETC_TO sent."""
    s = chan.open(FORWARD_PORT)
    s.send(frame(NETC_TO, struct.pack("<H", port)))
    return s
