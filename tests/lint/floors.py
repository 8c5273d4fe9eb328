#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who may include whom, and what holds for every file: TAP.

The floors are those of the architecture: each folder includes only those named in its row (and itself). The second guard is linking: a
program links only its own archives, and the supervisor holds no TLS, terminal or HTTP/2 parser.
"""
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bulkhead import BUILD, TOP  # noqa: E402
from tap import Skip, case, main  # noqa: E402

LOW = ["core/base", "core/proto"]
FLOORS = {
    "core/base": [],
    "core/proto": ["core/base"],
    "core/loop": LOW,
    "core/jail": LOW,
    "core/client": LOW,
    "core/policy": LOW,
    "core/policytext": LOW + ["core/policy"],
    "vmm": LOW + ["core/loop", "core/jail"],
    "core/term": LOW + ["core/loop", "core/jail"],
    "netpolicy": LOW + ["core/loop", "core/jail", "core/policy"],
    "core/workspace": LOW + ["core/loop", "core/jail"],
    "core/review": LOW + ["core/loop", "core/jail"],
    "core/image": LOW,
    "core/kit": LOW,
    "core/secret": LOW,
    "core/supervisor": LOW + ["core/loop", "core/kit", "core/secret", "core/image", "core/policy", "core/policytext"],
    "tui": LOW + ["core/client"],
    "tui/cli": LOW + ["core/client", "core/image"],
    "guest": LOW,
}
# Single files a folder may take from above its row.
EXTRA = {"core/review": ["core/workspace/hide.h"], "core/supervisor": ["core/jail/jail.h"], "tui/cli": ["tui/dashboard.h"], "tui": ["tui/cli/cli.h", "tui/cli/cmd.h"]}
LINES_MAX = 650


def sources():
    for top in ("core", "vmm", "guest", "tui", "netpolicy", "tests"):
        for p in sorted((TOP / top).rglob("*.[ch]")):
            yield p


def folder(path):
    rel = str(path.relative_to(TOP).parent)
    while rel not in FLOORS and "/" in rel:
        rel = rel.rsplit("/", 1)[0]
    return rel if rel in FLOORS else None


def fail_if(problems):
    if problems:
        raise AssertionError("\n".join(problems))


@case
def includes_respect_the_floors():
    problems = []
    made = set(re.findall(r"^(\S+\.inc):", (TOP / "Makefile.am").read_text(), re.M))  # when it is built, from what lies beside it
    for p in sources():
        me = folder(p)
        if me is None:
            continue
        for n, line in enumerate(p.read_text().splitlines(), 1):
            m = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not m:
                continue
            target = TOP / m[1]
            if not target.exists() and m[1] not in made:
                problems.append(f"{p.relative_to(TOP)}:{n}: '{m[1]}' is not written from the top of the tree")
                continue
            other = folder(target)
            if other != me and other not in FLOORS[me] and m[1] not in EXTRA.get(me, []):
                problems.append(f"{p.relative_to(TOP)}:{n}: {me} may not include {m[1]}")
    fail_if(problems)


@case
def only_a_cpu_kind_knows_itself():
    "vmm/kvm/arch.h is all that the machine sees of x86: no other file includes from x86/, asks which CPU it is built for, or names its exits and chips"
    problems = []
    for p in sorted((TOP / "vmm").rglob("*.[ch]")):
        if p.parent == TOP / "vmm/kvm/x86" or p == TOP / "vmm/probe.c":  # the probe runs a guest of its own, of this CPU's instructions
            continue
        for n, line in enumerate(p.read_text().splitlines(), 1):
            if re.search(r'#\s*include\s+"vmm/kvm/x86/|__x86_64__|KVM_EXIT_IO\b|KVM_[GS]ET_(CPUID2|MSRS|LAPIC|SREGS|IRQCHIP)|KVM_SET_TSS_ADDR', line):
                problems.append(f"{p.relative_to(TOP)}:{n}: {line.strip()}")
    fail_if(problems)


@case
def every_source_says_its_licence_and_is_of_readable_size():
    problems = []
    for p in sources():
        text = p.read_text()
        if "SPDX-License-Identifier: Apache-2.0" not in text[:200]:
            problems.append(f"{p.relative_to(TOP)}: no SPDX line")
        if text.count("\n") > LINES_MAX:
            problems.append(f"{p.relative_to(TOP)}: {text.count(chr(10))} lines, at most {LINES_MAX}")
    fail_if(problems)


@case
def every_header_compiles_alone():
    flags = subprocess.run(["pkg-config", "--cflags", "ncursesw", "libuv", "jansson", "libseccomp", "vterm", "openssl", "libnghttp2", "fuse3"], capture_output=True, text=True).stdout.split()
    problems = []
    headers = [p for p in sources() if p.suffix == ".h" and folder(p)]
    for p in headers:
        unit = f'#include "{p.relative_to(TOP)}"\nextern int not_empty;\n'
        r = subprocess.run(["cc", "-std=gnu11", "-D_GNU_SOURCE", "-D_XOPEN_SOURCE_EXTENDED", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-I", str(TOP),
                            *flags, "-x", "c", "-"], input=unit, capture_output=True, text=True)
        if r.returncode:
            problems.append(f"{p.relative_to(TOP)}: {r.stderr.splitlines()[0] if r.stderr else '?'}")
    fail_if(problems)


@case
def the_supervisor_holds_no_parser_of_guest_bytes():
    program = BUILD / "bulkhead-supervisor"
    if not program.exists():
        raise Skip("bulkhead-supervisor is not built")
    symbols = subprocess.run(["nm", str(program)], capture_output=True, text=True, check=True).stdout
    found = [line for line in symbols.splitlines() if re.search(r" (SSL_|vterm_|nghttp2_|http_parser_|mux_parse|row_unpack)", line)]
    fail_if(found)


@case
def no_file_names_a_path_of_the_machine_it_was_written_on():
    problems = []
    listed = subprocess.run(["git", "-C", str(TOP), "ls-files"], capture_output=True, text=True)
    if listed.returncode:
        raise Skip("no git checkout")
    for name in listed.stdout.splitlines():
        p = TOP / name
        if not p.is_file() or p.is_symlink():
            continue
        text = p.read_bytes().replace(b"/proc/self/root/", b"")  # a way out of any tree, not a place here
        for bad in (b"/wo" + b"rk/", b"/ro" + b"ot/."):
            if bad in text:
                problems.append(f"{name}: holds {bad.decode()}")
    fail_if(problems)


main()
