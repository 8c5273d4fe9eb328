#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The command line as a person uses it, on a really booted sandbox; docker inside it."""
import hashlib
import json
import os
import pathlib
import random
import re
import select
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bulkhead import Env  # noqa: E402
from screen import Screen  # noqa: E402
from tap import case, contains, equal, main, wait_for  # noqa: E402

env = None
work = None


def set_up():
    global env, work
    env = Env()
    work = pathlib.Path(tempfile.mkdtemp(prefix="bh-cli-"))
    env.run("image", "build", ok=0, timeout=900)


def tear_down():
    env.close()
    subprocess.run(["rm", "-rf", str(work)], check=False)


def inside(*argv, **kw):
    return env.run("exec", "blue", "--", *argv, **kw)


@case
def help_is_everywhere():
    "every command has --help with an example, and a list of all of them"
    def listed(*group):
        text = env.run(*group, "--help", ok=0).stdout
        head = text.split("\nOptions:")[0].split("\nExamples:")[0]
        return [m[1] for line in head.splitlines() if (m := re.match(r"  ([a-z]+) {2,}\S", line))]

    commands = [(c,) for c in listed()]
    assert {("run",), ("fetch",), ("diff",), ("apply",), ("discard",), ("undo",), ("policy",), ("version",)} <= set(commands), commands
    for group in [c for c in commands if re.search(r"^Commands:", env.run(*c, "--help", ok=0).stdout, re.M)]:
        commands += [(*group, c) for c in listed(*group)]
    assert {("image", "build"), ("policy", "check"), ("secret", "set"), ("audit", "verify")} <= set(commands), commands
    for c in commands:
        one = env.run(*c, "--help", ok=0).stdout
        contains(one, "Examples:")
        contains(one, f"bulkhead {c[0]}")


@case
def wrong_use_is_one_line_and_code_2():
    "typos get a suggestion, wrong use one line and exit code 2"
    r = env.run("exce", ok=2)
    contains(r.stderr, "did you mean 'exec'?")
    contains(env.run("ls", "--jsno", ok=2).stderr, "--json")
    env.run("exec", ok=2)
    env.run("cp", "a", "b", ok=2)
    for argv, says in ((("logs", "--lines", "0"), "from 1 to 2000"), (("logs", "-n", "2001"), "from 1 to 2000"), (("create", "--cpus", "32"), "from 1 to 16"),
                       (("create", "--memory", "lots"), "not a size"), (("run", "--disk", "x"), "--disk: 'x' is not a size"), (("stop", "-t", "x", "y"), "from 0 to 600"),
                       (("create", "--mode", "revew"), "did you mean 'review'?"), (("create", "-e", "=x"), "no assignment"), (("exec", "-e", "", "x", "true"), "no assignment"),
                       (("policy", "log", "-n", "x"), "from 1 to 5000"), (("fetch", "--max-size", "-1", "x"), "not a size"), (("run", "--rm"), "needs a terminal")):
        r = env.run(*argv, ok=2)
        contains(r.stderr.splitlines()[0], says)
    env.run("completion", "tcsh", ok=2)


@case
def an_empty_state_is_said():
    "ls of a fresh state says what to do; its JSON is an empty list"
    contains(env.run("ls", ok=0).stderr, "bulkhead run")
    equal(env.json("ls")["sandboxes"], [])


@case
def bad_parameters_are_refused_before_anything_starts():
    "names, paths and sizes that cannot be are refused with a sentence"
    for name in ("a/b", "..", "x\n", "\x1b[31m", "A", "n" * 60):
        r = env.run("create", "--name", name, "shell", str(work), ok=1)
        equal(len(r.stderr.strip().splitlines()), 1, repr(name))
        assert "\x1b" not in r.stderr
    contains(env.run("create", "shell", "/nonexistent/dir", ok=1).stderr, "does not exist")
    contains(env.run("create", "--memory", "900T", "shell", str(work), ok=1).stderr, "memory")
    contains(env.run("create", "--memory", "lots", "shell", str(work), ok=2).stderr, "not a size")
    contains(env.run("create", "shel", str(work), ok=1).stderr, "shell")
    contains(env.run("start", "nobody", ok=1).stderr, "no sandbox 'nobody'")
    equal(env.json("ls")["sandboxes"], [])


