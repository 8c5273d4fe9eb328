# SPDX-License-Identifier: Apache-2.0
"""A person at a terminal: a program under its own tmux server, keys in, screen out.

wait() polls the screen until a text is there; where the program tells of finished frames (BULKHEAD_TEST_SYNC_FD), frame()
waits for one. Every server has its own socket and dies with close().
"""
import os
import re
import signal
import subprocess
import tempfile
import time

from tap import PATIENCE


class Screen:
    def __init__(self, argv, cols=120, rows=40, env=None, term="tmux-256color", sync=True):
        self.tmp = tempfile.mkdtemp(prefix="bh-tmux-")
        self.sock = os.path.join(self.tmp, "s")
        self.fifo = os.path.join(self.tmp, "frames")
        self.frames = None
        e = dict(env or os.environ)
        e.pop("TMUX", None)
        e["TERM"] = "xterm-256color"
        if sync:
            os.mkfifo(self.fifo)
            self.frames = os.open(self.fifo, os.O_RDWR | os.O_NONBLOCK)
            script = 'exec 9<>"$0"; export BULKHEAD_TEST_SYNC_FD=9; exec "$@"'
            argv = ["sh", "-c", script, self.fifo, *argv]
        conf = os.path.join(self.tmp, "conf")
        with open(conf, "w") as f:
            f.write(f"set -g status off\nset -g default-terminal {term}\nset -sg escape-time 0\nset -g remain-on-exit on\n"
                    "set -g history-limit 5000\nset -ga terminal-overrides ',*:Tc'\nset -g mouse off\nset -g focus-events on\n"
                    "set -s set-clipboard on\n")
        self.e = e
        self.tmux("-f", conf, "new-session", "-d", "-x", str(cols), "-y", str(rows), *argv)

    def tmux(self, *args):
        r = subprocess.run(["tmux", "-u", "-S", self.sock, *args], env=self.e, capture_output=True, text=True, timeout=30)
        if r.returncode:
            raise AssertionError(f"tmux {args[0]}: {r.stderr.strip()}")
        return r.stdout

    def clipboard(self):
        """What the program put into the terminal's clipboard; None while that is nothing."""
        return self.tmux("show-buffer") if self.tmux("list-buffers") else None

    def keys(self, *keys):
        self.tmux("send-keys", "--", *keys)

    def type(self, text):
        self.tmux("send-keys", "-l", "--", text)

    def text(self, colour=False):
        return self.tmux("capture-pane", "-p", *(["-e"] if colour else []))

    def resize(self, cols, rows):
        self.tmux("resize-window", "-x", str(cols), "-y", str(rows))

    def dead(self):
        """The program's exit status (of a signal: negative), None while it runs."""
        server, dead, status, signo = self.tmux("display-message", "-p", "#{pid},#{pane_dead},#{pane_dead_status},#{pane_dead_signal}").strip().split(",")
        if dead != "1":
            return None
        if not status + signo:  # tmux 3.3 now and then misses the child's SIGCHLD and leaves a zombie: remind it
            os.kill(int(server), signal.SIGCHLD)
            return None
        return int(status) if status else -int(signo)

    def wait(self, pattern, seconds=30, gone=False):
        """Waits until the regular expression is (or is no longer) on the screen; returns the screen."""
        seconds *= PATIENCE
        end = time.monotonic() + seconds
        while True:
            s = self.text()
            if bool(re.search(pattern, s, re.M)) != gone:
                return s
            if time.monotonic() > end:
                raise AssertionError(f"waited {seconds} s for {'no ' if gone else ''}{pattern!r} on the screen:\n{s}")
            time.sleep(0.03)

    def frame(self, seconds=5):
        """Waits for the next finished frame."""
        end = time.monotonic() + seconds * PATIENCE
        while time.monotonic() < end:
            try:
                if os.read(self.frames, 4096):
                    return
            except BlockingIOError:
                time.sleep(0.005)
        raise AssertionError("no frame came")

    def close(self):
        try:
            self.tmux("kill-server")
        except (AssertionError, subprocess.TimeoutExpired):
            pass
        if self.frames is not None:
            os.close(self.frames)
        subprocess.run(["rm", "-rf", self.tmp], check=False)

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.close()
