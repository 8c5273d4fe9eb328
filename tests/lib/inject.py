# SPDX-License-Identifier: Apache-2.0
"""Makes another process do a system call, as code that took it over would: by ptrace, which its jail does not keep from root. x86_64 only."""
import ctypes
import os
import platform
import signal

from tap import Skip

ATTACH, DETACH, GETREGS, SETREGS = 16, 17, 12, 13
R10, R8, RAX, RDX, RSI, RDI, ORIG_RAX, RIP = 7, 9, 10, 12, 13, 14, 15, 16


def system_call(pid, number, *args):
    """The process, which waits in some system call, does this one next."""
    if platform.machine() != "x86_64":
        raise Skip("registers of x86_64")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    regs = (ctypes.c_uint64 * 27)()
    if libc.ptrace(ATTACH, pid, None, None) < 0:
        raise Skip(f"ptrace is not allowed here: {os.strerror(ctypes.get_errno())}")
    os.waitpid(pid, 0)
    if libc.ptrace(GETREGS, pid, None, ctypes.addressof(regs)) < 0:
        raise OSError(ctypes.get_errno(), "PTRACE_GETREGS")
    regs[RIP] -= 2  # the syscall instruction it stands behind
    regs[RAX] = number
    regs[ORIG_RAX] = (1 << 64) - 1  # nothing to restart
    for at, value in zip((RDI, RSI, RDX, R10, R8), args):
        regs[at] = value
    if libc.ptrace(SETREGS, pid, None, ctypes.addressof(regs)) < 0:
        raise OSError(ctypes.get_errno(), "PTRACE_SETREGS")
    libc.ptrace(DETACH, pid, None, signal.SIGCONT)
