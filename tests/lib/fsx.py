# SPDX-License-Identifier: Apache-2.0
"""Random operations on two files, or two trees, at once: each must give the same on both. After fsx of the NFS test suites, written anew.

tests/workspace/test_share.py runs them on this machine's kernel, tests/integration/test_conform.py in a guest, where this file runs by itself:

    fsx.py file|tree|moves DIRECTORY PLAIN OPERATIONS SEED
"""
import ctypes
import errno
import mmap
import os
import pathlib
import random
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)


class Fsx:
    """Random operations on two files at once: one of the share, one of a plain directory."""

    SIZE = 1 << 18

    def __init__(self, a, b, seed):
        self.rnd = random.Random(seed)
        self.fds = [os.open(p, os.O_RDWR | os.O_CREAT) for p in (a, b)]
        self.paths = (a, b)
        self.log = []

    def both(self, fn):
        r = [fn(fd) for fd in self.fds]
        if r[0] != r[1]:
            raise AssertionError("differs after:\n" + "\n".join(self.log[-30:]))

    def step(self):
        rnd = self.rnd
        op = rnd.choices(("read", "write", "truncate", "mapread", "mapwrite", "reopen", "punch", "copy", "fsync", "stat"),
                         (30, 30, 6, 10, 10, 2, 3, 3, 1, 5))[0]
        at, n = rnd.randrange(self.SIZE), rnd.randrange(1, 40000)
        self.log.append(f"{op} {at} {n}")
        if op == "read":
            self.both(lambda fd: os.pread(fd, n, at))
        elif op == "write":
            data = rnd.randbytes(16) * (n // 16 + 1)
            self.both(lambda fd: os.pwrite(fd, data[:n], at))
        elif op == "truncate":
            self.both(lambda fd: os.ftruncate(fd, at))
        elif op in ("mapread", "mapwrite"):
            size = os.fstat(self.fds[1]).st_size
            if size < 2:
                return
            at %= size - 1
            n = min(n, size - at)
            data = rnd.randbytes(n)

            def mapped(fd):
                with mmap.mmap(fd, size) as mm:
                    if op == "mapwrite":
                        mm[at:at + n] = data
                    return mm[at:at + n]
            self.both(mapped)
        elif op == "reopen":
            for i in range(2):
                os.close(self.fds[i])
                self.fds[i] = os.open(self.paths[i], os.O_RDWR)
        elif op == "punch":
            self.both(lambda fd: libc.fallocate(fd, 3, ctypes.c_long(at), ctypes.c_long(n)))
        elif op == "copy":
            to = rnd.randrange(self.SIZE)
            if at < to + n and to < at + n:
                return

            def copy(fd):
                left, src, dst = n, at, to
                while left > 0 and (k := os.copy_file_range(fd, fd, left, src, dst)) > 0:
                    left, src, dst = left - k, src + k, dst + k
                return left
            self.both(copy)
        elif op == "fsync":
            self.both(lambda fd: os.fsync(fd))
        else:
            self.both(lambda fd: os.fstat(fd).st_size)

    def close(self):
        for fd in self.fds:
            os.close(fd)


def file_operations(a, b, count, seed):
    f = Fsx(a, b, seed)
    for _ in range(count):
        f.step()
    f.close()
    if pathlib.Path(a).read_bytes() != pathlib.Path(b).read_bytes():
        raise AssertionError("the files differ at the end")


LETTERS, DIGITS = "abcdefgh", "123"


def tree_names():
    return [x + y for x in LETTERS for y in DIGITS]


def start_tree(d, seed):
    """What tree_operations may begin with: files and directories of the names it uses."""
    rnd = random.Random(seed)
    for n in tree_names()[::2]:
        if rnd.randrange(2):
            (d / n).mkdir()
            for k in rnd.sample(tree_names(), 6):
                (d / n / k).write_bytes(rnd.randbytes(rnd.randrange(200)))
        else:
            (d / n).write_bytes(rnd.randbytes(rnd.randrange(200)))


def tree_operations(a, b, count, seed, links=True):
    """Both hold the same at the beginning. links: hard ones too."""
    roots = [pathlib.Path(a), pathlib.Path(b)]
    rnd, log = random.Random(seed), []
    dirs = [".", *(e.name for e in sorted(roots[1].iterdir()) if e.is_dir() and not e.is_symlink())]

    def name():
        return os.path.join(rnd.choice(dirs), rnd.choice(LETTERS) + rnd.choice(DIGITS))

    def attempt(fn):
        out = []
        for root in roots:
            try:
                out.append(("ok", fn(root)))
            except OSError as e:
                out.append(("error", errno.errorcode.get(e.errno)))
        if out[0] != out[1]:
            raise AssertionError(f"{out[0]}, plain {out[1]} after:\n" + "\n".join(log[-20:]))
        return out[0]

    for _ in range(count):
        x, y, op = name(), name(), rnd.randrange(10)
        log.append(f"{op} {x} {y}")
        if op == 0:
            if attempt(lambda r: os.mkdir(r / x))[0] == "ok" and len(dirs) < 200:
                dirs.append(x)
        elif op == 1:
            attempt(lambda r: os.rmdir(r / x))
        elif op == 2:
            attempt(lambda r: os.unlink(r / x))
        elif op == 3:
            attempt(lambda r: os.rename(r / x, r / y))
        elif op == 4:
            if links:
                attempt(lambda r: os.link(r / x, r / y, follow_symlinks=False))
        elif op == 5:
            attempt(lambda r: os.symlink(y, r / x))
        elif op == 6:
            attempt(lambda r: os.readlink(r / x))
        elif op in (7, 8):
            data = rnd.randbytes(rnd.randrange(200))
            if not (roots[1] / x).is_symlink():
                attempt(lambda r: (r / x).write_bytes(data) if op == 7 else (r / x).read_bytes())
        else:
            attempt(lambda r: sorted(os.listdir((r / x).parent)))


if __name__ == "__main__":
    what, where, plain, n, s = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
    began = time.monotonic()
    (file_operations if what == "file" else tree_operations)(where, plain, n, s, **({"links": False} if what == "moves" else {}))
    print(f"{n / (time.monotonic() - began):.0f}")