@case
def run_rm_prints_the_guests_kernel():
    "run --rm shell -- uname -r prints the guest's kernel and leaves nothing"
    r = env.run("run", "--rm", "shell", str(work), "--", "uname", "-r", ok=0, timeout=300)
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", r.stdout), r.stdout
    assert r.stdout.strip() != os.uname().release
    equal(env.json("ls")["sandboxes"], [])
    equal(env.run("run", "--rm", "shell", str(work), "--", "sh", "-c", "exit 9", timeout=300).returncode, 9)


@case
def a_second_run_uses_the_sandbox_of_the_directory():
    "create, start, and a second run on the same directory takes what is there"
    equal(env.run("create", "--name", "blue", "-e", "COLOUR=blue", "shell", str(work), ok=0).stdout, "blue\n")
    contains(env.run("create", "--name", "blue", "shell", str(work), ok=1).stderr, "already")
    env.run("start", "blue", ok=0, timeout=300)
    r = env.run("run", str(work), "--", "printenv", "COLOUR", ok=0)
    equal(r.stdout, "blue\n")
    contains(r.stderr, "'blue'")
    contains(env.run("exec", "blu", "--", "true", ok=125).stderr, "blue")


def at_terminal(*argv, answer=None, asks=None):
    """What `bulkhead ARGS` leaves on a terminal, its lines joined, and its exit status."""
    with Screen(["sh", "-c", '"$@"; echo "ended with $?"; read x', "sh", env.program, *map(str, argv)], env=env.env, sync=False) as s:
        if asks:
            s.wait(re.escape(asks))
            s.keys(*answer)
        text = s.wait(r"^ended with \d+", 60).replace("\n", "").split("ended with ")
        return text[0], int(text[1])


@case
def a_terminal_is_told_what_failed():
    "on a terminal: a command that is not found or not executable has its sentence and its exit status, one that ran has its own"
    for argv, says, status in ((("attach", "blue", "77"), "bulkhead: sandbox 'blue' has no session 77", 1),
                               (("exec", "-it", "blue", "no-such-command"), "bulkhead: ", 127), (("exec", "-it", "blue", "/etc/passwd"), "bulkhead: ", 126),
                               (("run", "--name", "blue", work, "--", "no-such-command"), "bulkhead: ", 127), (("exec", "-it", "blue", "sh", "-c", "exit 3"), "", 3)):
        text, got = at_terminal(*argv)
        equal(got, status, f"{argv}: {text}")
        contains(text, says)
        assert status not in (126, 127) or str(argv[-1]) in text, text


@case
def run_opens_the_sandbox_that_is_there():
    "on a terminal a second run asks; Enter uses the sandbox, which opens in the dashboard"
    with Screen([env.program, "run", str(work)], env=env.env, sync=False) as s:
        s.wait(r"already: 'blue'\. \[u\]se it or make a \[n\]ew one\? \[U/n\]")
        s.keys("Enter")
        s.wait("q detach")
        s.keys("q")
        equal(wait_for(lambda: (s.dead(),) if s.dead() is not None else None, 20, "the dashboard to end"), (0,))


@case
def exec_passes_everything():
    "streams apart, exit statuses, signals, users, directories, variables"
    r = inside("sh", "-c", "echo out; echo err >&2; exit 3")
    equal((r.returncode, r.stdout, r.stderr), (3, "out\n", "err\n"))
    equal(inside("cat", input="in\n").stdout, "in\n")
    equal(inside("sh", "-c", "kill -9 $$").returncode, 137)
    equal(inside("no-such-command").returncode, 127)
    equal(inside("/etc/passwd").returncode, 126)
    equal(env.run("exec", "-u", "root", "-w", "/etc", "-e", "A=b c", "blue", "--", "sh", "-c", 'echo "$(id -un) $PWD $A"', ok=0).stdout, "root /etc b c\n")
    equal(inside("id", "-un").stdout, "agent\n")
    equal(inside("sudo", "-n", "id", "-u").stdout, "0\n")
    equal(inside("pwd").stdout, f"{work}\n")


