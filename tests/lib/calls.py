# SPDX-License-Identifier: Apache-2.0
"""What POSIX says of every call on every kind of object: the cases, asked of two directories that hold the same objects.

The cases are made, not listed: each call meets each object, each two-name call each pair of objects. tests/workspace/test_posix.py asks them of a share on
this machine's kernel, tests/integration/test_conform.py in a guest, where this file runs by itself:

    calls.py DIRECTORY PLAIN EVERY FIRST agent|turns    every EVERY-th case from FIRST on, by the agent, or by root and the agent turn by turn; case i has
                                                        its own objects in DIRECTORY/i, which the host made, none with two names

prints JSON: how many, what differs from the plain directory, and what the tree of each case is to be.
"""
import ctypes
import errno
import hashlib
import json
import os
import pathlib
import socket
import stat
import sys

libc = ctypes.CDLL(None, use_errno=True)


def renameat2(a, b, flags):
    if libc.renameat2(-100, os.fsencode(a), -100, os.fsencode(b), flags) < 0:
        n = ctypes.get_errno()
        raise OSError(n, os.strerror(n))


LONG = "n" * 255


def make_objects(d, linked=True):
    """One of each kind. Only things whose owner is the share's own, so that both sides may do the same. linked: two names are one file's."""
    os.mkdir(d / "dir")
    os.mkdir(d / "full")
    for p, text in (("file", "contents"), ("full/inner", "x"), ("empty", ""), (LONG, "long"), ("other", "others")):
        (d / p).write_text(text)
    os.mkdir(d / "full/sub")
    os.symlink("file", d / "tofile")
    os.symlink("dir", d / "todir")
    os.symlink("nowhere", d / "dangling")
    os.symlink("loop2", d / "loop1")
    os.symlink("loop1", d / "loop2")
    os.mkfifo(d / "fifo")
    s = socket.socket(socket.AF_UNIX)
    at = os.open(d, os.O_PATH)  # a socket's address is short
    s.bind(f"/proc/self/fd/{at}/sock")
    os.close(at)
    s.close()
    if linked:
        os.link(d / "other", d / "linked")
    else:
        (d / "linked").write_text("others")
    os.chmod(d / "empty", 0o400)


OBJECTS = ["file", "empty", "dir", "full", "full/inner", "tofile", "todir", "dangling", "loop1", "fifo", "sock", "linked", LONG, "absent", "absent/below", "file/below",
           "todir/new", "loop1/x", "dangling/x", LONG + "n", "full/" + LONG, "dir/", "file/", "absent/", "todir/", ".", "dir/.", "dir/..", "full/../file", "p/" * 2100 + "f"]


def opened(path, flags, mode=0o640):
    fd = os.open(path, flags | os.O_NONBLOCK, mode)
    try:
        st = os.fstat(fd)
        out = [stat.S_IFMT(st.st_mode), st.st_size if stat.S_ISREG(st.st_mode) else 0]
        if stat.S_ISREG(st.st_mode) and flags & os.O_ACCMODE != os.O_RDONLY:
            out.append(os.write(fd, b"0123"))
            out.append(os.lseek(fd, 0, os.SEEK_CUR))
        elif stat.S_ISREG(st.st_mode):
            out.append(os.read(fd, 100))
        return out
    finally:
        os.close(fd)


def seen(st):
    return [stat.S_IFMT(st.st_mode), stat.S_IMODE(st.st_mode), st.st_nlink if not stat.S_ISDIR(st.st_mode) else 0, st.st_size if stat.S_ISREG(st.st_mode) else 0]


def bind(path):
    """A socket of that name, whatever its length: relative to its directory."""
    head, _, tail = path.rstrip("/").rpartition("/")
    at = os.open(head, os.O_PATH | os.O_DIRECTORY)
    s = socket.socket(socket.AF_UNIX)
    try:
        s.bind(f"/proc/self/fd/{at}/{tail[:60]}")
    finally:
        s.close()
        os.close(at)


