#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What root in a guest tries in a live workspace to get at what is not its own, and what each attempt gets. Runs inside, by itself:

    attempts.py DIRECTORY    prints JSON, for each row what came of it

A row: Python, statements and a last expression, run in a process of its own in the workspace; and what must come: the name of an error, or the value.
`../outside` is the host's, beside the workspace: FILES of it hold MARK. tests/integration/test_workspace.py says what else is there.
"""
import ast
import ctypes
import errno
import fcntl
import json
import mmap
import os
import shutil
import stat
import struct
import sys

MARK = "the host's own"
libc = ctypes.CDLL(None, use_errno=True)
MS_REMOUNT, MS_BIND, MS_MOVE = 32, 4096, 8192
AT_FDCWD, AT_EMPTY_PATH, AT_SYMLINK_FOLLOW = -100, 0x1000, 0x400
EXCHANGE, WHITEOUT = 2, 4
S_IFCHR, S_IFBLK = stat.S_IFCHR, stat.S_IFBLK
CAPS = struct.pack("<IIIII", 0x02000001, 1 << 21, 0, 0, 0)  # cap_sys_admin, effective


def check(r):
    if r < 0:
        n = ctypes.get_errno()
        raise OSError(n, os.strerror(n))
    return r


def mount(src, dst, kind=None, flags=0):
    return check(libc.mount(os.fsencode(src), os.fsencode(dst), kind and kind.encode(), ctypes.c_ulong(flags), None))


def umount(at):
    return check(libc.umount2(os.fsencode(at), 2))


def renameat2(a, b, flags):
    return check(libc.renameat2(AT_FDCWD, os.fsencode(a), AT_FDCWD, os.fsencode(b), flags))


def linkat(fd, to):
    return check(libc.linkat(fd, b"", AT_FDCWD, os.fsencode(to), AT_EMPTY_PATH))


def read(path):
    with open(path) as f:
        return f.read()


def write(path, text="x", mode="w"):
    with open(path, mode) as f:
        return f.write(text)


def mode(path):
    return oct(stat.S_IMODE(os.stat(path).st_mode))


def handles(nodes):
    """Opens file handles made up from numbers: what they gave, besides ESTALE."""
    at, got = os.open(".", os.O_RDONLY), set()
    for node in nodes:
        for generation in (0, 1):
            for kind, body in ((0x81, struct.pack("<III", node >> 32, node & 0xffffffff, generation)), (1, struct.pack("<II", node & 0xffffffff, generation))):
                h = ctypes.create_string_buffer(struct.pack("<Ii", len(body), kind) + body)
                fd = libc.open_by_handle_at(at, h, os.O_RDONLY)
                if fd < 0:
                    if ctypes.get_errno() not in (errno.ESTALE, errno.EINVAL):
                        got.add(errno.errorcode[ctypes.get_errno()])
                    continue
                p = os.readlink(f"/proc/self/fd/{fd}")
                if not p.startswith(os.getcwd()):
                    got.add(p)
                os.close(fd)
    return sorted(got)


def guests_own(path):
    """Root makes the host's directory of that name on the guest's own disk: it is another one."""
    os.makedirs(path, exist_ok=True)
    return sorted(os.listdir(path))


ROWS = [
    # by name
    ("read('../outside/secret')", "ENOENT"), ("read('escape/secret')", "ENOENT"), ("read('escape-file')", "ENOENT"), ("write('escape-file')", "ENOENT"),
    ("write('escape/secret')", "ENOENT"), ("write('escape/new')", "ENOENT"), ("os.unlink('escape/secret')", "ENOENT"), ("os.chdir('escape')", "ENOENT"),
    ("os.mkdir('a1'); os.symlink('../../outside', 'a1/b'); read('a1/b/secret')", "ENOENT"),
    ("os.symlink('/proc/self/root/../outside', 'r'); read('r/secret')", "ENOENT"), ("os.symlink('../outside', 'x'); os.rmdir('x/secret')", "ENOENT"),
    ("os.open('../outside/secret', os.O_RDONLY, dir_fd=os.open('.', os.O_RDONLY))", "ENOENT"),
    ("os.rename('escape', 'e2'); read('e2/secret')", "ENOENT"), ("os.listdir('..').count('outside')", 0),
    ("os.mkdir('q'); os.listdir('q/../..').count('outside')", 0), ("os.rename('..', 'up')", "EBUSY"), ("os.rename('q', '../q')", "EXDEV"),
    ("os.mkdir('p'); os.mkdir('p/q'); os.rename('p/q', '../p')", "EXDEV"), ("os.rename('file', '../outside/file2')", "ENOENT"),
    ("os.link('file', '../outside/file2')", "ENOENT"), ("os.mkfifo('ff'); os.rename('ff', '../outside/ff')", "ENOENT"),
    ("open('\\0'.encode())", "ValueError"), ("os.mkdir('n' * 256)", "ENAMETOOLONG"), ("os.mkdir('a2/../../a3')", "ENOENT"),
    # a directory of the guest's own where the host's stands
    ("guests_own('../outside')", []), ("read('e2/secret')", "ENOENT"), ("write('e2/new'); os.listdir('e2')", ["new"]), ("os.link('file', '../outside/f')", "EXDEV"),
    ("os.rename('file', '../outside/f')", "EXDEV"), ("shutil.rmtree('../outside')", None), ("os.path.lexists('../outside')", False),
    # a file whose other name is outside
    ("write('linked')", "EPERM"), ("write('linked', mode='a')", "EPERM"), ("os.truncate('linked', 0)", "EPERM"), ("os.chmod('linked', 0o777)", "EPERM"),
    ("os.utime('linked', (1, 1))", "EPERM"), ("os.chown('linked', 0, 0)", "EPERM"), ("shutil.copyfile('/etc/passwd', 'linked')", "EPERM"),
    ("os.link('linked', 'second')", None), ("write('second')", "EPERM"), ("os.rename('linked', 'moved')", None), ("write('moved', mode='r+')", "EPERM"), ("os.setxattr('moved', 'user.a', b'v')", "EPERM"),
    ("os.open('moved', os.O_WRONLY | os.O_APPEND)", "EPERM"), ("os.open(f\"/proc/self/fd/{os.open('moved', os.O_RDONLY)}\", os.O_RDWR)", "EPERM"),
    ("mmap.mmap(os.open('moved', os.O_RDONLY), 4, prot=mmap.PROT_READ | mmap.PROT_WRITE)", "EACCES"),
    ("os.ftruncate(os.open('moved', os.O_RDONLY), 0)", "EINVAL"), ("os.posix_fallocate(os.open('moved', os.O_RDONLY), 0, 9)", "EBADF"),
    ("write('mine', 'y' * 9); os.copy_file_range(os.open('mine', os.O_RDONLY), os.open('moved', os.O_RDONLY), 9)", "EBADF"),
    ("fcntl.ioctl(os.open('moved', os.O_RDONLY), 0x40086602, struct.pack('<Q', 0x10))", "ENOTTY"),
    ("write('repl'); os.replace('repl', 'second'); read('moved').count(MARK)", 1),
    # what is no file
    ("os.mknod('disk', S_IFBLK | 0o666, os.makedev(8, 0))", "EPERM"), ("os.mknod('mem', S_IFCHR | 0o666, os.makedev(1, 1))", "EPERM"),
    ("os.mknod('null', S_IFCHR | 0o666, os.makedev(1, 3))", "EPERM"), ("os.mknod('kmsg', S_IFCHR | 0o666, os.makedev(1, 11))", "EPERM"),
    ("os.mknod('white', S_IFCHR, 0)", "EPERM"), ("renameat2('file', 'white', WHITEOUT)", "EINVAL"), ("open('f2', 'w'); os.path.lexists('white')", False),
    ("os.open('.', os.O_TMPFILE | os.O_RDWR)", "ENOTSUP"), ("linkat(os.open('/etc/passwd', os.O_RDONLY), 'passwd')", "EXDEV"),
    # mounts are the guest's own
    ("os.mkdir('over'); mount('/etc', 'over', None, MS_BIND); write('over/bh-attempt'); umount('over'); os.unlink('/etc/bh-attempt'); os.listdir('over')", []),
    ("mount('none', '.', None, MS_REMOUNT | MS_BIND); os.mknod('disk', S_IFBLK | 0o666, os.makedev(8, 0))", "EPERM"),
    ("mount('.', '/mnt', None, MS_BIND); os.chdir('/mnt'); os.chdir('..'); umount('/mnt'); os.getcwd()", "/"),
    ("mount(os.getcwd(), '/mnt', None, MS_BIND); os.path.lexists('/mnt/../outside'), umount('/mnt')", [False, 0]),
    # rights
    ("shutil.copy('/bin/sh', 's'); os.chmod('s', 0o4755); mode('s')", "0o755"), ("shutil.copy('/bin/sh', 's2'); os.chmod('s2', 0o2755); mode('s2')", "0o755"),
    ("os.close(os.open('s3', os.O_CREAT | os.O_WRONLY, 0o6777)); mode('s3')", "0o755"), ("os.mkdir('s4', 0o777); os.chmod('s4', 0o2777); mode('s4')", "0o777"),
    ("os.setxattr('s', 'security.capability', CAPS)", "ENOTSUP"), ("os.setxattr('s', 'trusted.overlay.opaque', b'y')", "ENOTSUP"),
    ("os.setxattr('s', 'system.posix_acl_access', struct.pack('<I', 2))", "ENOTSUP"), ("os.setxattr('s', 'security.selinux', b'x')", "ENOTSUP"),
    ("os.chown('file', 0, -1)", "EPERM"), ("os.chown('file', -1, 0)", "EPERM"), ("os.chown('file', 65534, 65534)", "EPERM"), ("os.chown('.', 0, 0)", "EPERM"),
    # names that are not shown
    ("read('.env')", "ENOENT"), ("os.stat('own.secret')", "ENOENT"), ("os.rename('.env', 'env')", "ENOENT"), ("os.link('.env', 'env')", "ENOENT"),
    ("os.rename('own.secret', 'mine')", "ENOENT"), ("os.unlink('.env')", "ENOENT"), ("os.truncate('.env', 0)", "ENOENT"), ("os.chmod('.env', 0o777)", "ENOENT"),
    ("os.rename('file', '.env')", "EPERM"), ("renameat2('file', '.env', EXCHANGE)", "ENOENT"), ("write('.env')", "EPERM"), ("os.mkdir('.env')", "EPERM"),
    ("os.symlink('x', '.env')", "EPERM"), ("os.mkfifo('.env')", "EPERM"), ("os.link('file', 'own.secret')", "EPERM"), ("os.mkdir('q/.ssh')", "EPERM"),
    ("sorted({'.env', 'own.secret'} & set(os.listdir('.')))", []), ("os.symlink('.env', 'toenv'); read('toenv')", "ENOENT"),
    # numbers instead of names
    ("handles([*range(4000), *(2**32 + i for i in range(200)), 2**63, 2**64 - 1])", []),
]


def attempt(text):
    *first, last = ast.parse(text).body
    exec(compile(ast.Module(first, []), text, "exec"), globals())
    return eval(compile(ast.Expression(last.value), text, "eval"), globals())


def in_a_child(where, text):
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(where)
            out = attempt(text)
        except OSError as e:
            out = errno.errorcode.get(e.errno, str(e))
        except Exception as e:
            out = type(e).__name__
        os.write(w, json.dumps(out, default=str).encode()[:60000])
        os._exit(0)
    os.close(w)
    with os.fdopen(r, "rb") as f:
        out = f.read()
    os.waitpid(pid, 0)
    return json.loads(out) if out else "died"


if __name__ == "__main__":
    os.umask(0o022)
    print(json.dumps([in_a_child(sys.argv[1], text) for text, _ in ROWS]))