@case
def an_interrupt_reaches_the_command():
    "SIGINT goes to the command, whose status comes back"
    p = subprocess.Popen([env.program, "exec", "blue", "--", "sh", "-c", "trap 'echo got; exit 5' INT; echo ready; while :; do sleep 0.1; done"],
                         env=env.env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    equal(p.stdout.readline(), b"ready\n")
    p.send_signal(signal.SIGINT)
    equal(p.stdout.read(), b"got\n")
    equal(p.wait(30), 5)


@case
def a_hundred_megabytes_come_and_go_intact():
    "100 MB through exec in both directions, checksums equal"
    data = random.Random(1).randbytes(1 << 20) * 100
    r = env.run("exec", "blue", "--", "sha256sum", input=data, text=False, ok=0, timeout=600)
    equal(r.stdout.split()[0].decode(), hashlib.sha256(data).hexdigest())
    r = env.run("exec", "blue", "--", "sh", "-c", "head -c 100000000 /dev/urandom | tee /tmp/big", text=False, ok=0, timeout=600)
    equal(len(r.stdout), 100000000)
    equal(inside("sha256sum", "/tmp/big", timeout=300).stdout.split()[0], hashlib.sha256(r.stdout).hexdigest())
    inside("rm", "/tmp/big")


@case
def a_reader_that_goes_ends_the_command():
    "exec into a pipe whose reader is gone ends, and the sandbox goes on"
    r = subprocess.run(f"{env.program} exec blue -- yes | head -n 1", shell=True, env=env.env, capture_output=True, text=True, timeout=60)
    equal(r.stdout, "y\n")
    equal(inside("true").returncode, 0)


@case
def files_are_copied_both_ways():
    "cp of files and directories in and out, checksums, names with spaces"
    tree = work / "a tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "file").write_bytes(os.urandom(100000))
    (tree / "run").write_text("#!/bin/sh\n")
    (tree / "run").chmod(0o755)
    equal(env.run("cp", tree, "blue:/tmp/tree", ok=0).stderr, "")
    equal(inside("sha256sum", "/tmp/tree/deep/file").stdout.split()[0], hashlib.sha256((tree / "deep" / "file").read_bytes()).hexdigest())
    env.run("cp", "blue:/tmp/tree", work / "back", ok=0)
    equal((work / "back" / "deep" / "file").read_bytes(), (tree / "deep" / "file").read_bytes())
    assert os.access(work / "back" / "run", os.X_OK)
    env.run("cp", tree / "run", "blue:/home/agent/", ok=0)
    equal(inside("cat", "/home/agent/run").stdout, "#!/bin/sh\n")
    env.run("cp", "blue:/etc/hostname", work / "name", ok=0)
    equal((work / "name").read_text(), "blue\n")
    env.run("cp", work / "missing", "blue:/tmp/", ok=1)
    env.run("cp", "blue:/missing", work / "x", ok=1)
    big = work / "big"
    big.write_bytes(bytes(1 << 20))
    for where, says in (("blue:/etc/missing/", "cp: '/etc/missing/' is no directory\n"), ("grey:/tmp/", "bulkhead: there is no sandbox 'grey'\n")):
        equal(env.run("cp", big, where, ok=1).stderr, says)


@case
def a_guests_archive_cannot_leave_the_target():
    "symbolic links out of the target, devices and set-user-id bits do not arrive"
    inside("sh", "-c", "mkdir -p /tmp/evil && cd /tmp/evil && ln -sf /etc/passwd link && ln -sf ../../up up && echo x >s && chmod 4755 s", ok=0)
    r = env.run("cp", "blue:/tmp/evil", work / "evil")
    assert not (work / "evil" / "link").is_symlink() and not (work / "evil" / "up").is_symlink(), r.stderr
    equal((work / "evil" / "s").stat().st_mode & 0o7000, 0)
    contains(r.stderr, "not written")


@case
def every_listing_is_json_too():
    "ls, stats, logs, doctor, image ls, version and prune speak JSON"
    equal(env.json("ls")["sandboxes"][0]["state"], "running")
    env.run("create", "--name", "aside", "shell", str(work), ok=0)
    equal({s["name"] for s in env.json("stats")}, {"aside", "blue"})
    stats = env.json("stats", "blue")
    equal([s["name"] for s in stats], ["blue"])
    equal([line.split()[0] for line in env.run("stats", "blue", ok=0).stdout.splitlines()], ["NAME", "blue"])
    env.run("rm", "aside", ok=0)
    contains(env.run("logs", "aside", ok=0).stdout, "aside: removed")
    contains(env.run("logs", "never", ok=1).stderr, "no sandbox 'never'")
    contains(env.run("events", "never", ok=1, timeout=20).stderr, "no sandbox 'never'")
    assert stats[0]["stats"]["mem_total"] > 100 << 20, stats
    for line in env.run("logs", "--json", ok=0).stdout.splitlines():
        json.loads(line)
    contains(env.run("logs", "--console", "blue", ok=0).stdout, "serves the channel")
    checks = {c["name"]: c for c in json.loads(env.run("doctor", "--json").stdout)["checks"]}
    assert "kvm" in checks and "image" in checks, checks
    assert any(i["current"] for i in env.json("image", "ls"))
    contains(json.dumps(env.json("version")), "version")
    equal(env.json("prune", "--dry-run")["removed"], [])


@case
def completions_load():
    "bash completes sandboxes, images and values of options; zsh and fish take theirs"
    path = {**env.env, "PATH": f"{pathlib.Path(env.program).parent}:{env.env['PATH']}"}

    def bash(*typed):
        script = 'source <(bulkhead completion bash); COMP_WORDS=(bulkhead "$@") COMP_CWORD=$#; _bulkhead; echo "${COMPREPLY[*]}"'
        return subprocess.run(["bash", "-c", script, "bash", *typed], env=path, capture_output=True, text=True, check=True).stdout.split()

    image = next(i["id"] for i in env.json("image", "ls") if i["current"])
    for typed, offered in ((("exec", "bl"), ["blue"]), (("run", "--mode", ""), ["review", "live", "ro", "clone", "none"]), (("run", "--backend", "k"), ["kvm"]),
                           (("run", "--cpus", ""), []), (("run", "--cpus", "-"), []), (("image", "rm", image[:-1]), [image]), (("policy", "ls", "-s", ""), ["blue"]),
                           (("policy", "log", "--verdict", "d"), ["deny"]), (("completion", "z"), ["zsh"]), (("stop", "--ti"), ["--time"]), (("po",), ["policy", "ports"])):
        equal(bash(*typed), offered, typed)
    for shell in ("bash", "zsh", "fish"):
        script = env.run("completion", shell, ok=0).stdout
        r = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, timeout=30)
        equal((r.returncode, r.stderr), (0, ""), shell)
    zsh = subprocess.run(["zsh", "-fc", "autoload -U compinit; compinit -u -D; source <(bulkhead completion zsh); print $_comps[bulkhead]"], env=path,
                         capture_output=True, text=True, timeout=60)
    equal((zsh.stdout, zsh.stderr), ("_bulkhead\n", ""))
    fish = subprocess.run(["fish", "-c", "bulkhead completion fish | source; complete -C 'bulkhead '; complete -C 'bulkhead run --mode '; complete -C 'bulkhead exec bl'"],
                          env={**path, "HOME": str(work)}, capture_output=True, text=True, timeout=60)
    contains(fish.stdout, "policy\trules for what sandboxes may reach\n")
    contains(fish.stdout, "review\t")
    contains(fish.stdout, "blue")
    assert "\\:" not in fish.stdout, fish.stdout


