#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A share mounted on this machine's own kernel: what POSIX asks, what the host's changes do, and a million random operations against a plain tree.

The kernel here stands for the guest's. Needs root and /dev/fuse; else every case is skipped. BULKHEAD_FSX_OPS sets the number of operations.
"""
import ctypes
import errno
import fcntl
import mmap
import os
import pathlib
import random
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import fsx  # noqa: E402
from calls import libc, renameat2  # noqa: E402
from share import Share, possible  # noqa: E402
from tap import Skip, case, equal, main, wait_for  # noqa: E402

G = {}
OPS = int(os.environ.get("BULKHEAD_FSX_OPS", "60000"))
SEED = int(os.environ.get("BULKHEAD_SEED", "0"))


def setup():
    if not possible():
        return
    G["s"] = Share("-x", ".env*\nid_rsa\nsecret/*.pem")


def teardown():
    if "s" in G:
        G["s"].close()


def here():
    """The mounted directory and its source, both empty."""
    if "s" not in G:
        raise Skip("needs root and /dev/fuse")
    s = G["s"]
    for p in s.src.iterdir():
        shutil.rmtree(p) if not p.is_symlink() and p.is_dir() else p.unlink()
    settle(s)
    equal(os.listdir(s.mnt), [])
    return s.mnt, s.src


def settle(share=None):
    """What the host did before this is seen after it: changes are told in order."""
    s = share or G["s"]
    mark = f"mark-{time.monotonic_ns()}"
    (s.mnt / mark).exists()
    (s.src / mark).touch()
    wait_for((s.mnt / mark).exists, 5, "a mark of the host to be seen", every=0.001)
    (s.src / mark).unlink()
    wait_for(lambda: not (s.mnt / mark).exists(), 5, "a mark of the host to go", every=0.001)


def fails(number, fn, *args, **kw):
    try:
        fn(*args, **kw)
    except OSError as e:
        equal(errno.errorcode.get(e.errno), errno.errorcode[number], f"{getattr(fn, '__name__', fn)}{args}")
        return
    raise AssertionError(f"{getattr(fn, '__name__', fn)}{args} did not fail with {errno.errorcode[number]}")


# ---- POSIX ---------------------------------------------------------------------------------------------------------------------------


@case
def files_are_made_read_written_and_removed():
    m, s = here()
    (m / "a").write_bytes(b"hello")
    equal((s / "a").read_bytes(), b"hello")
    equal((m / "a").read_bytes(), b"hello")
    fd = os.open(m / "a", os.O_RDWR)
    os.pwrite(fd, b"J", 0)
    equal(os.pread(fd, 10, 0), b"Jello")
    os.ftruncate(fd, 2)
    equal(os.fstat(fd).st_size, 2)
    os.close(fd)
    equal((s / "a").read_bytes(), b"Je")
    (m / "a").unlink()
    equal(list(s.iterdir()), [])
    fails(errno.ENOENT, os.stat, m / "a")
    fails(errno.ENOENT, os.unlink, m / "a")
    fails(errno.ENOENT, os.open, m / "a", os.O_RDONLY)


@case
def open_flags_mean_what_they_say():
    m, s = here()
    os.close(os.open(m / "a", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640))
    equal(stat.S_IMODE(os.stat(m / "a").st_mode), 0o640)
    fails(errno.EEXIST, os.open, m / "a", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    (m / "a").write_bytes(b"12345")
    os.close(os.open(m / "a", os.O_WRONLY | os.O_TRUNC))
    equal((s / "a").stat().st_size, 0)
    equal((m / "a").stat().st_size, 0)
    os.mkdir(m / "d")
    fails(errno.EISDIR, os.open, m / "d", os.O_WRONLY)
    fails(errno.ENOTDIR, os.open, m / "a", os.O_DIRECTORY)
    os.symlink("a", m / "l")
    fails(errno.ELOOP, os.open, m / "l", os.O_NOFOLLOW)
    fails(errno.EOPNOTSUPP, os.open, m, os.O_TMPFILE | os.O_RDWR)
    fails(errno.ENAMETOOLONG, os.open, m / ("x" * 256), os.O_CREAT | os.O_WRONLY)
    os.close(os.open(m / ("x" * 255), os.O_CREAT | os.O_WRONLY))
    equal((s / ("x" * 255)).exists(), True)


@case
def appending_appends_from_both_sides():
    m, s = here()
    a = os.open(m / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.write(a, b"one\n")
    with open(s / "log", "ab") as f:
        f.write(b"host\n")
    os.write(a, b"two\n")
    os.close(a)
    equal((s / "log").read_bytes(), b"one\nhost\ntwo\n")


@case
def a_mapping_of_an_appended_file_writes_where_it_is_mapped():
    m, s = here()
    (m / "f").write_bytes(b"a" * 8192)
    fd = os.open(m / "f", os.O_RDWR | os.O_APPEND)
    with mmap.mmap(fd, 8192) as mm:
        mm[100:105] = b"HELLO"
        mm.flush()
    os.write(fd, b"end")
    os.close(fd)
    want = bytearray(b"a" * 8192 + b"end")
    want[100:105] = b"HELLO"
    equal((s / "f").read_bytes(), bytes(want))


@case
def mappings_are_read_and_written():
    m, s = here()
    (m / "f").write_bytes(bytes(range(256)) * 64)
    with open(m / "f", "r+b") as f, mmap.mmap(f.fileno(), 0) as mm:
        equal(mm[300], 300 % 256)
        mm[5000:5004] = b"ABCD"
    equal((s / "f").read_bytes()[5000:5004], b"ABCD")
    r = subprocess.run(["cp", "/bin/true", str(m / "prog")], check=True)
    equal(subprocess.run([str(m / "prog")]).returncode, 0, "a program of the share runs")
    del r


@case
def directories_come_and_go():
    m, s = here()
    os.mkdir(m / "d", 0o750)
    equal(stat.S_IMODE((s / "d").stat().st_mode), 0o750)
    fails(errno.EEXIST, os.mkdir, m / "d")
    (m / "d/f").write_text("x")
    fails(errno.ENOTEMPTY, os.rmdir, m / "d")
    fails(errno.ENOTDIR, os.rmdir, m / "d/f")
    fails(errno.EISDIR, os.unlink, m / "d")
    fails(errno.ENOTDIR, os.stat, m / "d/f/g")
    os.unlink(m / "d/f")
    os.rmdir(m / "d")
    equal(os.listdir(m), [])
    deep = m
    for i in range(60):
        deep = deep / f"level{i}"
    os.makedirs(deep)
    (deep / "leaf").write_text("down here")
    equal((s / deep.relative_to(m) / "leaf").read_text(), "down here")


@case
def renames_replace_refuse_and_exchange():
    m, s = here()
    (m / "a").write_text("a")
    (m / "b").write_text("b")
    os.rename(m / "a", m / "b")
    equal(((s / "b").read_text(), (m / "b").read_text(), (m / "a").exists()), ("a", "a", False))
    (m / "c").write_text("c")
    fails(errno.EEXIST, renameat2, m / "b", m / "c", 1)
    renameat2(m / "b", m / "c", 2)
    equal(((m / "b").read_text(), (m / "c").read_text()), ("c", "a"))
    fails(errno.EINVAL, renameat2, m / "b", m / "w", 4)
    os.makedirs(m / "d/e")
    fails(errno.EINVAL, os.rename, m / "d", m / "d/e/f")
    os.mkdir(m / "x")
    (m / "x/f").write_text("1")
    fails(errno.ENOTEMPTY, os.rename, m / "d", m / "x")
    fails(errno.EISDIR, os.rename, m / "b", m / "x")
    fails(errno.ENOTDIR, os.rename, m / "x", m / "b")
    os.rename(m / "x", m / "d/e/x")
    equal((m / "d/e/x/f").read_text(), "1")
    fd = os.open(m / "b", os.O_RDWR)
    os.rename(m / "b", m / "d/moved")
    os.write(fd, b"still")
    os.close(fd)
    equal((s / "d/moved").read_text(), "still")


@case
def links_share_a_file():
    m, s = here()
    (m / "a").write_text("1")
    os.link(m / "a", m / "b")
    equal((os.stat(m / "a").st_ino == os.stat(m / "b").st_ino, os.stat(m / "b").st_nlink), (True, 2))
    (m / "b").write_text("2")
    equal((m / "a").read_text(), "2")
    os.unlink(m / "a")
    equal((m / "b").read_text(), "2")
    os.mkdir(m / "d")
    fails(errno.EPERM, os.link, m / "d", m / "e")
    fails(errno.EEXIST, os.link, m / "b", m / "d")
    os.symlink("../somewhere/else", m / "l")
    equal(os.readlink(m / "l"), "../somewhere/else")
    equal(os.lstat(m / "l").st_size, len("../somewhere/else"))
    os.symlink("x" * 4000, m / "long")
    equal(len(os.readlink(m / "long")), 4000)
    fails(errno.EINVAL, os.readlink, m / "b")


@case
def an_unlinked_file_lives_while_it_is_open():
    m, s = here()
    fd = os.open(m / "a", os.O_CREAT | os.O_RDWR)
    os.write(fd, b"gone but here")
    os.unlink(m / "a")
    equal(os.pread(fd, 100, 0), b"gone but here")
    equal(os.fstat(fd).st_size, 13)
    os.ftruncate(fd, 4)
    equal(os.pread(fd, 100, 0), b"gone")
    os.close(fd)
    equal(list(s.iterdir()), [])


@case
def times_modes_and_owners():
    m, s = here()
    (m / "a").write_text("x")
    os.utime(m / "a", ns=(1_000_000_000_123_456_789, 1_500_000_000_987_654_321))
    st = os.stat(s / "a")
    equal((st.st_atime_ns, st.st_mtime_ns), (1_000_000_000_123_456_789, 1_500_000_000_987_654_321))
    equal(os.stat(m / "a").st_mtime_ns, 1_500_000_000_987_654_321)
    os.symlink("a", m / "l")
    os.utime(m / "l", ns=(5, 7), follow_symlinks=False)
    equal(os.lstat(s / "l").st_mtime_ns, 7)
    for mode in (0o000, 0o444, 0o755, 0o711):
        os.chmod(m / "a", mode)
        equal(stat.S_IMODE((s / "a").stat().st_mode), mode)
    os.chmod(m / "a", 0o6755)
    equal((oct(stat.S_IMODE((s / "a").stat().st_mode)), oct(stat.S_IMODE((m / "a").stat().st_mode))), ("0o755", "0o755"), "no setuid")
    st = os.stat(m / "a")
    equal((st.st_uid, st.st_gid), (1000, 1000), "what the host's user owns is the agent's")
    os.chown(m / "a", 1000, 1000)
    fails(errno.EPERM, os.chown, m / "a", 0, 0)
    os.chown(s / "a", 12345, 12345)
    wait_for(lambda: os.stat(m / "a").st_uid == 65534, 2, "a stranger's file to be nobody's")


@case
def attributes_of_the_user_only():
    m, s = here()
    (m / "a").write_text("x")
    os.setxattr(m / "a", "user.colour", b"blue")
    equal((os.getxattr(s / "a", "user.colour"), os.getxattr(m / "a", "user.colour"), os.listxattr(m / "a")), (b"blue", b"blue", ["user.colour"]))
    fails(errno.EEXIST, os.setxattr, m / "a", "user.colour", b"red", os.XATTR_CREATE)
    fails(errno.ENODATA, os.setxattr, m / "a", "user.other", b"red", os.XATTR_REPLACE)
    fails(errno.ENODATA, os.getxattr, m / "a", "user.none")
    fails(errno.EOPNOTSUPP, os.setxattr, m / "a", "trusted.overlay.opaque", b"y")
    fails(errno.EOPNOTSUPP, os.setxattr, m / "a", "security.capability", b"\1\0\0\2" + b"\0" * 16)
    os.removexattr(m / "a", "user.colour")
    equal(os.listxattr(s / "a"), [])
    os.setxattr(m / "a", "user.big", b"v" * 3000)
    equal(len(os.getxattr(m / "a", "user.big")), 3000)


@case
def holes_room_and_large_files():
    m, s = here()
    fd = os.open(m / "big", os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, b"far", (5 << 30) + 7)
    equal(os.fstat(fd).st_size, (5 << 30) + 10)
    equal(os.pread(fd, 3, (5 << 30) + 7), b"far")
    equal(os.pread(fd, 4, 1 << 30), b"\0" * 4)
    if (s / "big").stat().st_blocks * 512 > 1 << 20:
        raise AssertionError("a hole takes room")
    equal(os.lseek(fd, 0, os.SEEK_DATA) >= (4 << 30), True)
    equal(os.lseek(fd, 0, os.SEEK_HOLE), 0)
    os.close(fd)
    fd = os.open(m / "room", os.O_CREAT | os.O_RDWR)
    os.posix_fallocate(fd, 0, 1 << 20)
    equal(os.fstat(fd).st_size, 1 << 20)
    os.pwrite(fd, b"x" * 65536, 0)
    equal(libc.fallocate(fd, 3, ctypes.c_long(0), ctypes.c_long(65536)), 0, "a hole is punched")
    equal(os.pread(fd, 4, 100), b"\0" * 4)
    equal(os.copy_file_range(fd, fd, 4096, 0, 500000) > 0, True)
    os.close(fd)


@case
def names_of_any_bytes():
    m, s = here()
    names = [b"\xff\xfe", b"new\nline", b" ", b"-rf", b"\x01\x1b[31m", "ümlaut".encode(), b"a" * 255, bytes(range(1, 47)), bytes(range(48, 200))]
    for n in names:
        os.close(os.open(os.fsencode(m) + b"/" + n, os.O_CREAT | os.O_WRONLY))
    equal(sorted(os.listdir(os.fsencode(m))), sorted(names))
    equal(sorted(os.listdir(os.fsencode(s))), sorted(names))
    for n in names:
        os.unlink(os.fsencode(m) + b"/" + n)


@case
def a_hundred_thousand_files_in_a_directory():
    m, s = here()
    d = s / "many"
    d.mkdir()
    for i in range(100_000):
        os.close(os.open(d / f"file-{i:06}", os.O_CREAT | os.O_WRONLY))
    settle()
    start = time.monotonic()
    names = os.listdir(m / "many")
    equal((len(names), len(set(names))), (100_000, 100_000))
    with os.scandir(m / "many") as it:
        sizes = sum(e.stat().st_size for e in it)
    equal(sizes, 0)
    print(f"# listing twice, once with attributes: {time.monotonic() - start:.2f} s")
    for i in range(0, 100_000, 100):
        os.unlink(m / f"many/file-{i:06}")
    equal(len(os.listdir(m / "many")), 99_000)


@case
def locks_hold_within_the_guest():
    m, _ = here()
    (m / "l").write_text("")
    a, b = os.open(m / "l", os.O_RDWR), os.open(m / "l", os.O_RDWR)
    fcntl.flock(a, fcntl.LOCK_EX)
    fails(errno.EAGAIN, fcntl.flock, b, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(a, fcntl.LOCK_UN)
    fcntl.flock(b, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(b)
    fcntl.lockf(a, fcntl.LOCK_EX | fcntl.LOCK_NB)
    pid = os.fork()
    if pid == 0:
        try:
            fcntl.lockf(os.open(m / "l", os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
            os._exit(1)
        except OSError:
            os._exit(0)
    equal(os.waitpid(pid, 0)[1], 0, "the other process was refused")
    os.close(a)


@case
def pipes_and_sockets_are_the_kernels_own():
    m, s = here()
    os.mkfifo(m / "p")
    equal(stat.S_ISFIFO((s / "p").lstat().st_mode), True)
    got = []
    t = threading.Thread(target=lambda: got.append((m / "p").read_bytes()))
    t.start()
    (m / "p").write_bytes(b"through")
    t.join(5)
    equal(got, [b"through"])
    k = socket.socket(socket.AF_UNIX)
    k.bind(str(m / "sock"))
    equal(stat.S_ISSOCK((s / "sock").lstat().st_mode), True)
    k.close()
    fails(errno.EPERM, os.mknod, m / "dev", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    fails(errno.EPERM, os.mknod, m / "blk", stat.S_IFBLK | 0o666, os.makedev(8, 0))


@case
def the_file_system_tells_its_room():
    m, s = here()
    a, b = os.statvfs(m), os.statvfs(s)
    equal((a.f_blocks, a.f_bsize), (b.f_blocks, b.f_bsize))
    fd = os.open(m / "f", os.O_CREAT | os.O_RDWR)
    os.write(fd, b"x")
    os.fsync(fd)
    os.fdatasync(fd)
    os.close(fd)
    d = os.open(m, os.O_RDONLY)
    os.fsync(d)
    os.close(d)


@case
def a_directory_is_listed_whole_while_it_changes():
    m, s = here()
    for i in range(3000):
        (s / f"f{i}").write_text("")
    settle()
    seen = set()
    with os.scandir(m) as it:
        for n, e in enumerate(it):
            if e.name in seen:
                raise AssertionError(f"{e.name} came twice")
            seen.add(e.name)
            if n % 3 == 0:
                os.unlink(m / e.name)
    equal(len([x for x in range(3000) if f"f{x}" in seen]), 3000)


# ---- the host's changes ------------------------------------------------------------------------------------------------------------------


def within_a_second(probe, what):
    wait_for(probe, 1.0, what, every=0.01)


@case
def the_host_changes_and_it_is_seen():
    m, s = here()
    (s / "d").mkdir()
    (s / "d/a").write_text("one")
    settle()
    equal((m / "d/a").read_text(), "one")
    equal((m / "d/new").exists(), False)
    (s / "d/new").write_text("n")
    within_a_second(lambda: (m / "d/new").exists(), "a name that was not there")
    (s / "d/a").write_text("longer than before")
    within_a_second(lambda: (m / "d/a").read_text() == "longer than before", "contents written in place")
    (s / "d/tmp").write_text("replaced")
    os.rename(s / "d/tmp", s / "d/a")
    within_a_second(lambda: (m / "d/a").read_text() == "replaced", "a file that was replaced")
    os.chmod(s / "d/a", 0o600)
    within_a_second(lambda: stat.S_IMODE((m / "d/a").stat().st_mode) == 0o600, "a mode")
    (s / "d/a").unlink()
    within_a_second(lambda: not (m / "d/a").exists(), "a name that is gone")
    equal(sorted(os.listdir(m / "d")), ["new"])
    (s / "d/later").write_text("")
    within_a_second(lambda: sorted(os.listdir(m / "d")) == ["later", "new"], "a listing")
    os.rename(s / "d", s / "e")
    within_a_second(lambda: not (m / "d").exists() and (m / "e/new").exists(), "a directory that was moved")
    shutil.rmtree(s / "e")
    within_a_second(lambda: os.listdir(m) == [], "a tree that is gone")


@case
def a_file_the_host_deletes_stays_open():
    m, s = here()
    (s / "a").write_text("contents")
    settle()
    fd = os.open(m / "a", os.O_RDWR)
    (s / "a").unlink()
    equal(os.pread(fd, 20, 0), b"contents")
    os.pwrite(fd, b"C", 0)
    equal(os.pread(fd, 20, 0), b"Contents")
    os.close(fd)
    within_a_second(lambda: not (m / "a").exists(), "the name to go")


@case
def a_flood_of_changes_is_survived():
    m, s = here()
    (s / "d").mkdir()
    settle()
    os.listdir(m / "d")
    (m / "d/x").exists()
    for i in range(20_000):
        os.close(os.open(s / f"d/{i % 500}", os.O_CREAT | os.O_WRONLY))
        os.unlink(s / f"d/{i % 500}")
    (s / "d/last").write_text("there")
    wait_for(lambda: (m / "d/last").exists() and os.listdir(m / "d") == ["last"], 10, "the last state")


# ---- what is not shown ------------------------------------------------------------------------------------------------------------------


@case
def hidden_names_do_not_exist():
    m, s = here()
    for n in (".env", ".env.local", "id_rsa", "readme"):
        (s / n).write_text("secret")
    (s / "secret").mkdir()
    (s / "secret/a.pem").write_text("key")
    (s / "secret/a.txt").write_text("no key")
    settle()
    equal(sorted(os.listdir(m)), ["readme", "secret"])
    equal(os.listdir(m / "secret"), ["a.txt"])
    for n in (".env", ".env.local", "id_rsa", "secret/a.pem"):
        fails(errno.ENOENT, os.stat, m / n)
        fails(errno.ENOENT, os.open, m / n, os.O_RDONLY)
        fails(errno.EPERM, os.open, m / n, os.O_CREAT | os.O_WRONLY)
        fails(errno.ENOENT, os.unlink, m / n)
        fails(errno.EPERM, os.rename, m / "readme", m / n)
        fails(errno.EPERM, os.link, m / "readme", m / n)
        fails(errno.EPERM, os.symlink, "x", m / n)
        fails(errno.EPERM, os.mkdir, m / n)
        fails(errno.ENOENT, os.rename, m / n, m / "mine")
    fails(errno.EPERM, os.rename, m / "secret", m / "elsewhere")
    equal((s / "secret/a.pem").read_text(), "key")
    os.unlink(m / "secret/a.txt")
    fails(errno.ENOTEMPTY, os.rmdir, m / "secret")
    equal((s / "secret/a.pem").exists(), True)
    wait_for(lambda: "hidden .env\n" in G["s"].lines and "hidden secret/a.pem\n" in G["s"].lines, 2, "hidden names to be reported")


@case
def what_is_mounted_in_the_workspace_is_not_shown():
    m, s = here()
    (s / "other").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(s / "other")], check=True)
    try:
        (s / "other/f").write_text("x")
        settle()
        fails(errno.EACCES, os.listdir, m / "other")
        fails(errno.EACCES, os.stat, m / "other/f")
    finally:
        subprocess.run(["umount", str(s / "other")], check=True)
    within_a_second(lambda: os.listdir(m / "other") == [], "the directory below")


@case
def files_with_names_outside_are_read_only():
    m, s = here()
    outside = s.parent / "outside"
    outside.write_text("precious")
    os.link(outside, s / "inside")
    settle()
    equal((m / "inside").read_text(), "precious")
    for fn, args in ((os.open, (m / "inside", os.O_WRONLY)), (os.open, (m / "inside", os.O_RDWR | os.O_TRUNC)), (os.truncate, (m / "inside", 0)),
                     (os.chmod, (m / "inside", 0o777)), (os.utime, (m / "inside", (1, 1))), (os.setxattr, (m / "inside", "user.x", b"y"))):
        fails(errno.EPERM, fn, *args)
    equal(outside.read_text(), "precious")
    wait_for(lambda: "linked inside\n" in G["s"].lines, 2, "the report")
    os.unlink(m / "inside")
    (m / "a").write_text("1")
    os.link(m / "a", m / "b")
    (m / "b").write_text("both names are inside")
    equal((s / "a").read_text(), "both names are inside")


# ---- read-only, few descriptors ------------------------------------------------------------------------------------------------------------


@case
def a_read_only_share_changes_nothing():
    here()
    with Share("-r") as r:
        m, s = r.mnt, r.src
        (s / "a").write_text("a")
        (s / "d").mkdir()
        settle(r)
        ro = errno.EROFS
        for fn, args in ((os.open, (m / "a", os.O_WRONLY)), (os.open, (m / "n", os.O_CREAT | os.O_WRONLY)), (os.mkdir, (m / "n",)), (os.unlink, (m / "a",)),
                         (os.rmdir, (m / "d",)), (os.rename, (m / "a", m / "b")), (os.link, (m / "a", m / "b")), (os.symlink, ("x", m / "l")),
                         (os.chmod, (m / "a", 0o777)), (os.truncate, (m / "a", 0)), (os.utime, (m / "a", (1, 1))), (os.mkfifo, (m / "p",)),
                         (os.setxattr, (m / "a", "user.x", b"y"))):
            fails(ro, fn, *args)
        equal((m / "a").read_text(), "a")
        equal(sorted(os.listdir(s)), ["a", "d"])


@case
def few_descriptors_are_enough_for_a_large_tree():
    here()
    with Share("-f", "64") as r:
        m, s = r.mnt, r.src
        for i in range(40):
            os.makedirs(s / f"d{i}/sub/deep")
            for k in range(20):
                (s / f"d{i}/sub/deep/f{k}").write_text(f"{i} {k}")
        settle(r)
        for _ in range(2):
            for i in range(40):
                for k in range(20):
                    equal((m / f"d{i}/sub/deep/f{k}").read_text(), f"{i} {k}")
        for i in range(40):
            os.rename(m / f"d{i}", m / f"e{i}")
        for i in range(40):
            equal((m / f"e{i}/sub/deep/f7").read_text(), f"{i} 7")
            (m / f"e{i}/sub/deep/f7").write_text("changed")
        equal((s / "e39/sub/deep/f7").read_text(), "changed")


# ---- against a plain tree ---------------------------------------------------------------------------------------------------------------------


@case
def random_operations_on_a_file_equal_those_on_a_plain_one():
    m, s = here()
    seed = SEED or random.randrange(1 << 32)
    plain = s.parent / "plain-file"
    began = time.monotonic()
    fsx.file_operations(m / "fsx", plain, OPS, seed)
    print(f"# {OPS} operations, seed {seed}, {OPS / (time.monotonic() - began):.0f} a second")
    equal((s / "fsx").read_bytes() == plain.read_bytes(), True, "the host's file")
    plain.unlink()


@case
def random_operations_on_a_tree_equal_those_on_a_plain_one():
    m, s = here()
    seed, plain = SEED or random.randrange(1 << 32), s.parent / "plain-tree"
    plain.mkdir()
    began = time.monotonic()
    fsx.tree_operations(m, plain, OPS // 4, seed)
    print(f"# {OPS // 4} operations, seed {seed}, {OPS // 4 / (time.monotonic() - began):.0f} a second")
    d = subprocess.run(["diff", "-r", "--no-dereference", str(s), str(plain)], capture_output=True, text=True)
    equal((d.returncode, d.stdout[:2000]), (0, ""))
    shutil.rmtree(plain)


main(setup, teardown)
