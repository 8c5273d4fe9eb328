# SPDX-License-Identifier: Apache-2.0
"""A private Bulkhead: its own runtime and state directory, the shared image cache, the programs of the build.

Env() makes the directories, env.run("ls", "--json") runs the command line, env.rpc() is a client of the supervisor
speaking docs/protocol.md, env.close() ends every sandbox and the supervisor and checks that nothing is left running.
"""
import array
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from tap import PATIENCE

TOP = pathlib.Path(__file__).resolve().parents[2]
CHILD_VERSION = int(re.search(r"#define CHILD_VERSION (\d+)u", (TOP / "core/proto/child.h").read_text())[1])
BUILD = pathlib.Path(os.environ.get("BULKHEAD_BUILD", os.getcwd())).resolve()


class Env:
    def __init__(self, **extra):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="bh-"))
        self.runtime = self.dir / "run"
        self.state = self.dir / "state"
        self.config = self.dir / "config"
        for d in (self.runtime, self.state, self.config):
            d.mkdir(mode=0o700)
        cache = os.environ.get("XDG_CACHE_HOME") or str(pathlib.Path.home() / ".cache")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("BULKHEAD_", "TMUX", "CMOCKA"))}
        self.env.update(XDG_RUNTIME_DIR=str(self.runtime), XDG_STATE_HOME=str(self.state), XDG_CONFIG_HOME=str(self.config),
                        XDG_CACHE_HOME=cache, LC_ALL="C.UTF-8", **extra)
        self.program = str(BUILD / "bulkhead")

    def run(self, *args, ok=None, timeout=120, input=None, text=True, env=None):
        """Runs `bulkhead ARGS` without a terminal. ok: the exit status that must come (None: any)."""
        r = subprocess.run([self.program, *map(str, args)], env={**self.env, **(env or {})}, timeout=timeout * PATIENCE, capture_output=True,
                           text=text, input=input, stdin=None if input is not None else subprocess.DEVNULL)
        if ok is not None and r.returncode != ok:
            raise AssertionError(f"bulkhead {' '.join(map(str, args))}: exit {r.returncode}, want {ok}\n{r.stdout!s:.4000}\n{r.stderr!s:.4000}")
        return r

    def json(self, *args, **kw):
        return json.loads(self.run(*args, "--json", ok=0, **kw).stdout)

    @property
    def socket(self):
        return self.runtime / "bulkhead" / "supervisor.sock"

    def supervisor_pid(self):
        return int((self.runtime / "bulkhead" / "supervisor.pid").read_text().split()[0])

    def start_supervisor(self):
        """Starts it through the command line, as a person's first command does."""
        self.run("ls", ok=0)

    def spawn_supervisor(self, program=None):
        """Starts the daemon itself and waits until it listens; the process."""
        with open(self.dir / "supervisor.stderr", "ab") as err:
            p = subprocess.Popen([program or str(BUILD / "bulkhead-supervisor")], env=self.env, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=err, start_new_session=True)
        end = time.monotonic() + 20
        while True:
            try:
                Rpc(self.socket, hello=False).close()
                return p
            except OSError:
                if p.poll() is not None or time.monotonic() > end:
                    raise AssertionError(f"the supervisor does not listen: {(self.dir / 'supervisor.stderr').read_text()[-2000:]}") from None
                time.sleep(0.01)

    def rpc(self, cls="cli"):
        if not self.socket.exists():
            self.start_supervisor()
        return Rpc(self.socket, cls)

    def processes(self):
        """pids of every process of this environment (by XDG_RUNTIME_DIR in its environment, or a machine of such a one)."""
        mark = f"XDG_RUNTIME_DIR={self.runtime}".encode()
        mine, parents = set(), {}
        for p in pathlib.Path("/proc").iterdir():
            if not p.name.isdigit():
                continue
            try:
                stat = (p / "stat").read_text()
                parents[int(p.name)] = int(stat.rsplit(")", 1)[1].split()[1])
                if stat.rsplit(")", 1)[1].split()[0] != "Z" and mark in (p / "environ").read_bytes().split(b"\0"):
                    mine.add(int(p.name))
            except (OSError, IndexError):
                continue
        grown = True
        while grown:
            more = {c for c, parent in parents.items() if parent in mine} - mine
            mine |= more
            grown = bool(more)
        return {p for p in mine if p != os.getpid()}

    def close(self):
        left = []
        try:
            if self.socket.exists():
                with self.rpc() as r:
                    for s in r.call("sandbox.list")["sandboxes"]:
                        if s["state"] == "failed":  # a machine that ended by itself says why, in the test's output
                            print(f"# {s['name']} failed: {s.get('reason')}", *(s.get("console_tail") or []), sep="\n#   console: ", flush=True)
                        r.call("sandbox.remove", name=s["name"], force=True)
                    r.call("supervisor.shutdown", stop_sandboxes=True)
        except (OSError, RpcError, ConnectionError):
            pass
        end = time.monotonic() + 10
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.05)
        names = []
        for p in sorted(left):
            try:
                names.append(f"{p} ({(pathlib.Path('/proc') / str(p) / 'cmdline').read_text().replace(chr(0), ' ').strip()})")
                os.kill(p, signal.SIGKILL)
            except OSError:
                pass
        keep = os.environ.get("BULKHEAD_TEST_KEEP")
        if not keep:
            shutil.rmtree(self.dir, ignore_errors=True)
        if left:
            raise AssertionError(f"left running: {', '.join(names)}")

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.close()


