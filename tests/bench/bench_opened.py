#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Requests a second through opened TLS, against mitmproxy, in one run.

usage: bench_opened.py [SECONDS] [ROUNDS] [--json FILE]
The same server (nginx, HTTP/1.1 and 2, a body of 100 bytes), the same client (h2load, 8 connections; HTTP/2 with 10 streams each). Ours is the real,
sealed bulkhead-net (tests/lib/engine.py) with a credential put into every request and masked in every answer, behind a process a connection that passes
bytes on as the guest's agent does; mitmdump runs as a reverse proxy, which the client reaches directly. Rounds take turns, medians are shown; on a machine with few cores server and client take what the faster proxy could use, so requests by CPU time
of the proxy alone are told too. Needs nginx-light, nghttp2-client and mitmproxy.
"""
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bench_passthrough import Resolver  # noqa: E402
from engine import Engine  # noqa: E402
from origin import certificate  # noqa: E402
from report import median, report  # noqa: E402
from tap import wait_for  # noqa: E402


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def up(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def start_nginx(folder, crt, key, port):
    (folder / "www").mkdir()
    os.chmod(folder, 0o755)
    (folder / "www/a").write_text("x" * 100)
    (folder / "nginx.conf").write_text(f"""
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 1000000000;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen 127.0.0.1:{port} ssl http2; ssl_certificate {crt}; ssl_certificate_key {key}; root {folder}/www; }} }}
""")
    return subprocess.Popen([shutil.which("nginx", path="/usr/sbin:/usr/bin"), "-c", folder / "nginx.conf", "-p", folder], stderr=subprocess.DEVNULL)


def cpu(pid):
    f = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(f[11]) + int(f[12])) / os.sysconf("SC_CLK_TCK")


def load(port, seconds, version, pid, server):
    """Requests a second of time, and of the process's own CPU time."""
    before = cpu(pid)
    args = ["--h1"] if version == 1 else ["-m", "10"]
    r = subprocess.run(["h2load", "-D", str(seconds), "-c", "8", *args, "--connect-to", f"127.0.0.1:{port}", f"https://origin.test:{server}/a"], capture_output=True, text=True)
    m = re.search(r"finished in .*?, ([\d.]+) req/s", r.stdout)
    ok = int(re.search(r"(\d+) succeeded", r.stdout)[1])
    bad = int(re.search(r"(\d+) failed", r.stdout)[1])
    if not ok or bad > ok / 100:
        raise SystemExit(f"h2load failed:\n{r.stdout}{r.stderr}")
    return float(m[1]), (ok + bad) / max(cpu(pid) - before, 0.01)


def main():
    args = [a for a in sys.argv[1:] if not a.startswith("--")]
    seconds, rounds = int(args[0]) if args else 5, int(args[1]) if len(args) > 1 else 3
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bulkhead-bench."))
    crt, key = certificate(folder, "origin.test")
    server, theirs = free_port(), free_port()
    engine = None
    running = [start_nginx(folder, crt, key, server)]
    try:
        wait_for(lambda: up(server), 10, "nginx")
        engine = Engine(folder, [f"origin.test:{server}", "127.0.0.1"], [("origin.test", "Authorization", "Bearer %s", "placeholder-0123456789", "sekret-value-0123456789")],
                        dns=f"127.0.0.1:{Resolver().port}", ca_file=crt, tcp=f"origin.test:{server}")
        ours = int(engine.wait(r"^tcp (\d+)$")[1])
        with open(folder / "hosts", "w") as out:
            running.append(subprocess.Popen(["mitmdump", "-q", "--mode", f"reverse:https://127.0.0.1:{server}", "--listen-host", "127.0.0.1", "-p", str(theirs), "--ssl-insecure",
                                             "--set", f"confdir={folder}/mitm", "--set", "flow_detail=0"], stdout=out, stderr=out))
        wait_for(lambda: up(theirs), 30, "mitmdump")
        seen = {}
        for _ in range(rounds):
            for version in (1, 2):
                for name, port, p in (("direct", server, running[0]), ("bulkhead", ours, engine), ("mitmproxy", theirs, running[-1])):
                    rate, by_cpu = load(port, seconds, version, p.pid, server)
                    seen.setdefault((version, name), []).append(rate)
                    seen.setdefault((version, name, "cpu"), []).append(by_cpu)
        rows = []
        for version in (1, 2):
            m = [median(seen[version, name]) for name in ("direct", "bulkhead", "mitmproxy")]
            rows.append([f"HTTP/{version}", *m, m[1] / m[2]])
            m = [median(seen[version, name, "cpu"]) for name in ("bulkhead", "mitmproxy")]
            rows.append([f"HTTP/{version} a second of its CPU", "", *m, m[0] / m[1]])
        rss = int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{engine.pid}/status").read_text())[1])
        report("requests a second through opened TLS", ["", "direct", "bulkhead", "mitmproxy", "times"], rows, rounds=rounds, seconds=seconds,
               most_resident_memory_MiB=round(rss / 1024, 1))
    finally:
        if engine:
            engine.close()
        for p in running:
            p.terminate()  # nginx ends its worker only when asked
        for p in running:
            p.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


main()
