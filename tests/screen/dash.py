# SPDX-License-Identifier: Apache-2.0
"""What the screen tests share: the real dashboard under tmux, golden screens as text."""
import os
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import bulkhead  # noqa: E402
from screen import Screen  # noqa: E402
from tap import wait_for  # noqa: E402

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden"
SIZES = ((80, 24), (120, 40), (200, 60))
THEMES = ("default-dark", "light", "high-contrast", "mono", "solarized-dark", "gruvbox-dark", "nord", "catppuccin-mocha")


def dashboard(env, *args, cols=120, rows=40, **extra):
    """The dashboard (or `bulkhead ARGS`) as a person sees it."""
    return Screen([env.program, *args], cols=cols, rows=rows, env={**env.env, "TZ": "UTC", "COLORTERM": "truecolor", **extra})


def normal(text):
    """A screen without what changes from run to run: clock, load and memory of this machine, times of the log."""
    lines = text.rstrip("\n").split("\n")
    lines[0] = re.sub(r"cpu +\d+% · mem [\d.]+[BKMGT]/[\d.]+[BKMGT]", "cpu and memory", lines[0])
    lines[0] = re.sub(r" +(\S* *)\d\d:\d\d$", "  HH:MM", lines[0])
    lines = [re.sub(r"\d\d:\d\d:\d\d", "HH:MM:SS", line) for line in lines]
    lines = [re.sub(r"pid \d+ *", "pid N", line) for line in lines]
    return "\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n"


def still(screen):
    """The screen once two looks at it are the same: tmux may show half a frame."""
    last = [None]

    def same():
        before, last[0] = last[0], screen.text()
        return before == last[0]

    wait_for(same, 20, "a still picture", every=0.1)
    return last[0]


def golden(name, screen):
    path = GOLDEN / f"{name}.txt"
    got = normal(still(screen))
    if os.environ.get("BULKHEAD_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(got)
    want = path.read_text()
    if got != want:
        raise AssertionError(f"{name} differs:\n--- want\n{want}\n--- got\n{got}")


def is_whole(screen, cols, rows):
    lines = screen.text().split("\n")
    widest = max(len(line) for line in lines)
    return len(lines) > rows - 1 and lines[0].startswith((" bulkhead", " bh")) and re.search("detach|help", lines[rows - 1]) and \
        widest <= cols and (cols < 100 or lines[rows - 2].count("┘") >= 2)


def whole(screen, cols, rows):
    """Waits until the frame is drawn whole: header first, footer last, boxes closed, no line wider than the screen. tmux tells a program of a new size
    up to a quarter of a second after it has cut its picture, so a frame of before may be seen first."""
    wait_for(lambda: is_whole(screen, cols, rows), 5, f"a whole frame; the screen is\n{screen.text()}")


__all__ = ["Screen", "still", "bulkhead", "dashboard", "golden", "whole", "normal", "SIZES", "THEMES"]
