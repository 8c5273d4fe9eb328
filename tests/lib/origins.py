# SPDX-License-Identifier: Apache-2.0
"""Servers of the tests' own, on loopback: a resolver, TLS origins with HTTP/1.1 and HTTP/2, a WebSocket echo, git over https, a registry, TCP.

Origins(dir) makes an authority and its certificate, starts what is asked for and remembers every request. Names end in .test and resolve to
127.0.0.1; `.config()` is what config.yaml needs so that sandboxes resolve and trust them, `.rules` what lets loopback through at all.
"""
import base64
import hashlib
import http.server
import os
import pathlib
import shutil
import socket
import socketserver
import ssl
import struct
import subprocess
import threading
import time

ADDRESS = "127.0.0.1"
BIG = bytes(range(256)) * 256  # 64 KiB, repeated


def _free_port():
    with socket.socket() as s:
        s.bind((ADDRESS, 0))
        return s.getsockname()[1]


def _wait_port(port, seconds=10):
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((ADDRESS, port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


class _Threaded(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        pass  # a client that went away


class _Https(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        pass

    def get_request(self):
        s, a = super().get_request()
        s.settimeout(60)
        if self.context:
            s = self.context.wrap_socket(s, server_side=True, do_handshake_on_connect=False)
        return s, a


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *a):
        pass

    def _body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            data = b""
            while n := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(n)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return data
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status, body, **headers):
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _any(self):
        o = self.server.origins
        host = self.headers.get("Host", "")
        if self.headers.get("Upgrade", "").lower() == "websocket":
            return self._websocket()
        if self.path.startswith("/git/"):
            return self._git()
        body = self._body()
        o.seen.append({"host": host, "method": self.command, "path": self.path, "headers": list(self.headers.items()), "body": body})
        if self.path.startswith("/big"):
            n = int(self.path.split("=")[1])
            self.send_response(200)
            self.send_header("Content-Length", str(n))
            self.end_headers()
            while n > 0:
                self.wfile.write(BIG[: min(n, len(BIG))])
                n -= len(BIG)
        elif self.path.startswith("/sse"):
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for i in range(3):
                line = b"data: %d\n\n" % i
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                self.wfile.flush()
                time.sleep(0.3)
            self.wfile.write(b"0\r\n\r\n")
        elif self.path.startswith("/drip"):  # a minute of it
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for _ in range(300):
                self.wfile.write(b"2\r\n.\n\r\n")
                self.wfile.flush()
                time.sleep(0.2)
            self.wfile.write(b"0\r\n\r\n")
        elif self.path.startswith("/redirect="):
            self._answer(302, b"", Location=self.path.split("=", 1)[1])
        elif self.path.startswith("/echo-auth"):
            self._answer(200, f"you sent {self.headers.get('Authorization')}\n".encode(), X_Echo=self.headers.get("Authorization") or "none")
        elif o.packages and (found := o.packages.answer(self.path, host)):
            self._answer(*found[:2], Content_Type=found[2])
        elif self.path.startswith("/sum"):
            self._answer(200, hashlib.sha256(body).hexdigest().encode() + b"\n")
        else:
            self._answer(200, f"hello from {host} {self.command} {self.path}\n".encode())

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_PATCH = _any

    def _websocket(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        while head := self.rfile.read(2):
            n = head[1] & 127
            mask = self.rfile.read(4)
            data = bytes(b ^ mask[i % 4] for i, b in enumerate(self.rfile.read(n)))
            if head[0] & 15 == 8:
                break
            self.wfile.write(bytes([0x81, len(data)]) + data)
            self.wfile.flush()

    def _git(self):
        path, _, query = self.path[len("/git"):].partition("?")
        body = self._body()
        env = {**os.environ, "GIT_PROJECT_ROOT": str(self.server.origins.git), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path, "QUERY_STRING": query,
               "REQUEST_METHOD": self.command, "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
               "REMOTE_USER": "tester", "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", "")}
        self.server.origins.seen.append({"host": self.headers.get("Host"), "method": self.command, "path": self.path, "headers": list(self.headers.items()), "body": b""})
        out = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True, timeout=60).stdout
        head, _, data = out.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n") if line]
        status = next((int(v.split()[0]) for k, v in fields if k == "Status"), 200)
        self._answer(status, data, **{k.replace("-", "_"): v for k, v in fields if k != "Status"})


class _Echo(socketserver.BaseRequestHandler):
    def handle(self):
        self.server.origins.tcp_seen += 1
        self.request.sendall(b"ready\n")
        while data := self.request.recv(65536):
            self.request.sendall(data.upper())


class _Canary(socketserver.BaseRequestHandler):
    def handle(self):
        self.server.origins.canary_hits.append(self.request.recv(4096))


class Origins:
    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(exist_ok=True)
        self.seen, self.tcp_seen, self.canary_hits, self.dns_seen = [], 0, [], []
        self.names = {}      # overrides: name -> address, several, or what is called with the type that was asked for (None: silence)
        self.servers, self.processes = [], []
        self.packages = None  # of tests/lib/packages.py
        self.git = self.dir / "git"
        self._authority()
        self._dns()
        self.https = self._http(self.context())
        self.http = self._http(None)
        self.tcp = self._tcp(_Echo)
        self.canary = self._tcp(_Canary)

    # ---- what a sandbox needs ----
    def config(self):
        return f"dns: {ADDRESS}:{self.dns}\nca_file: {self.ca}\n"

    # ---- certificates ----
    def _authority(self):
        def openssl(*a):
            subprocess.run(["openssl", *a], check=True, capture_output=True, cwd=self.dir)
        self.ca, self.cert, self.key = self.dir / "ca.pem", self.dir / "cert.pem", self.dir / "key.pem"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
                "-days", "2", "-subj", "/CN=tests' authority")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key.pem", "-out", "csr.pem", "-subj", "/CN=origin.test")
        (self.dir / "ext").write_text("subjectAltName=DNS:origin.test,DNS:other.test,DNS:third.test,DNS:h2.test,DNS:git.test,DNS:registry.test,DNS:ws.test,DNS:*.deep.test\nextendedKeyUsage=serverAuth\n")
        openssl("x509", "-req", "-in", "csr.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext", "-out", "cert.pem")

    def context(self):
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        c.load_cert_chain(self.cert, self.key)
        c.set_alpn_protocols(["http/1.1"])
        return c

    # ---- servers ----
    def _run(self, server):
        server.origins = self
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        self.servers.append(server)
        return server.server_address[1]

    def _http(self, context):
        s = _Https((ADDRESS, 0), _Handler)
        s.context = context
        return self._run(s)

    def _tcp(self, handler):
        return self._run(_Threaded((ADDRESS, 0), handler))

    def _dns(self):
        """A for every name below .test that is not overridden by an empty address; NXDOMAIN for the rest."""
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind((ADDRESS, 0))
        self.dns = s.getsockname()[1]
        self.dns_socket = s

        def serve():
            while True:
                try:
                    q, peer = s.recvfrom(4096)
                except OSError:
                    return
                at, labels = 12, []
                while q[at]:
                    labels.append(q[at + 1: at + 1 + q[at]].decode("latin1").lower())
                    at += 1 + q[at]
                kind = struct.unpack("!H", q[at + 1: at + 3])[0]
                name, question = ".".join(labels), q[12: at + 5]
                self.dns_seen.append((name, kind))
                addr = self.names.get(name, ADDRESS if name.endswith(".test") else "")
                ttl = 1
                if callable(addr):
                    addr, ttl = addr(kind), 0
                    if addr is None:
                        continue  # no answer
                addrs = [a for a in (addr if isinstance(addr, list) else [addr]) if a]
                want = [a for a in addrs if (":" in a) == (kind == 28)] if kind in (1, 28) else []
                rr = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, ttl, 16 if kind == 28 else 4)
                              + socket.inet_pton(socket.AF_INET6 if kind == 28 else socket.AF_INET, a) for a in want)
                head = q[:2] + struct.pack("!HHHHH", 0x8180 | (0 if addrs else 3), 1, len(want), 0, 0)
                s.sendto(head + question + rr, peer)

        threading.Thread(target=serve, daemon=True).start()

    def start_h2(self):
        """nghttpd with files; its port. It answers over HTTP/2 only."""
        root = self.dir / "h2"
        root.mkdir(exist_ok=True)
        (root / "index.html").write_text("hello over h2\n")
        (root / "big").write_bytes(BIG * 160)
        port = _free_port()
        self._spawn(["nghttpd", "--address", ADDRESS, "-d", str(root), str(port), str(self.key), str(self.cert)], port)
        return port

    def start_registry(self):
        port = _free_port()
        data = self.dir / "registry"
        data.mkdir(exist_ok=True)
        conf = self.dir / "registry.yml"
        conf.write_text(f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {data}}}}}\n"
                        f"http: {{addr: '{ADDRESS}:{port}', tls: {{certificate: {self.cert}, key: {self.key}}}}}\n")
        self._spawn(["docker-registry", "serve", str(conf)], port)
        return port

    def make_repository(self, name="project.git"):
        """A bare repository below https://HOST:PORT/git/NAME that may be pushed to."""
        work = self.dir / "work"
        self.git.mkdir(exist_ok=True)
        shutil.rmtree(work, ignore_errors=True)
        subprocess.run(["git", "init", "-q", "-b", "main", str(work)], check=True)
        (work / "file").write_text("from the origin\n")
        for a in (["add", "."], ["-c", "user.name=t", "-c", "user.email=t@origin.test", "commit", "-qm", "first"]):
            subprocess.run(["git", "-C", str(work), *a], check=True)
        subprocess.run(["git", "clone", "-q", "--bare", str(work), str(self.git / name)], check=True)
        subprocess.run(["git", "-C", str(self.git / name), "config", "http.receivepack", "true"], check=True)

    def _spawn(self, argv, port):
        with open(self.dir / "servers.log", "ab") as log:
            self.processes.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        _wait_port(port)

    def headers_seen(self, name):
        return [v for r in self.seen for k, v in r["headers"] if k.lower() == name.lower()]

    def close(self):
        for s in self.servers:
            s.shutdown()
            s.server_close()
        self.dns_socket.close()
        for p in self.processes:
            p.kill()
            p.wait()