class RpcError(Exception):
    def __init__(self, error):
        super().__init__(error.get("message", "?"))
        self.code, self.data = error.get("code"), error.get("data")


class Rpc:
    """A client of the supervisor: call() answers, events gather in .events, descriptors in the result's "fd"."""

    def __init__(self, path, cls="cli", hello=True):
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.s.settimeout(60)
        self.s.connect(str(path))
        self.buf, self.fds, self.events, self.n = b"", [], [], 0
        if hello:
            self.hello = self.call("hello", version=1, client="tests", **{"class": cls})

    def fileno(self):
        return self.s.fileno()

    def line(self, timeout=60):
        """The next line as an object; ConnectionError at the end."""
        self.s.settimeout(timeout)
        while b"\n" not in self.buf:
            data, anc, _, _ = self.s.recvmsg(65536, socket.CMSG_SPACE(64))
            for level, kind, value in anc:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    a = array.array("i")
                    a.frombytes(value[: len(value) - len(value) % a.itemsize])
                    self.fds += list(a)
            if not data:
                raise ConnectionError("the supervisor closed the connection")
            self.buf += data
        line, self.buf = self.buf.split(b"\n", 1)
        return json.loads(line)

    def send(self, method, **params):
        self.n += 1
        self.s.sendall(json.dumps({"jsonrpc": "2.0", "id": self.n, "method": method, "params": params}).encode() + b"\n")
        return self.n

    def answer(self, n, timeout=60):
        while True:
            m = self.line(timeout * PATIENCE)
            if m.get("method") == "event":
                self.events.append(m["params"])
            elif m.get("id") == n:
                if "error" in m:
                    raise RpcError(m["error"])
                r = m["result"]
                if isinstance(r, dict) and r.get("fds"):
                    r["fd"] = self.fds.pop(0)
                return r

    def call(self, method, timeout=60, **params):
        return self.answer(self.send(method, **params), timeout)

    def wait_event(self, want, timeout=60):
        """The first event, seen or to come, for which want(event) is true; earlier ones are dropped."""
        end = time.monotonic() + timeout * PATIENCE
        while True:
            while self.events:
                e = self.events.pop(0)
                if want(e):
                    return e
            m = self.line(max(0.05, end - time.monotonic()))
            if m.get("method") == "event":
                self.events.append(m["params"])

    def close(self):
        self.s.close()
        for fd in self.fds:
            os.close(fd)
        self.fds = []

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.close()
