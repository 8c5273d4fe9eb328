# SPDX-License-Identifier: Apache-2.0
"""A machine in which /dev/kvm is real: QEMU's TCG with an SVM CPU boots the guest image's own Debian kernel, loads kvm-amd from that image
and runs a script of ours. Nothing is downloaded: the outer kernel is the inner one.
"""
import functools
import json
import os
import pathlib
import re
import select
import shutil
import stat
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]
BUILD = pathlib.Path(os.environ.get("BULKHEAD_BUILD") or TOP / "build")
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "bulkhead/images"
APPLETS = ["sh", "mount", "mkdir", "cat", "echo", "ls", "dmesg", "poweroff", "reboot", "modprobe", "insmod", "sleep", "usleep", "sha256sum", "dd", "grep", "kill",
           "time", "date", "cut", "head", "tail", "wc", "sync", "free", "nproc", "ln", "rm", "chmod", "truncate", "seq", "mktemp", "test", "true", "uname",
           "tr", "stat", "awk", "sed", "find", "cp", "cmp", "mkfifo", "chown", "mv", "ps"]


@functools.cache
def image():
    """The guest image of this build: a directory with vmlinuz, modules.cpio and base.img; None when there is none."""
    r = subprocess.run([BUILD / "bulkhead", "image", "ls", "--json"], capture_output=True, text=True)
    return next((CACHE / i["id"] for i in json.loads(r.stdout or "[]") if i["current"]), None)


class Cpio:
    """A newc archive, written by hand: no root and no file system's mood needed."""

    def __init__(self):
        self.out = bytearray()
        self.ino = 0
        self.dirs = set()

    def _entry(self, name, mode, data=b"", rdev=(0, 0)):
        self.ino += 1
        raw = name.encode() + b"\0"
        head = "070701" + "".join(f"{v:08X}" for v in (self.ino, mode, 0, 0, 1, 0, len(data), 0, 0, rdev[0], rdev[1], len(raw), 0))
        for part in (head.encode() + raw, data):
            self.out += part
            self.out += b"\0" * (-len(self.out) % 4)

    def parents(self, name):
        parts = name.split("/")[:-1]
        for i in range(1, len(parts) + 1):
            d = "/".join(parts[:i])
            if d and d not in self.dirs:
                self.dirs.add(d)
                self._entry(d, stat.S_IFDIR | 0o755)

    def file(self, name, data, mode=0o644):
        self.parents(name)
        self._entry(name, stat.S_IFREG | mode, data)

    def link(self, name, to):
        self.parents(name)
        self._entry(name, stat.S_IFLNK | 0o777, to.encode())

    def node(self, name, major, minor):
        self.parents(name)
        self._entry(name, stat.S_IFCHR | 0o600, rdev=(major, minor))

    def program(self, path, name=None):
        """A program and the libraries it is linked with."""
        path = pathlib.Path(path)
        self.file(name or f"bin/{path.name}", path.read_bytes(), 0o755)
        ldd = subprocess.run(["ldd", str(path)], capture_output=True, text=True).stdout
        for lib in re.findall(r"(/\S+)", ldd):
            if lib.lstrip("/") not in self.dirs:
                self.dirs.add(lib.lstrip("/"))
                self.file(lib.lstrip("/"), pathlib.Path(lib).read_bytes(), 0o755)

    def busybox(self):
        self.program(shutil.which("busybox"), "bin/busybox")
        for a in APPLETS:
            self.link(f"bin/{a}", "busybox")

    def bytes(self):
        self._entry("TRAILER!!!", 0)
        return bytes(self.out) + b"\0" * (-len(self.out) % 512)


LOAD = """#!/bin/sh
mount -t devtmpfs d /dev; mkdir -p /proc /sys /tmp; mount -t proc p /proc; mount -t sysfs s /sys
while read m; do insmod $m || echo "insmod $m failed"; done < /modules.list
"""
KVM = """
for b in /sys/block/vd*; do ln -s ${b##*/} /dev/$(cat $b/serial); done
mkdir -p /base; mount -t erofs -o ro /dev/disk0 /base
for m in irqbypass ccp kvm kvm-amd; do for f in $(find /base/usr/lib/modules -name $m.ko); do insmod $f 2>/dev/null; done; done
[ -c /dev/kvm ] || { echo NO-KVM; dmesg | tail -20; }
"""


WANTED = ("virtio_mmio", "virtio_blk", "virtio_rng", "virtio_balloon", "virtio_console", "vmw_vsock_virtio_transport")


