#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a workspace costs: the same work on the guest's own ext4, in `review`, in `live`, and on a virtiofsd of Debian's QEMU under the same machine.

usage: bench_workspace.py [--files N] [--small N] [--mib N] [--only WORD,...] [--on ext4,review,live,virtiofsd] [--runs N] [--list] [--json FILE]

--only: rows whose name holds one of the words (--list names them). Of several runs the median counts, and the ratios are those of medians. On a host that has
other things to do seconds are those of the others too: "cpu" is what QEMU and the processes beside it spent of the processor, which suffers less.

One sandbox, one run: QEMU is started through a wrapper that adds a vhost-user-fs device served by virtiofsd (QEMU < 8, qemu-system-common);
without that program the column is left out. Times are the guest's own, without the way in and out; "host" is what the processes of the
host spent meanwhile besides QEMU (bulkhead-fs and bulkhead-vmm, or virtiofsd). Nothing is fetched from anywhere.
"""
import argparse
import hashlib
import io
import json
import os
import pathlib
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bulkhead import Env  # noqa: E402
from report import report  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
RATIOS = (("review", "ext4"), ("live", "virtiofsd"))

# Runs in the guest as root: drops caches, then times a command of the agent's. argv: directory, cold|warm, before, command.
TIMER = r"""
import json, os, subprocess, sys, time
where, cold, before, command = sys.argv[1:]
env = {"HOME": "/home/agent", "PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "npm_config_update_notifier": "false", "npm_config_audit": "false",
       "npm_config_fund": "false", "npm_config_offline": "true", "CI": "1"}
