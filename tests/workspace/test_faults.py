#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A share whose host misbehaves: a full disk, a directory that vanishes and comes back, files that go while they are open, what is no file, a large tree.

Runs on this machine's own kernel; needs root and /dev/fuse. BULKHEAD_TREE_FILES sets the size of the large tree (a million by hand).
"""
import errno
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from share import Share, possible  # noqa: E402
from tap import Skip, case, equal, main, wait_for  # noqa: E402

FILES = int(os.environ.get("BULKHEAD_TREE_FILES", "10000"))


def needed():
    if not possible():
        raise Skip("needs root and /dev/fuse")


def error(fn, *args):
    try:
        fn(*args)
    except OSError as e:
        return errno.errorcode.get(e.errno, e.errno)
    return "none"


def seen(share):
    """What the host did before this is seen after it."""
    mark = f"mark-{time.monotonic_ns()}"
    (share.mnt / mark).exists()
    (share.src / mark).touch()
    wait_for((share.mnt / mark).exists, 20, "a mark of the host", every=0.001)
    (share.src / mark).unlink()


@case
def a_full_disk_is_told_and_nothing_is_half_there():
    needed()
    # The share's own root is the small file system: what is mounted below a share is not shown.
    base = pathlib.Path("/tmp") / f"bh-full-{os.getpid()}"
    base.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=40", "none", str(base)], check=True)
    try:
        with Share(source=base) as r:
            m = r.mnt
            (m / "kept").write_bytes(b"k" * 100_000)
            fd = os.open(m / "big", os.O_CREAT | os.O_WRONLY)
            put, failed = 0, None
            while failed is None and put < 8 << 20:
                try:
                    put += os.write(fd, b"x" * 65536)
                except OSError as e:
                    failed = errno.errorcode[e.errno]
            equal(failed, "ENOSPC")
            equal(os.fstat(fd).st_size, os.stat(base / "big").st_size, "both sides know the same size")
            equal(error(os.posix_fallocate, fd, 0, 4 << 20), "ENOSPC")
            os.close(fd)
            equal((m / "kept").read_bytes(), b"k" * 100_000)
            equal(error(lambda: (m / "more").write_bytes(b"y" * 65536)), "ENOSPC")
            os.unlink(m / "big")
            (m / "more").write_bytes(b"y" * 65536)
            equal((base / "more").read_bytes(), b"y" * 65536)
            made = 0
            while (e := error(lambda: os.close(os.open(m / f"i{made}", os.O_CREAT | os.O_WRONLY)))) == "none" and made < 100:
                made += 1
            equal((e, made < 100), ("ENOSPC", True))
            equal(sorted(os.listdir(m)), sorted(os.listdir(base)))
    finally:
        subprocess.run(["umount", "-l", str(base)], check=True)
        base.rmdir()


@case
def a_workspace_that_vanishes_and_comes_back():
    needed()
    with Share() as r:
        m, s = r.mnt, r.src
        (s / "d").mkdir()
        (s / "d/a").write_text("a")
        (s / "b").write_text("b")
        seen(r)
        fd = os.open(m / "d/a", os.O_RDWR)
        listing = os.listdir(m)
        equal(sorted(listing), ["b", "d"])
        # Moved away: it is the directory that is shared, not its name.
        os.rename(s, s.parent / "moved")
        equal((m / "b").read_text(), "b")
        (m / "new").write_text("n")
        equal((s.parent / "moved/new").read_text(), "n")
        os.rename(s.parent / "moved", s)
        equal((s / "new").read_text(), "n")
        # Emptied below us, then removed: what is open goes on, all else says so, and nothing hangs or is made elsewhere.
        shutil.rmtree(s)
        equal(os.pread(fd, 10, 0), b"a")
        equal(os.pwrite(fd, b"A", 0), 1)
        wait_for(lambda: os.listdir(m) == [], 5, "an empty listing")
        wait_for(lambda: error(os.stat, m / "b") == "ENOENT", 5, "its name to be forgotten")
        equal(error(lambda: (m / "c").write_text("c")), "ENOENT")
        equal(error(os.mkdir, m / "e"), "ENOENT")
        # Another directory of its name is another directory.
        s.mkdir()
        (s / "other").write_text("o")
        equal(error(os.stat, m / "other"), "ENOENT")
        equal(os.pread(fd, 10, 0), b"A")
        os.close(fd)
        equal(sorted(os.listdir(s)), ["other"])


@case
def files_that_go_while_they_are_open():
    needed()
    for args in ((), ("-r",), ("-f", "64")):
        with Share(*args) as r:
            m, s = r.mnt, r.src
            for i in range(20):
                (s / f"f{i}").write_text(f"contents {i}")
            seen(r)
            fds = [os.open(m / f"f{i}", os.O_RDONLY) for i in range(20)]
            equal(os.pread(fds[0], 50, 0), b"contents 0")
            for i in range(0, 20, 2):
                (s / f"f{i}").unlink()
            for i in range(1, 20, 2):
                (s / "tmp").write_text(f"another {i}")
                os.rename(s / "tmp", s / f"f{i}")
            seen(r)
            for i, fd in enumerate(fds):
                equal(os.pread(fd, 50, 0), f"contents {i}".encode(), f"{args} f{i}: who has it open keeps it")
                os.close(fd)
            for i in range(20):
                equal((m / f"f{i}").read_text() if i % 2 else error(os.stat, m / f"f{i}"), f"another {i}" if i % 2 else "ENOENT")


@case
def what_is_no_file_neither_blocks_nor_leads_away():
    needed()
    with Share() as r:
        m, s = r.mnt, r.src
        os.mkfifo(s / "fifo")
        os.mknod(s / "null", 0o666 | 0o020000, os.makedev(1, 3))
        os.mknod(s / "disk", 0o666 | 0o060000, os.makedev(7, 0))
        k = socket.socket(socket.AF_UNIX)
        k.bind(str(s / "sock"))
        os.symlink(".", s / "self")
        os.symlink("..", s / "up")
        os.symlink("b", s / "a")
        os.symlink("a", s / "b")
        seen(r)
        equal(error(os.open, m / "fifo", os.O_WRONLY | os.O_NONBLOCK), "ENXIO")
        equal(error(os.open, m / "null", os.O_RDWR), "EACCES", "the mount takes no devices")
        equal(error(os.open, m / "disk", os.O_RDONLY), "EACCES")
        equal(error(os.open, m / "sock", os.O_RDONLY), "ENXIO")
        equal(error(os.open, m / "a", os.O_RDONLY), "ELOOP")
        equal(error(os.stat, str(m) + "/self" * 60), "ELOOP")
        equal(os.path.samefile(m / "self/self", m), True)
        equal(sorted(os.listdir(m)), sorted(os.listdir(s)))
        start = time.monotonic()
        out = subprocess.run(["find", "-L", str(m), "-maxdepth", "30", "-name", "fifo"], capture_output=True, text=True, timeout=60)
        equal((out.returncode != 0 or "loop" in out.stderr or out.stdout.count("fifo") >= 1, time.monotonic() - start < 60), (True, True))
        k.close()
        # A directory with a parent of its own below it, by a mount on the host: not followed.
        (s / "ring").mkdir()
        subprocess.run(["mount", "--bind", str(s), str(s / "ring")], check=True)
        try:
            equal(error(os.listdir, m / "ring"), "EACCES")
        finally:
            subprocess.run(["umount", str(s / "ring")], check=True)


@case
def a_large_tree_is_walked_in_bounded_memory():
    needed()
    with Share("-f", "1000") as r:
        m, s = r.mnt, r.src
        made = 0
        for i in range((FILES + 999) // 1000):
            for k in range(10):
                d = s / f"a{i}/b{k}"
                d.mkdir(parents=True)
                at = os.open(d, os.O_PATH)
                for n in range(100):
                    os.close(os.open(f"f{n}", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=at))
                    made += 1
                os.close(at)
        start = time.monotonic()
        count = sum(len(files) for _, _, files in os.walk(m))
        stats = 0
        for base, _, files in os.walk(m):
            for f in files[:20]:
                os.lstat(os.path.join(base, f))
                stats += 1
        took = time.monotonic() - start
        equal(count, made)
        status = pathlib.Path(f"/proc/{r.p.pid}/status").read_text()
        rss = int(status.split("VmRSS:")[1].split()[0])
        fds = len(os.listdir(f"/proc/{r.p.pid}/fd"))
        print(f"# {made} files walked twice in {took:.1f} s; resident {rss / 1024:.0f} MiB, {fds} descriptors")
        # What the kernel knows is what is remembered; 512 bytes a file and what the program itself is.
        equal((rss < 24 * 1024 + made * 512 // 1024, fds < 1200), (True, True), f"{rss} KiB, {fds} descriptors")


main()