@case
def docker_works_inside():
    "docker build, docker run and docker compose up work in the sandbox"
    env.run("start", "--docker", "blue", timeout=300)
    wait_for(lambda: env.json("ls")["sandboxes"][0]["docker"]["state"] == "ready", 180, "docker to be ready", every=0.5)
    inside("sh", "-c", """set -e; mkdir -p /tmp/img; cd /tmp/img; cp /bin/busybox .
printf 'FROM scratch\\nCOPY busybox /bin/sh\\nRUN ["/bin/sh","-c","echo built >/made"]\\nCMD ["/bin/sh","-c","read x </made; echo $x"]\\n' >Dockerfile
printf 'services:\\n  one:\\n    image: tiny\\n  two:\\n    image: tiny\\n    command: ["/bin/sh","-c","echo second"]\\n' >compose.yaml""", ok=0)
    r = inside("sh", "-c", "cd /tmp/img && docker build -q -t tiny . && docker run --rm tiny && docker compose up --no-color", timeout=300)
    equal(r.returncode, 0, r.stdout + r.stderr)
    contains(r.stdout, "\nbuilt\n")
    contains(r.stdout, "second")


@case
def states_change_as_told():
    "pause, resume, stop, start with the disk kept, reset with a clean one, kill"
    inside("sh", "-c", "echo kept >/home/agent/kept && sync", ok=0)
    env.run("pause", "blue", ok=0)
    contains(env.run("exec", "blue", "--", "true", ok=125).stderr, "paused")
    env.run("resume", "blue", ok=0)
    equal(inside("cat", "/home/agent/kept").stdout, "kept\n")
    env.run("stop", "blue", ok=0, timeout=60)
    contains(env.run("rm", "nobody", ok=1).stderr, "nobody")
    env.run("start", "blue", ok=0, timeout=300)
    equal(inside("cat", "/home/agent/kept").stdout, "kept\n")
    inside("sh", "-c", f"echo one >{work}/one; echo two >{work}/two", ok=0)
    wait_for(lambda: env.json("ls")["sandboxes"][0]["changes"]["files"] == 2, 30, "the changes to be told")
    contains(env.run("reset", "blue", ok=1).stderr, "loses 2 changed files not applied, everything on its disk")
    contains(env.run("reset", "blue", ok=1).stderr, "--yes")
    for verb in ("reset", "rm"):
        text, status = at_terminal(verb, "blue", asks="Lost: 2 changed files not applied, ", answer=("n", "Enter"))
        equal(status, 1, text)
    env.run("reset", "--yes", "blue", ok=0, timeout=300)
    equal(inside("ls", "/home/agent/kept").returncode, 2)
    contains(env.run("rm", "blue", ok=1).stderr, "stop it first")
    env.run("kill", "blue", ok=0)
    equal(env.json("ls")["sandboxes"][0]["state"], "stopped")
    env.run("rm", "blue", ok=0)
    equal(env.json("ls")["sandboxes"], [])


