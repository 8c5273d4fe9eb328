# SPDX-License-Identifier: Apache-2.0
"""A booted guest and nothing else of ours on the host: QEMU as `bulkhead-vmm` runs it, and the host's end of core/proto/mux.h
and core/proto/agent.h in Python, so that the agent is tested against the documents and not against our own C.

    with Machine(build) as m:
        m.hello()
        r = m.run(["sh", "-c", "echo out; echo err >&2; exit 3"])   # r.code, r.signal, r.out, r.err

One thread; whoever waits pumps the channel. Every wait has a deadline.
"""
import glob
import json
import os
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import time

from tap import PATIENCE

PORT_NAME = "org.bulkhead.channel"
HELLO, OPEN, OPENED, RESET, DATA, CREDIT, EOF = 1, 2, 3, 4, 5, 6, 7
MAGIC, VERSION, DATA_MAX, WINDOW = 0x584D4B42, 1, 32768, 256 * 1024
CONTROL, SESSION = 1, 2
(AGENT_HELLO_HOST, AGENT_HELLO_GUEST, AGENT_TIME, AGENT_STATS_EVERY, AGENT_STATS, AGENT_TOP, AGENT_CONTAINERS, AGENT_DOCKER,
 AGENT_SHUTDOWN, AGENT_GOING_DOWN, AGENT_LOG) = range(1, 12)
(SESS_OPEN, SESS_STARTED, SESS_FAILED, SESS_STDIN, SESS_STDIN_EOF, SESS_STDIN_CREDIT, SESS_RESIZE, SESS_SIGNAL, SESS_STDOUT,
 SESS_STDERR, SESS_EXIT) = range(32, 43)
AGENT_TRUST = 14
TTY, LOGIN = 1, 2
STDIN_WINDOW = 256 * 1024
DOCKER = ["off", "starting", "ready", "failed"]