@functools.cache
def bookworm():
    """Debian 12's cloud kernel as its package has it: release, vmlinuz, and the modules a guest wants, in the order in which they load."""
    depends = subprocess.run(["apt-cache", "depends", "linux-image-cloud-amd64"], capture_output=True, text=True).stdout
    package = re.search(r"Depends: (linux-image-6\.1\.\S+-cloud-amd64)", depends)
    with tempfile.TemporaryDirectory() as d:
        if not package or subprocess.run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package[1]], cwd=d, capture_output=True).returncode:
            return None
        subprocess.run(["dpkg", "-x", next(pathlib.Path(d).glob("*.deb")), f"{d}/x"], check=True)
        release = package[1].removeprefix("linux-image-")
        files = {p.stem.replace("-", "_"): p.read_bytes() for p in pathlib.Path(d, "x/lib/modules", release).rglob("*.ko")}
        order = []

        def add(name):
            if name in files and name not in order:
                for n in re.search(rb"\0depends=([^\0]*)\0", files[name])[1].decode().split(","):
                    add(n.replace("-", "_"))
                order.append(name)

        for name in WANTED:
            add(name)
        return release, pathlib.Path(d, "x/boot/vmlinuz-" + release).read_bytes(), [(f"modules/{n}.ko", files[n]) for n in order]


def initrd(files=(), programs=(), modules=None):
    """The image's modules, or those given (name, bytes), and what is given, (name, bytes, mode) and paths, with /bin of busybox."""
    c = Cpio()
    for name, data in modules or ():
        c.file(name, data)
    if modules:
        c.file("modules.list", "".join(f"/{name}\n" for name, _ in modules).encode())
    c.node("dev/console", 5, 1)
    c.busybox()
    for p in programs:
        c.program(p)
    for name, data, mode in files:
        c.file(name, data, mode)
    first = b"" if modules else (image() / "modules.cpio").read_bytes()
    return first + b"\0" * (-len(first) % 512) + c.bytes()


def clock():
    """An emulated microvm has nothing to measure its clock against: it is told, as vmm/qemu.c does."""
    khz = json.loads(subprocess.run([BUILD / "bulkhead-vmm", "--probe"], capture_output=True, check=True).stdout)["tsc_khz"]
    return f" tsc_early_khz={khz}" if khz else ""


def outer(script, files=(), programs=(), drives=(), memory=3072, seconds=600, show=True, icount=False):
    """Runs script (sh) in the outer machine; returns its console and how it ended, in words. drives: paths, /dev/disk1 on, read-only. files: (name, bytes, mode).

    It has one CPU. The kvm module patches its own code whenever a vCPU is made or switches its APIC on, and TCG lets another CPU run what was
    there before: an int3 that nobody expects any more, a panic (core/supervisor/life.c says more).

    icount: its clock counts instructions, a nanosecond each, and passes over what it would sleep: no deadline in there depends on
    how busy the host is.
    """
    init = (LOAD + KVM + script + "\necho NESTED-END\npoweroff -f\n").encode()
    with tempfile.NamedTemporaryFile(prefix="nested-initrd-") as f:
        f.write(initrd([*files, ("init", init, 0o755)], programs))
        f.flush()
        argv = ["qemu-system-x86_64", "-accel", "tcg,thread=single,tb-size=512" if icount else "tcg,thread=multi,tb-size=512",
                "-M", "microvm,acpi=on,isa-serial=on", "-global", "virtio-mmio.force-legacy=false", "-cpu", "max,+svm", "-smp", "1",
                "-m", str(memory), "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot", "-net", "none",
                "-kernel", str(image() / "vmlinuz"), "-initrd", f.name,
                "-append", "console=ttyS0 quiet panic=-1 reboot=t mitigations=off tsc=reliable no_timer_check random.trust_cpu=on 8250.nr_uarts=1"
                + clock()]
        if icount:
            argv += ["-icount", "shift=0,sleep=off"]
        for n, d in enumerate([image() / "base.img", *drives]):
            argv += ["-drive", f"if=none,id=d{n},format=raw,readonly=on,file={d}", "-device", f"virtio-blk-device,drive=d{n},serial=disk{n}"]
        p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        text, how, end = bytearray(), f"was stopped after {seconds} s", time.monotonic() + seconds
        try:
            while (left := end - time.monotonic()) > 0 and select.select([p.stdout], [], [], left)[0]:
                got = os.read(p.stdout.fileno(), 65536)
                if not got:
                    how = "powered off" if b"NESTED-END" in text else f"ended with status {p.wait()}"
                    break
                text += got
                if show:
                    sys.stderr.write(got.decode(errors="replace"))
                    sys.stderr.flush()
        finally:
            p.kill()
            p.wait()
    return text.decode(errors="replace").replace("\r\n", "\n"), how