@case
def events_are_told_as_they_happen():
    "events --json prints a line for every change until it is interrupted"
    def made(n):
        with env.rpc() as r:
            r.call("sandbox.create", name=f"red{n}", kit="shell")
            r.call("sandbox.remove", name=f"red{n}")

    for argv in (("--json",), ()):
        p = subprocess.Popen([env.program, "events", *argv], env=env.env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        n = 0
        while not select.select([p.stdout], [], [], 0.05)[0]:  # until it listens
            made(n := n + 1)
        made(0)
        seen = b""
        while b"red0" not in seen or b"removed" not in seen.split(b"red0", 1)[1]:
            seen += os.read(p.stdout.fileno(), 65536)
        p.send_signal(signal.SIGINT)
        equal(p.wait(20), 0)
        for line in seen.decode().splitlines()[:-1]:
            if argv:
                assert "kind" in json.loads(line), line
            else:
                assert re.match(r"\S+T\S+ (sandbox +red\d+ stopped|removed +red\d+|host +\d+ of \d+ sandboxes run|log +red\d+ (created|removed|stopped))", line), line


@case
def the_console_is_followed():
    "logs --console -f shows what the machine's console says from now on, until it is interrupted"
    env.run("create", "--name", "talk", "--memory", "1G", "shell", str(work), ok=0)
    contains(env.run("logs", "--console", "-f", "talk", ok=1, timeout=20).stderr, "never started")
    env.run("start", "talk", ok=0, timeout=300)
    p = subprocess.Popen([env.program, "logs", "--console", "-f", "-n", "1", "talk"], env=env.env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    p.stdout.readline()
    env.run("exec", "-u", "root", "talk", "--", "sh", "-c", r"printf 'a word\033[2J\n' >/dev/console", ok=0)
    equal(next(line for line in p.stdout if "a word" in line), "a word^[[2J\n")
    p.send_signal(signal.SIGINT)
    equal(p.wait(20), 0)
    env.run("rm", "-f", "talk", ok=0)


main(set_up, tear_down)