def image():
    """The newest whole image of the cache: its directory, or None."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    found = [os.path.dirname(p) for p in glob.glob(os.path.join(cache, "bulkhead/images/*/manifest.json"))]
    return max(found, key=os.path.getmtime) if found else None


def str16(s):
    b = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<H", len(b)) + b


def frame(kind, payload=b""):
    return struct.pack("<BBHI", kind, 0, 0, len(payload)) + payload


class Reader:
    def __init__(self, b):
        self.b, self.at = b, 0

    def take(self, fmt):
        v = struct.unpack_from("<" + fmt, self.b, self.at)
        self.at += struct.calcsize("<" + fmt)
        return v[0] if len(v) == 1 else v

    def text(self):
        n = self.take("H")
        self.at += n
        return self.b[self.at - n:self.at].decode(errors="replace")


class Stream:
    """A byte stream to a port of the guest: bytes in `got`, sending within credit."""

    def __init__(self, chan, number, port):
        self.chan, self.number, self.port = chan, number, port
        self.opened, self.eof, self.reset = False, False, None
        self.credit, self.owed, self.got, self.waiting = 0, 0, bytearray(), bytearray()
        self.hold = False  # no credit is given back: the guest must stop
        self.want_eof = False

    def send(self, data):
        self.waiting += data
        self.push()

    def push(self):
        while self.waiting and self.credit > 0 and self.reset is None:
            n = min(len(self.waiting), self.credit, DATA_MAX)
            self.chan.put(DATA, self.number, bytes(self.waiting[:n]))
            del self.waiting[:n]
            self.credit -= n
        if self.want_eof and not self.waiting:
            self.want_eof = False
            self.chan.put(EOF, self.number)

    def end(self):
        self.want_eof = True
        self.push()

    def abort(self):
        self.chan.put(RESET, self.number, struct.pack("<I", 4))
        self.reset = "ours"
        self.chan.streams.pop(self.number, None)

    def give(self):
        if self.owed and not self.hold:
            self.chan.put(CREDIT, self.number, struct.pack("<I", self.owed))
            self.owed = 0

    def frames(self):
        """The whole frames that have come, taken out."""
        out = []
        while len(self.got) >= 8:
            kind, flags, zero, n = struct.unpack_from("<BBHI", self.got)
            assert flags == 0 and zero == 0 and n <= 65536, f"a frame that cannot be: {bytes(self.got[:8])!r}"
            if len(self.got) < 8 + n:
                break
            out.append((kind, bytes(self.got[8:8 + n])))
            del self.got[:8 + n]
        return out


class Channel:
    def __init__(self, sock):
        self.sock, self.streams, self.next, self.listeners = sock, {}, 1, {}
        self.inb, self.outb = bytearray(), bytearray()
        self.hellos, self.ended = 0, False
        sock.setblocking(False)

    def listen(self, port, fn):
        """Streams the guest opens to that host port go to fn(stream); the others are refused."""
        self.listeners[port] = fn

    def put(self, kind, number, payload=b""):
        self.outb += struct.pack("<IHBB", number, len(payload), kind, 0) + payload

    def hello(self, gen=1):
        self.put(HELLO, 0, struct.pack("<IHHI", MAGIC, VERSION, 0, gen))
        for s in self.streams.values():
            s.reset = "hello"
        self.streams.clear()

    def open(self, port):
        s = Stream(self, self.next, port)
        self.streams[self.next] = s
        self.put(OPEN, self.next, struct.pack("<II", port, WINDOW))
        self.next += 2
        return s

    def pump(self, seconds=0.05):
        r, w, _ = select.select([self.sock], [self.sock] if self.outb else [], [], seconds)
        if w:
            try:
                n = self.sock.send(self.outb[:262144])
                del self.outb[:n]
            except BlockingIOError:
                pass
            except (BrokenPipeError, ConnectionResetError):
                self.ended = True
        if r:
            try:
                b = self.sock.recv(262144)
            except ConnectionResetError:
                b = b""
            if not b:
                self.ended = True
            self.inb += b
            self.parse()

    def parse(self):
        at, view = 0, memoryview(bytes(self.inb))
        while len(view) - at >= 8:
            number, n, kind, zero = struct.unpack_from("<IHBB", view, at)
            assert zero == 0 and n <= DATA_MAX and 1 <= kind <= 7, f"the guest sent no frame: {bytes(view[at:at + 16])!r}"
            if len(view) - at < 8 + n:
                break
            self.on_frame(number, kind, view[at + 8:at + 8 + n])
            at += 8 + n
        del self.inb[:at]

    def on_frame(self, number, kind, data):
        if kind == HELLO:
            assert number == 0 and struct.unpack_from("<IH", data) == (MAGIC, VERSION)
            self.hellos += 1
            return
        if kind == OPEN:
            port, window = struct.unpack("<II", data)
            assert number % 2 == 0 and number and number not in self.streams, f"the guest opened stream {number}"
            if port not in self.listeners:
                self.put(RESET, number, struct.pack("<I", 1))
                return
            s = self.streams[number] = Stream(self, number, port)
            s.opened, s.credit = True, window
            self.put(OPENED, number, struct.pack("<I", WINDOW))
            self.listeners[port](s)
            return
        s = self.streams.get(number)
        if not s:
            return
        if kind == OPENED:
            s.opened = True
            s.credit = struct.unpack("<I", data)[0]
        elif kind == RESET:
            s.reset = struct.unpack("<I", data)[0]
            del self.streams[number]
        elif kind == DATA:
            s.got += data
            s.owed += len(data)
            assert s.owed <= WINDOW, "the guest sent more than its credit"
            if s.owed >= WINDOW // 4:
                s.give()
        elif kind == CREDIT:
            s.credit += struct.unpack("<I", data)[0]
        elif kind == EOF:
            s.eof = True
        s.push()

    def wait(self, probe, seconds, what):
        seconds *= PATIENCE
        end = time.monotonic() + seconds
        while True:
            value = probe()
            if value:
                return value
            if self.ended:
                raise AssertionError(f"the channel ended while waiting for {what}")
            if time.monotonic() > end:
                raise AssertionError(f"waited {seconds} s for {what}")
            self.pump()


class Session:
    """A process in the guest."""

    def __init__(self, chan, argv, env=(), user="", cwd="", tty=False, login=False, rows=24, cols=80, term=""):
        self.chan, self.s = chan, chan.open(SESSION)
        self.out, self.err, self.pid, self.code, self.signal, self.failed = bytearray(), bytearray(), None, None, None, None
        self.room, self.stdin, self.stdin_end = STDIN_WINDOW, bytearray(), False
        self.count_only, self.count, self.sum = False, 0, None
        flags = (TTY if tty else 0) | (LOGIN if login else 0)
        m = struct.pack("<BHH", flags, rows, cols) + str16(user) + str16(cwd) + str16(term)
        m += struct.pack("<H", len(argv)) + b"".join(str16(a) for a in argv)
        m += struct.pack("<H", len(env)) + b"".join(str16(e) for e in env)
        self.s.send(frame(SESS_OPEN, m))

    def take(self):
        for kind, p in self.s.frames():
            if kind == SESS_STARTED:
                self.pid = struct.unpack("<I", p)[0]
            elif kind == SESS_FAILED:
                r = Reader(p)
                self.failed = (r.take("I"), r.text())
            elif kind == SESS_STDOUT:
                assert self.code is None, "output after SESS_EXIT"
                self.count += len(p)
                if self.sum:
                    self.sum.update(p)
                if not self.count_only:
                    self.out += p
            elif kind == SESS_STDERR:
                assert self.code is None, "output after SESS_EXIT"
                self.err += p
            elif kind == SESS_STDIN_CREDIT:
                self.room += struct.unpack("<I", p)[0]
            elif kind == SESS_EXIT:
                self.code, self.signal = struct.unpack("<II", p)
            else:
                raise AssertionError(f"the guest sent frame {kind} on a session")
        self.feed()
        return self

    def feed(self):
        while self.stdin and self.room > 0 and len(self.s.waiting) < 262144:
            n = min(len(self.stdin), self.room, 32760)
            self.s.send(frame(SESS_STDIN, bytes(self.stdin[:n])))
            del self.stdin[:n]
            self.room -= n
        if self.stdin_end and not self.stdin:
            self.stdin_end = False
            self.s.send(frame(SESS_STDIN_EOF))

    def write(self, data, end=False):
        self.stdin += data
        self.stdin_end = end
        self.feed()

    def kill(self, signo):
        self.s.send(frame(SESS_SIGNAL, struct.pack("<I", signo)))

    def resize(self, rows, cols):
        self.s.send(frame(SESS_RESIZE, struct.pack("<HH", rows, cols)))

    def ended(self):
        self.take()
        return self.code is not None or self.failed is not None or self.s.reset is not None

    def wait(self, seconds=60):
        self.chan.wait(self.ended, seconds, "a process's end")
        if self.s.reset is None:
            self.chan.wait(lambda: self.s.eof or self.s.reset is not None, 5, "the stream's end after SESS_EXIT")
            self.s.end()
        return self

    def wait_output(self, part, seconds=30):
        try:
            self.chan.wait(lambda: part in self.take().out or self.code is not None, seconds, f"{part!r}")
        except AssertionError as e:
            raise AssertionError(f"{e}; there is {bytes(self.out[-500:])!r}")
        assert part in self.out, f"{part!r} is not in {bytes(self.out[-2000:])!r}"
        return self


class Control:
    def __init__(self, chan, gen=1, hostname="testbox", workspace="", wall_ns=None, trust=b""):
        self.chan, self.s, self.seen = chan, chan.open(CONTROL), []
        self.guest, self.docker, self.going_down = None, None, False
        self.trust(trust)
        m = struct.pack("<HIQ", 1, gen, wall_ns or time.time_ns()) + os.urandom(64) + str16(hostname) + str16(workspace) + struct.pack("<H", 0)
        self.s.send(frame(AGENT_HELLO_HOST, m))

    def take(self):
        for kind, p in self.s.frames():
            self.s.give()
            r = Reader(p)
            if kind == AGENT_HELLO_GUEST:
                self.guest = dict(version=r.take("H"), gen=r.take("I"), up_ns=r.take("Q"), kernel=r.text(), agent=r.text())
            elif kind == AGENT_DOCKER:
                self.docker = dict(state=DOCKER[r.take("B")], restarts=r.take("I"), ready_ns=r.take("Q"), why=r.text())
            elif kind == AGENT_GOING_DOWN:
                self.going_down = True
            elif kind == AGENT_STATS:
                names = "up_ns cpu_busy_ns cpu_total_ns mem_total mem_used mem_cache disk_total disk_used io_read io_written pids vcpus load1_milli zero"
                self.seen.append(("stats", dict(zip(names.split(), r.take("10Q4I")))))
            elif kind == AGENT_TOP:
                rows = []
                for _ in range(r.take("H")):
                    pid, uid, cpu, rss = r.take("IIIQ")
                    rows.append(dict(pid=pid, uid=uid, cpu=cpu, rss=rss, comm=r.text(), container=r.text()))
                self.seen.append(("top", rows))
            elif kind == AGENT_CONTAINERS:
                rows = [dict(zip(("id", "name", "image", "state", "status"), [r.text() for _ in range(5)])) for _ in range(r.take("H"))]
                self.seen.append(("containers", rows))
            elif kind == AGENT_LOG:
                self.seen.append(("log", (r.take("B"), r.text())))
            else:
                raise AssertionError(f"the guest sent frame {kind} on the control stream")
            assert r.at == len(p), f"frame {kind} has {len(p) - r.at} bytes too many"
        return self

    def trust(self, pem):
        """The roots the guest is to trust, in pieces."""
        for at in range(0, len(pem), 32768):
            self.s.send(frame(AGENT_TRUST, struct.pack("<II", len(pem), at) + pem[at:at + 32768]))

    def stats_every(self, ms, what=7):
        self.s.send(frame(AGENT_STATS_EVERY, struct.pack("<II", ms, what)))

    def next(self, what, seconds=20, where=lambda v: True):
        """The next message of that kind (for which `where` holds) from now on."""
        self.take()
        self.seen.clear()
        return self.chan.wait(lambda: next((v for k, v in self.take().seen if k == what and where(v)), None), seconds, f"a message '{what}'")


class Machine:
    def __init__(self, build, memory=1536, cpus=2, disk=None, disk_bytes=8 << 30, image_dir=None, append=""):
        self.build, self.memory, self.cpus, self.append = build, memory, cpus, append
        self.image = image_dir or image()
        self.dir = tempfile.mkdtemp(prefix="bh-guest-")
        self.disk, self.disk_bytes = disk or os.path.join(self.dir, "disk.img"), disk_bytes
        self.console, self.qemu, self.chan, self.control = os.path.join(self.dir, "console.log"), None, None, None

    def initrd(self):
        """The image's modules and this build's agent as /init, as core/image/initrd.c puts them together."""
        path = os.path.join(self.dir, "initrd")
        with open(path, "wb") as out:
            with open(os.path.join(self.image, "modules.cpio"), "rb") as f:
                out.write(f.read())
            with open(os.path.join(self.build, "bulkhead-guest"), "rb") as f:
                agent = f.read()
            for ino, (name, mode, body) in enumerate([(b"init", 0o100755, agent), (b"TRAILER!!!", 0, b"")], 1):
                head = b"070701" + b"".join(b"%08X" % v for v in (ino, mode, 0, 0, 1, 0, len(body), 0, 0, 0, 0, len(name) + 1, 0)) + name + b"\0"
                for part in (head, body):
                    out.write(part + b"\0" * (-len(part) % 4))
        return path

    def tsc(self):
        """What bulkhead-vmm tells the kernel of its clock; without it a busy host's guests hang at boot (vmm/probe.h)."""
        p = subprocess.run([os.path.join(self.build, "bulkhead-vmm"), "--probe"], capture_output=True, timeout=20, check=True)
        khz = json.loads(p.stdout)["tsc_khz"]
        return f"tsc_early_khz={khz}" if khz else ""

    def start(self):
        self.stop()  # a case that failed may have left one
        if not os.path.exists(self.disk):
            with open(self.disk, "wb") as f:
                f.truncate(self.disk_bytes)
        ours, theirs = socket.socketpair()
        for s in (ours, theirs):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        argv = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-net", "none",
                "-M", "microvm,acpi=on,isa-serial=on", "-global", "virtio-mmio.force-legacy=false",
                "-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max,-erms", "-smp", str(self.cpus), "-m", f"{self.memory}M",
                "-kernel", f"{self.image}/vmlinuz", "-initrd", self.initrd(),
                "-append", f"console=ttyS0 panic=-1 reboot=t quiet loglevel=4 random.trust_cpu=on 8250.nr_uarts=1 mitigations=off tsc=reliable no_timer_check maxcpus=1 {self.tsc()} {self.append}",
                "-drive", f"if=none,id=base,file={self.image}/base.img,format=raw,readonly=on",
                "-device", "virtio-blk-device,drive=base,serial=bulkhead-base",
                "-drive", f"if=none,id=disk,file={self.disk},format=raw,cache=writeback,discard=unmap,detect-zeroes=unmap",
                "-device", "virtio-blk-device,drive=disk,serial=bulkhead-disk",
                "-device", "virtio-rng-device", "-chardev", f"file,id=console,path={self.console}", "-serial", "chardev:console",
                "-device", "virtio-serial-device,max_ports=2", "-chardev", f"socket,id=channel,fd={theirs.fileno()}",
                "-device", f"virtserialport,chardev=channel,name={PORT_NAME}"]
        self.began = time.monotonic()
        self.qemu = subprocess.Popen(argv, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                     stderr=open(os.path.join(self.dir, "qemu.log"), "wb"))
        theirs.close()
        self.chan = Channel(ours)
        return self

    def hello(self, seconds=60, **kw):
        self.chan.hello()
        before = self.chan.hellos
        self.wait(lambda: self.chan.hellos > before, seconds, "the guest's HELLO")
        self.control = Control(self.chan, **kw)
        self.wait(lambda: self.control.take().guest, 10, "the agent's hello")
        return self.control

    def wait(self, probe, seconds, what):
        try:
            return self.chan.wait(probe, seconds, what)
        except AssertionError as e:
            raise AssertionError(f"{e}; the console: {self.console_tail()}")

    def console_tail(self):
        try:
            with open(self.console, errors="replace") as f:
                return f.read()[-1500:]
        except OSError:
            return ""

    def docker_ready(self, seconds=90):
        return self.wait(lambda: self.control.take().docker and self.control.docker["state"] == "ready" and self.control.docker, seconds, "dockerd")

    def session(self, argv, **kw):
        return Session(self.chan, argv, **kw)

    def run(self, argv, stdin=b"", seconds=60, **kw):
        s = self.session(argv, **kw)
        s.write(stdin, end=True)
        return s.wait(seconds)

    def sh(self, script, **kw):
        return self.run(["sh", "-c", script], **kw)

    def wait_off(self, seconds=30):
        """The machine's own end; QEMU's exit status."""
        seconds *= PATIENCE
        end = time.monotonic() + seconds
        while self.qemu.poll() is None:
            if time.monotonic() > end:
                raise AssertionError(f"the machine is not off after {seconds} s; the console: {self.console_tail()}")
            if not self.chan.ended:
                self.chan.pump()
            else:
                time.sleep(0.02)
        return self.qemu.returncode

    def stop(self):
        if self.qemu and self.qemu.poll() is None:
            self.qemu.kill()
        if self.qemu:
            self.qemu.wait(10)
        if self.chan:
            self.chan.sock.close()

    def close(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()
