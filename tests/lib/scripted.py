# SPDX-License-Identifier: Apache-2.0
"""A supervisor of the tests' own: speaks docs/protocol.md on the socket of an Env, answers what it is told to, sends the events a test wants, and keeps
every request. For what clients show and ask of constructed states, without a machine; what the real one does is tested with the real one."""
import json
import os
import socket
import threading
import time

from tap import wait_for


class Scripted:
    """answers: method -> result (or a function of the params that gives it; raising Refused answers an error, Silent nothing at all).
    terminals: sandbox -> rows.Terminal, what session.attach gives."""

    def __init__(self, env, **state):
        self.path = env.runtime / "bulkhead" / "supervisor.sock"
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        self.state = {"sandboxes": [], "asks": [], "ports": [], "host": {"cpus": 2, "memory_total": 24 << 30, "memory_available": 20 << 30, "sandboxes": 0,
                                                                         "running": 0}, "seq": 1, **state}
        self.requests, self.answers, self.clients, self.subscribed, self.terminals = [], {}, [], [], {}
        self.seq, self.lock = 100, threading.Lock()
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.s.bind(str(self.path))
        os.chmod(self.path, 0o600)
        self.s.listen(8)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                c, _ = self.s.accept()
            except OSError:
                return
            self.clients.append(c)
            threading.Thread(target=self._serve, args=(c,), daemon=True).start()

    def _serve(self, c):
        buf = b""
        try:
            while data := c.recv(65536):
                buf += data
                while b"\n" in buf:
                    line, buf = buf.split(b"\n", 1)
                    self._request(c, json.loads(line))
        except OSError:
            pass

    def _request(self, c, m):
        method, params = m["method"], m.get("params") or {}
        with self.lock:
            self.requests.append((method, params))
        out = {"jsonrpc": "2.0", "id": m["id"]}
        try:
            out["result"] = self._answer(method, params)
        except Refused as e:
            out["error"] = {"code": e.code, "message": str(e)}
        except Silent:
            return
        given = None
        if method == "session.attach" and params["name"] in self.terminals:
            given = self.terminals[params["name"]].attach(params.get("session", 1))
            out = {"jsonrpc": "2.0", "id": m["id"], "result": {"session": {"id": params.get("session", 1)}, "fds": 1}}
        with self.lock:
            line = json.dumps(out).encode() + b"\n"
            if given:
                socket.send_fds(c, [line], [given.fileno()])
                given.close()
            else:
                c.sendall(line)
            if method == "events.subscribe":
                self.subscribed.append(c)

    def _answer(self, method, params):
        known = self.answers.get(method)
        if callable(known):
            return known(params)
        if known is not None:
            return known
        fixed = {"hello": {"version": 1, "supervisor": "scripted", "pid": os.getpid()}, "events.subscribe": self.state, "sync": {"seq": self.seq},
                 "sandbox.list": {"sandboxes": self.state["sandboxes"], "host": self.state["host"]}, "ask.list": {"asks": self.state["asks"]},
                 "port.list": {"ports": self.state["ports"]}, "policy.log": {"decisions": []}, "log.read": {"records": []}, "audit.read": {"records": []}, "stats.watch": {},
                 "ask.answer": {}, "port.unpublish": {}, "secret.remove": {}, "sandbox.start": {}}
        if method in fixed:
            return fixed[method]
        raise Refused(-32601, f"no such method: {method}")

    def event(self, kind, **fields):
        with self.lock:
            self.seq += 1
            line = json.dumps({"jsonrpc": "2.0", "method": "event", "params": {"seq": self.seq, "at": "2026-01-02T03:04:05.678Z", "kind": kind, **fields}})
            for c in list(self.subscribed):
                try:
                    c.sendall(line.encode() + b"\n")
                except OSError:
                    self.subscribed.remove(c)

    def asked(self, method):
        """The params of every request of that method so far."""
        with self.lock:
            return [p for m, p in self.requests if m == method]

    def wait_asked(self, method, n=1, seconds=10):
        wait_for(lambda: len(self.asked(method)) >= n, seconds, f"{n} requests {method}; there were {self.requests}")
        return self.asked(method)[n - 1]

    def close(self):
        self.s.close()
        for c in self.clients:
            try:
                c.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            c.close()
        try:
            self.path.unlink()
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.close()


class Silent(Exception):
    """Never answered."""


class Refused(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def when(seconds):
    """RFC 3339, so many seconds from now."""
    t = time.time() + seconds
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(t)) + f".{int(t * 1000) % 1000:03d}Z"


def ask(id_, sandbox="blue", name="api.example.org", **more):
    return {"id": id_, "sandbox": sandbox, "count": 1, "since": when(id_ * 0.001 - 1), "until": when(110), "proto": "tls", "name": name, "address": None,
            "port": 443, "method": "", "path": "", "pid": 4121, "comm": "curl", "cmdline": f"curl https://{name}/", "container": "", **more}


def decision(seq, verdict="allow", sandbox="blue", name="api.example.org", **more):
    return {"seq": seq, "at": f"2026-01-02T03:{seq // 60 % 60:02d}:{seq % 60:02d}.000Z", "event": "decided", "verdict": verdict, "sandbox": sandbox, "conn": seq,
            "proto": "tls", "name": name, "address": "", "to": "192.0.2.7", "port": 443, "method": "", "path": "", "pid": 4121, "comm": "npm",
            "cmdline": "npm install", "container": "", "rule": "default", "scope": "built-in", "service": "", "status": 0, "in": 0, "out": 0, "ms": 0, **more}


def session(id_=1, state="idle", title="", **more):
    return {"id": id_, "kind": "pty", "label": "shell", "title": title, "state": state, "rows": 24, "cols": 80, "viewers": 0, **more}


def sandbox(name, state="running", **more):
    return {"name": name, "kit": "shell", "path": f"/src/{name}", "state": state, "generation": 1, "cpus": 2, "memory": 2 << 30, "disk": 10 << 30,
            "disk_used": 6 << 20, "docker": {"state": "off"}, "sessions": [], **more}
