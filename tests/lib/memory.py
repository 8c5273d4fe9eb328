# SPDX-License-Identifier: Apache-2.0
"""What stands in another process's memory, and in which kind of it."""
import re

from tap import Skip


def outside_locked(pid, value):
    """The places of these bytes that may go to swap or into a core dump; what stands nowhere is an error of the search."""
    places = places_of(pid, value)
    if not places:
        raise AssertionError("not even in its own page: the search finds nothing")
    return [p for p in places if "lo" not in p[1] or "dd" not in p[1]]


def places_of(pid, value):
    """Where the bytes stand in a process's writable memory: (mapping, its flags) each."""
    found, at = [], None
    for line in open(f"/proc/{pid}/smaps"):
        if m := re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+\s*(.*)", line):
            at = m
        elif line.startswith("VmFlags:") and at[3].startswith("rw"):
            try:
                with open(f"/proc/{pid}/mem", "rb") as f:
                    f.seek(int(at[1], 16))
                    data = f.read(int(at[2], 16) - int(at[1], 16))
            except PermissionError:
                raise Skip("this process may not read another's memory") from None
            except OSError:
                continue
            found += [(at[4] or "anonymous", line.split()[1:])] * data.count(value)
    return found