def sh(c):
    return subprocess.run(["sh", "-c", c], cwd=where, user=1000, group=1000, extra_groups=[], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
if before:
    r = sh(before)
    if r.returncode:
        sys.exit(f"{before}: {r.stdout[-2000:]}")
os.sync()
if cold == "cold":
    open("/proc/sys/vm/drop_caches", "w").write("3\n")
    sh("true")
t = time.monotonic()
r = sh(command)
t = time.monotonic() - t
print(json.dumps({"s": t, "rc": r.returncode, "out": r.stdout[-2000:]}))
"""


def make_tree(d, files, rnd):
    """A project of `files` files, twenty to a directory, as source trees are: small texts, a few larger."""
    words = [bytes(rnd.choices(range(97, 123), k=rnd.randint(3, 9))) for _ in range(2000)]
    for i in range(files):
        if i % 20 == 0:
            at = d / f"m{i // 2000:02}" / f"d{i // 20 % 100:02}"
            at.mkdir(parents=True, exist_ok=True)
        text = b" ".join(rnd.choices(words, k=rnd.choice((20, 80, 80, 300, 900))))
        (at / f"f{i:05}.c").write_bytes(text + (b" needle\n" if i % 500 == 0 else b"\n"))


def make_npm(d, rnd, packages=40, files=25):
    """A project whose packages lie beside it as tarballs, with the lock file npm ci wants."""
    tars = d / "tarballs"
    tars.mkdir(parents=True)
    lock = {"name": "project", "version": "1.0.0", "lockfileVersion": 3, "requires": True, "packages": {}}
    deps = {}
    for i in range(packages):
        name = f"part-{i:02}"
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as t:
            for k in range(-1, files):
                text = json.dumps({"name": name, "version": "1.0.0"}).encode() if k < 0 else b"module.exports = " + rnd.randbytes(900).hex().encode() + b"\n"
                info = tarfile.TarInfo("package/package.json" if k < 0 else f"package/lib/{k}.js")
                info.size, info.mode = len(text), 0o644
                t.addfile(info, io.BytesIO(text))
        (tars / f"{name}.tgz").write_bytes(out.getvalue())
        deps[name] = f"file:tarballs/{name}.tgz"
        integrity = "sha512-" + __import__("base64").b64encode(hashlib.sha512(out.getvalue()).digest()).decode()
        lock["packages"][f"node_modules/{name}"] = {"version": "1.0.0", "resolved": deps[name], "integrity": integrity}
    package = {"name": "project", "version": "1.0.0", "dependencies": deps}
    lock["packages"][""] = package
    (d / "package.json").write_text(json.dumps(package))
    (d / "package-lock.json").write_text(json.dumps(lock))


def make_tar(path, files, rnd):
    with tarfile.open(path, "w") as t:
        for i in range(files):
            text = rnd.randbytes(rnd.choice((200, 1000, 1000, 4000)))
            info = tarfile.TarInfo(f"untarred/d{i // 50:03}/f{i:05}")
            info.size, info.mode = len(text), 0o644
            t.addfile(info, io.BytesIO(text))


def jobs(o, tar):
    """name, cold|warm, what comes before it, the work: what it finds is part of it, and may be repeated after what comes before."""
    status = "cd tree && git status --porcelain >/tmp/status && test ! -s /tmp/status"
    search = f"rg -j2 -c --no-ignore needle tree >/tmp/found && test $(wc -l </tmp/found) = {(o.files + 499) // 500}"
    return [
        ("git status, first", "warm", "cd tree && git config core.checkStat minimal && { test -e .git/index0 || cp .git/index .git/index0; } && cp .git/index0 .git/index", status),
        ("git status, cold", "cold", "", status),
        ("git status, warm", "warm", status, status),
        ("rg over the tree, cold", "cold", "", search),
        ("rg over the tree, warm", "warm", search, search),
        ("npm ci", "warm", "cd npm && rm -rf node_modules", "cd npm && npm ci --offline --no-audit --no-fund --cache /tmp/npm-cache"),
        (f"untar {o.small} files", "warm", "rm -rf untarred", f"tar -xf {tar} && sync untarred"),
        (f"delete {o.small} files", "warm", f"test -e untarred || tar -xf {tar}", "rm -rf untarred && test ! -e untarred"),
        (f"write {o.mib} MiB", "warm", "rm -f big", f"dd if=/dev/zero of=big bs=1M count={o.mib} conv=fsync 2>&1"),
        (f"read {o.mib} MiB, cold", "cold", "", "cat big >/dev/null"),
        (f"read {o.mib} MiB, warm", "warm", "cat big >/dev/null", "cat big >/dev/null"),
    ]


class Machine:
    """A sandbox with a place for each kind of file system, all of them holding the same tree."""

    def __init__(self, o):
        self.o = o
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="bh-bench-ws-"))
        self.dir.chmod(0o755)
        self.daemon = self.env = None
        try:
            self.make()
        except BaseException:
            self.close()
            raise

    def make(self):
        o, rnd = self.o, random.Random(7)
        seed = self.dir / "seed"
        make_tree(seed / "tree", o.files, rnd)
        git = ["git", "-c", "user.name=b", "-c", "user.email=b@example.org", "-c", "gc.auto=0"]
        for args in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"], ["repack", "-qad"]):
            subprocess.run([*git, *args], cwd=seed / "tree", check=True)
        make_npm(seed / "npm", rnd)
        self.places = [p for p in o.on if p != "virtiofsd" or os.access(VIRTIOFSD, os.X_OK)]
        for p in self.places:
            if p != "ext4":
                subprocess.run(["cp", "-a", str(seed), str(self.dir / p)], check=True)
        (self.dir / "stuff").mkdir()
        make_tar(self.dir / "stuff/small.tar", o.small, rnd)
        if "ext4" in self.places:
            subprocess.run(["tar", "-C", str(seed), "-cf", str(self.dir / "stuff/seed.tar"), "."], check=True)
        shutil.rmtree(seed)
        extra = {"BULKHEAD_QEMU": str(self.virtiofsd())} if "virtiofsd" in self.places else {}
        self.env = Env(**extra)
        shares = [f"{self.dir}/{p}:{p}" for p in ("review", "live") if p in self.places]
        self.env.run("create", "--name", "b", "shell", *shares, f"{self.dir}/stuff:ro", ok=0)
        self.env.run("start", "b", ok=0, timeout=200)
        self.prepare()

    def virtiofsd(self):
        """Its process, and the program that stands for QEMU's."""
        sock, wrapper = self.dir / "virtiofsd.sock", self.dir / "qemu"
        subprocess.run(["chown", "-R", "1000:1000", str(self.dir / "virtiofsd")], check=True)
        self.daemon = subprocess.Popen([VIRTIOFSD, f"--socket-path={sock}", "-o", f"source={self.dir}/virtiofsd", *self.o.virtiofsd],
                                       stdout=subprocess.DEVNULL, stderr=open(self.dir / "virtiofsd.log", "wb"))
        # The machine's memory is shared already, as it has workspaces.
        wrapper.write_text(f"""#!/bin/sh
case " $* " in *" -m "*) ;; *) exec {shutil.which('qemu-system-x86_64')} "$@";; esac
exec {shutil.which('qemu-system-x86_64')} "$@" -chardev socket,id=vfs,path={sock} -device vhost-user-fs-device,chardev=vfs,tag=bench
""")
        wrapper.chmod(0o755)
        return wrapper

    def root(self, command, timeout=900):
        r = self.env.run("exec", "-u", "root", "b", "--", "sh", "-c", command, timeout=timeout)
        if r.returncode:
            raise AssertionError(f"{command}: {r.returncode}\n{r.stdout[-3000:]}{r.stderr[-3000:]}")
        return r.stdout

    def prepare(self):
        self.root(f"cat >/run/timer.py <<'X'\n{TIMER}\nX\ncp {self.dir}/stuff/small.tar /var/tmp/ && chmod 644 /var/tmp/small.tar")
        if "virtiofsd" in self.places:
            self.root(f"modprobe virtiofs && mkdir -p {self.dir}/virtiofsd && busybox mount -t virtiofs bench {self.dir}/virtiofsd")
        if "ext4" in self.places:
            self.root(f"mkdir -p /var/lib/docker/bench {self.dir}/ext4 && chown 1000:1000 /var/lib/docker/bench && busybox mount --bind /var/lib/docker/bench {self.dir}/ext4 && "
                      f"tar -C {self.dir}/ext4 --owner=1000 --group=1000 -xf {self.dir}/stuff/seed.tar && chown -R 1000:1000 /var/lib/docker/bench && stat -f -c %T {self.dir}/ext4")

    def cpu(self):
        """Seconds of processor time by program."""
        total = {}
        for pid in [*self.env.processes(), *([self.daemon.pid] if self.daemon else [])]:
            try:
                stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
            except OSError:
                continue
            name = stat[stat.index("(") + 1:stat.rindex(")")]
            f = stat.rsplit(")", 1)[1].split()
            total[name] = total.get(name, 0) + (int(f[11]) + int(f[12])) / TICK
        # The C virtiofsd serves from a child.
        if self.daemon:
            kids = subprocess.run(["pgrep", "-P", str(self.daemon.pid)], capture_output=True, text=True).stdout.split()
            for pid in kids:
                f = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                total["virtiofsd"] = total.get("virtiofsd", 0) + (int(f[11]) + int(f[12])) / TICK
        return total

    def time(self, place, cold, before, command):
        a = self.cpu()
        r = self.env.run("exec", "-u", "root", "b", "--", "python3", "/run/timer.py", f"{self.dir}/{place}", cold, before, command, timeout=1800)
        b = self.cpu()
        if r.returncode:
            raise AssertionError(f"{place}: {command}: {r.stdout}{r.stderr}")
        got = json.loads(r.stdout.splitlines()[-1])
        if got["rc"]:
            raise AssertionError(f"{place}: {command}: exit {got['rc']}\n{got['out']}")
        spent = {n: b[n] - a.get(n, 0) for n in b}
        got["host"] = sum(v for n, v in spent.items() if n.startswith(("bulkhead-fs", "bulkhead-vmm", "virtiofsd")))
        got["cpu"] = spent
        got["all"] = sum(v for n, v in spent.items() if n.startswith(("bulkhead-fs", "bulkhead-vmm", "virtiofsd", "qemu-system")))
        return got

    def close(self):
        if self.env:
            self.env.close()
        if self.daemon:
            self.daemon.terminate()
            try:
                self.daemon.wait(10)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


def middle(values):
    """Not a number when one of them is none: it failed."""
    values = list(values)
    return statistics.median(values) if all(v == v for v in values) else float("nan")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--files", type=int, default=50000)
    ap.add_argument("--small", type=int, default=20000)
    ap.add_argument("--mib", type=int, default=256)
    ap.add_argument("--only", default="")
    ap.add_argument("--on", type=lambda s: s.split(","), default=["ext4", "review", "live", "virtiofsd"])
    ap.add_argument("--runs", type=int, default=1)
    ap.add_argument("--virtiofsd", type=str.split, default=[], help="its further options")
    ap.add_argument("--list", action="store_true", help="the rows' names")
    ap.add_argument("--verbose", action="store_true")
    ap.add_argument("--json")
    o = ap.parse_args()
    if o.list:
        print("\n".join(j[0] for j in jobs(o, "")))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # a time limit of the caller's leaves nothing running
    m = Machine(o)
    rows = []
    try:
        for name, cold, before, command in jobs(o, "/var/tmp/small.tar"):
            if o.only and not any(w in name for w in o.only.split(",")):
                continue
            row, host, cpu = [name], [], {}
            times = {place: [] for place in m.places}
            # One of each kind after the other: what else the host does meets all of them.
            for place in m.places * o.runs:
                try:
                    got = m.time(place, cold, before, command)
                except AssertionError as e:  # the other rows are worth having
                    print(f"# {e}", flush=True)
                    got = {"s": float("nan"), "host": float("nan"), "all": float("nan"), "cpu": {}, "out": ""}
                times[place].append(got)
                if o.verbose:
                    print(f"# {place}: {name}: {got['s']:.2f} s, host {got['host']:.2f}", {k: round(v, 2) for k, v in got["cpu"].items() if v > 0.02}, got["out"][-200:].strip(), flush=True)
            for place in m.places:
                row.append(middle(g["s"] for g in times[place]))
                host.append(middle(g["host"] for g in times[place]))
                cpu[place] = middle(g["all"] for g in times[place])
            for t in (dict(zip(m.places, row[1:])), cpu):
                for a, b in RATIOS:
                    row.append(t[a] / t[b] if {a, b} <= t.keys() and t[b] else "-")
            rows.append(row + host)
    finally:
        m.close()
    columns = ["what", *m.places, *(f"{a}/{b}{of}" for of in ("", " cpu") for a, b in RATIOS), *(f"host {p}" for p in m.places)]
    report("Workspaces (seconds of the guest's clock, the median of the runs; host: processor seconds besides QEMU)", columns, rows, files=o.files, cores=os.cpu_count(),
           runs=o.runs, virtiofsd=" ".join(o.virtiofsd) or "its defaults")


if __name__ == "__main__":
    main()
