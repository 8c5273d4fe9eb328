# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 servers of our own, in TLS or in clear, that do what real ones do: lengths, chunks, trailers, events, WebSocket, early answers."""
import base64
import hashlib
import http.server
import socketserver
import ssl
import subprocess
import threading

BLOCK = bytes(range(256)) * 256


def certificate(folder, name):
    """A self-signed certificate for one name: (certificate, key)."""
    crt, key = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", crt, "-days", "2",
                    "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"], check=True, capture_output=True)
    return crt, key


def pattern_sha(n):
    h = hashlib.sha256()
    while n > 0:
        h.update(BLOCK[:n])
        n -= len(BLOCK)
    return h.hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def setup(self):
        super().setup()
        self.server.connections += 1

    def parse_request(self):
        ok = super().parse_request()
        if ok:
            self.server.seen.append((self.command, self.path, dict(self.headers.items())))
        return ok

    def reply(self, status, body, **fields):
        self.send_response(status)
        for k, v in fields.items():
            self.send_header(k.replace("_", "-"), v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def chunked(self, **fields):
        self.send_response(200)
        for k, v in fields.items():
            self.send_header(k.replace("_", "-"), v)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, b):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(b), b))
        self.wfile.flush()

    def do_GET(self):
        path, _, query = self.path.partition("?")
        handler = getattr(self, "get_" + path.strip("/").split("/")[0].replace("-", "_"), None)
        if handler:
            handler(query)
        else:
            self.reply(200, b"hello " + path.encode() + b"\n")

    do_HEAD = do_GET

    def get_echo(self, _query):
        self.reply(200, "".join(f"{k}: {v}\n" for k, v in self.headers.items()).encode(), X_Echo=self.headers.get("Authorization", "none"))

    def get_pieces(self, query):
        """The value of a field, cut into single bytes."""
        self.chunked()
        for c in ("<" + self.headers.get("Authorization", "") + ">").encode():
            self.chunk(bytes([c]))
        self.wfile.write(b"0\r\n\r\n")

    def get_big(self, query):
        n = int(query)
        self.send_response(200)
        self.send_header("Content-Length", str(n))
        self.end_headers()
        while n > 0:
            self.wfile.write(BLOCK[:n])
            self.server.sent += min(n, len(BLOCK))
            n -= len(BLOCK)

    def get_chunked(self, _query):
        self.chunked(Trailer="X-Sum")
        for i in range(5):
            self.chunk(b"part %d\n" % i)
        self.wfile.write(b"0\r\nX-Sum: 42\r\n\r\n")

    def get_events(self, _query):
        """The second event is sent when the test has seen the first."""
        self.chunked(Content_Type="text/event-stream")
        self.chunk(b"data: 1\n\n")
        self.server.gate.wait(10)
        self.chunk(b"data: 2\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def get_until_close(self, _query):
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"until the end")
        self.wfile.flush()
        self.close_connection = True

    def get_short(self, _query):
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"only this")
        self.close_connection = True

    def get_once(self, _query):
        """Answers, then closes without having said so."""
        self.reply(200, b"once\n")
        self.close_connection = True

    def get_raw(self, query):
        """Says exactly what was asked for (base64)."""
        self.wfile.write(base64.urlsafe_b64decode(query))
        self.close_connection = True

    def get_ws(self, _query):
        key = self.headers["Sec-WebSocket-Key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.wfile.flush()
        while data := self.rfile.read1(65536):
            self.wfile.write(data)
            self.wfile.flush()
        self.close_connection = True

    def body(self):
        """Yields the request's body."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while k := int(self.rfile.readline().split(b";")[0], 16):
                while k:
                    b = self.rfile.read(min(k, 65536))
                    yield b
                    k -= len(b)
                self.rfile.readline()
            while (line := self.rfile.readline()) not in (b"\r\n", b""):
                self.server.trailers.append(line.strip().decode())
        else:
            k = int(self.headers.get("Content-Length", 0))
            while k:
                b = self.rfile.read(min(k, 65536))
                if not b:
                    return
                yield b
                k -= len(b)

    def get_drop(self, _query):
        """Takes the request and says nothing."""
        self.close_connection = True

    def do_POST(self):
        if self.path == "/drop":
            self.close_connection = True
            return
        if self.path == "/early":
            self.reply(413, b"too much\n", Connection="close")
            self.close_connection = True
            return
        h, n = hashlib.sha256(), 0
        for b in self.body():
            h.update(b)
            n += len(b)
        self.reply(200, f"{n} {h.hexdigest()}\n".encode())

    do_PUT = do_DELETE = do_POST


class Origin(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, tls=None, alpn=("http/1.1",)):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen, self.trailers, self.connections, self.sent = [], [], 0, 0
        self.gate = threading.Event()
        if tls:
            ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            ctx.load_cert_chain(*tls)
            ctx.set_alpn_protocols(list(alpn))
            self.socket = ctx.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def shutdown_request(self, request):
        """With TLS's goodbye, as servers should."""
        try:
            if isinstance(request, ssl.SSLSocket):
                request.settimeout(0.2)
                request.unwrap()
        except (OSError, ValueError):
            pass
        super().shutdown_request(request)

    def handle_error(self, request, address):
        pass