O = os
ONE = {
    "stat": lambda p: seen(os.stat(p)), "lstat": lambda p: seen(os.lstat(p)), "access": lambda p: [os.access(p, m) for m in (os.F_OK, os.R_OK, os.X_OK)],
    "open r": lambda p: opened(p, O.O_RDONLY), "open w": lambda p: opened(p, O.O_WRONLY), "open rw": lambda p: opened(p, O.O_RDWR),
    "open w trunc": lambda p: opened(p, O.O_WRONLY | O.O_TRUNC), "open rw append": lambda p: opened(p, O.O_RDWR | O.O_APPEND),
    "open creat": lambda p: opened(p, O.O_RDWR | O.O_CREAT), "open creat excl": lambda p: opened(p, O.O_RDWR | O.O_CREAT | O.O_EXCL),
    "open creat trunc": lambda p: opened(p, O.O_WRONLY | O.O_CREAT | O.O_TRUNC), "open creat 0": lambda p: opened(p, O.O_WRONLY | O.O_CREAT | O.O_EXCL, 0),
    "open nofollow": lambda p: opened(p, O.O_RDONLY | O.O_NOFOLLOW), "open directory": lambda p: opened(p, O.O_RDONLY | O.O_DIRECTORY),
    "open path": lambda p: opened(p, O.O_PATH)[:1], "open creat nofollow": lambda p: opened(p, O.O_WRONLY | O.O_CREAT | O.O_NOFOLLOW),
    "mkdir": lambda p: os.mkdir(p, 0o751), "rmdir": os.rmdir, "unlink": os.unlink, "readlink": os.readlink, "listdir": lambda p: sorted(os.listdir(p)),
    "mkfifo": lambda p: os.mkfifo(p, 0o604), "mknod file": lambda p: os.mknod(p, 0o640 | stat.S_IFREG), "symlink": lambda p: os.symlink("text", p),
    "symlink empty": lambda p: os.symlink("", p), "symlink 4095": lambda p: os.symlink("t" * 4095, p), "bind": bind,
    "truncate 0": lambda p: os.truncate(p, 0), "truncate 3": lambda p: os.truncate(p, 3), "truncate 5000000000": lambda p: os.truncate(p, 5_000_000_000),
    "truncate -1": lambda p: os.truncate(p, -1), "chmod 600": lambda p: os.chmod(p, 0o600), "chmod 0": lambda p: os.chmod(p, 0), "chmod 1777": lambda p: os.chmod(p, 0o1777),
    "utime": lambda p: (os.utime(p, ns=(123456789, 987654321)), os.stat(p).st_mtime_ns), "lutime": lambda p: (os.utime(p, ns=(1, 999999999), follow_symlinks=False), os.lstat(p).st_mtime_ns),
    "utime before 1970": lambda p: (os.utime(p, ns=(-5_000_000_000, -1_500_000_000)), os.stat(p).st_mtime_ns),
    "utime far": lambda p: (os.utime(p, (2**33, 2**33)), os.stat(p).st_mtime), "setxattr": lambda p: (os.setxattr(p, "user.a", b"v"), os.getxattr(p, "user.a"), os.listxattr(p)),
    "setxattr replace": lambda p: os.setxattr(p, "user.a", b"v", os.XATTR_REPLACE), "getxattr": lambda p: os.getxattr(p, "user.none"),
    "removexattr": lambda p: os.removexattr(p, "user.none"), "setxattr empty": lambda p: (os.setxattr(p, "user.e", b""), os.getxattr(p, "user.e")),
    "statvfs": lambda p: os.statvfs(p).f_namemax, "chdir": lambda p: (os.chdir(p), os.chdir("/"))[1],
}
TWO = {
    "rename": os.rename, "rename noreplace": lambda a, b: renameat2(a, b, 1), "rename exchange": lambda a, b: renameat2(a, b, 2), "link": lambda a, b: os.link(a, b, follow_symlinks=False),
    "link follow": lambda a, b: os.link(a, b, follow_symlinks=True),
}


def tree(d):
    """Everything below d that both sides can agree on."""
    out = {}
    for base, dirs, files in os.walk(d):
        for n in [*dirs, *files]:
            p = os.path.join(base, n)
            try:
                st = os.lstat(p)
            except PermissionError:  # its directory may be read, and not entered
                out[os.path.relpath(p, d)] = ["not for us"]
                continue
            what = seen(st)
            if stat.S_ISLNK(st.st_mode):
                what = [os.readlink(p)]
            elif stat.S_ISREG(st.st_mode) and st.st_size < 100000:
                try:
                    with open(p, "rb") as f:
                        what.append(f.read())
                except PermissionError:
                    what.append("not for us")
            out[os.path.relpath(p, d)] = what
    return out


def outcome(fn, *paths):
    try:
        return ["ok", fn(*paths)]
    except OSError as e:
        return ["fails", errno.errorcode.get(e.errno, e.errno)]


PAIRS = ["file", "dir", "full", "tofile", "todir", "dangling", "fifo", "linked", "other", "absent", "full/inner", "full/new", "dir/new", "file/below", "dir/", "file/", "absent/", LONG + "n", ".",
         "dir/.", "full/sub", "full/sub/deeper"]


def cases():
    """(name, call, relative paths...), all of them in an order that stays."""
    yield from ((n, ONE[n], o) for n in sorted(ONE) for o in OBJECTS)
    yield from ((n, TWO[n], a, b) for n in TWO for a in PAIRS for b in PAIRS)


def digest(d):
    return hashlib.sha256(repr(sorted(tree(d).items())).encode()).hexdigest()


def as_user(uid, fn, *args):
    """What fn gives when that user calls it."""
    os.setegid(uid)
    os.seteuid(uid)
    try:
        return fn(*args)
    finally:
        os.seteuid(0)
        os.setegid(0)


def inside(share, plain, every, first, turns):
    wrong, digests = [], []
    share, plain = pathlib.Path(share).absolute(), pathlib.Path(plain).absolute()
    chosen = list(cases())[first::every]
    os.setgroups([])
    os.umask(0o022)
    for i, (name, fn, *rel) in enumerate(chosen):
        # A share does for root what the host's user may do, and no more: there it is only the agent who is compared.
        uid, looks = (1000 * (i % 2), 0) if turns else (1000, 1000)
        m, p = share / str(i), plain / str(i)
        as_user(1000, os.mkdir, p)
        as_user(1000, make_objects, p, False)
        got, want = (as_user(uid, outcome, fn, *(f"{d}/{r}" for r in rel)) for d in (m, p))
        now, there = as_user(looks, tree, p), as_user(looks, tree, m)
        digests.append(digest(p))
        if got != want or now != there:
            text = f"{i} {name} {[r if len(r) < 40 else r[:12] + '...' + str(len(r)) for r in rel]} of {uid}: {got!s:.150}, plain {want!s:.150}"
            wrong.append(text + f"; trees differ in { {k: (there.get(k), now.get(k)) for k in {**now, **there} if now.get(k) != there.get(k)} !s:.400}")
    return {"n": len(chosen), "wrong": wrong, "digests": digests}


if __name__ == "__main__":
    print(json.dumps(inside(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5] == "turns")))
