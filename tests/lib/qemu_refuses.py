#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""QEMU behind a monitor that a test commands (BULKHEAD_QEMU): the file $BULKHEAD_TEST_QMP holds lines "COMMAND refuse" and "COMMAND silent"; the
first is answered with an error, the second with nothing."""
import ctypes
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading

MONITOR = "socket,id=monitor,fd="
argv = sys.argv[1:]
if not any(a.startswith(MONITOR) for a in argv):  # asked for its version
    os.execvp("qemu-system-x86_64", ["qemu-system-x86_64", *argv])
at = next(i for i, a in enumerate(argv) if a.startswith(MONITOR))
asker = socket.socket(fileno=int(argv[at][len(MONITOR):]))
asker.setblocking(True)
mine, its = socket.socketpair()
its.set_inheritable(True)
argv[at] = f"{MONITOR}{its.fileno()}"
asker.set_inheritable(False)
PR_SET_PDEATHSIG = 1
q = subprocess.Popen(["qemu-system-x86_64", *argv], close_fds=False, preexec_fn=lambda: ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
its.close()


def rules():
    try:
        return dict(line.split() for line in pathlib.Path(os.environ["BULKHEAD_TEST_QMP"]).read_text().splitlines())
    except OSError:
        return {}


def answers():
    while data := mine.recv(65536):
        asker.sendall(data)


def asked():
    for line in asker.makefile("rb"):
        how = rules().get(json.loads(line)["execute"])
        if how == "refuse":
            asker.sendall(json.dumps({"error": {"class": "GenericError", "desc": "not in this weather"}}).encode() + b"\n")
        elif how != "silent":
            mine.sendall(line)


for run in (answers, asked):
    threading.Thread(target=run, daemon=True).start()
status = q.wait()
if status < 0:
    os.kill(os.getpid(), -status)
sys.stdout.flush()
os._exit(status)
