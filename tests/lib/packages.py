# SPDX-License-Identifier: Apache-2.0
"""One tiny package as apt, pip and npm fetch it, and the script that has every client fetch its own (tests/lib/origins.py serves it).

Packages(dir).answer(path, host) gives (status, body, type) of what a mirror or registry answers; None: not one of ours. SCRIPT WORD
HTTPS-PORT REGISTRY-PORT CLIENT... runs the clients at once, each toward CLIENT-WORD.deep.test, and prints "CLIENT STATUS" and what it said. PLACES say
how it runs (as /opt/fetch.sh) in the guest, in a container and in a step of a build; IMAGE, run by root, makes the image 'clients' that the latter two want.
"""
import base64
import gzip
import hashlib
import io
import json
import subprocess
import tarfile
import zipfile

CLIENTS = ("curl", "git", "apt", "pip", "npm")
SCRIPT = r"""
word=$1 https=$2 registry=$3; shift 3
d=$(mktemp -d) && cd $d
export HOME=$d
at() { echo "https://$1-$word.deep.test:$https"; }
run_curl() { curl -sSf --max-time 100 "$(at curl)/x"; }
run_git() { git clone -q "$(at git)/git/project.git" tree && test -s tree/file; }
run_apt() { mkdir -p apt/lists/partial apt/cache/archives/partial; : > apt/status; echo "deb [trusted=yes] $(at apt)/apt ./" > apt/list
	set -- -o Dir::Etc::sourcelist=$d/apt/list -o Dir::Etc::sourceparts=- -o Dir::State::lists=$d/apt/lists -o Dir::State::status=$d/apt/status -o Dir::Cache=$d/apt/cache \
		-o Acquire::Retries=0 -o APT::Update::Error-Mode=any -o APT::Sandbox::User=root
	apt-get -qq "$@" update && apt-get -qq "$@" download tiny && test -s tiny_1.0_all.deb; }
run_pip() { python3 -m pip -v install --no-input --disable-pip-version-check --no-cache-dir --no-compile --retries 0 --timeout 60 -i "$(at pip)/simple" --target lib tiny &&
	PYTHONPATH=lib python3 -c 'import tiny; print(tiny.word)'; }
run_npm() { npm install --registry "$(at npm)/npm" --prefix $d/node --cache $d/cache --fetch-retries=0 --no-audit --no-fund --no-update-notifier tiny &&
	test -s node/node_modules/tiny/package.json; }
run_pull() { docker pull -q "pull-$word.deep.test:$registry/tiny"; }
[ -z "$ONE" ] || { run_$1; exit; }
for c; do ( ONE=1 timeout 280 sh $0 $word $https $registry $c > $c.out 2>&1; echo "$?" > $c.status ) & done
wait
for c; do echo "$c $(cat $c.status) $(tr '\r\n' '  ' < $c.out | tail -c 900)"; done
"""
# Its one layer is the guest's own root, bound to where the layer lies: nothing is copied, and every client is in it.
IMAGE = """
set -e
cd $(mktemp -d)
mkdir etc
touch etc/hostname
tar -c etc | docker import -c 'ENV PATH=/usr/bin:/usr/sbin' - clients > /dev/null
busybox mount --bind / $(docker image inspect -f '{{.GraphDriver.Data.UpperDir}}' clients)
"""
PLACES = {
    "guest": "sh /opt/fetch.sh {}",
    "run": "docker run --rm --name fetch clients sh /opt/fetch.sh {}",
    "build": "printf 'FROM clients\\nRUN sh /opt/fetch.sh {}\\n' | docker build --no-cache --progress=plain --output type=cacheonly -",
}


def tar_of(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return gzip.compress(out.getvalue(), mtime=0)


class Packages:
    def __init__(self, directory):
        self.dir = directory
        self.deb, self.wheel = self._deb(), self._wheel()
        self.npm = tar_of({"package/package.json": b'{"name": "tiny", "version": "1.0.0"}', "package/index.js": b"module.exports = 'tiny'\n"})

    # ---- apt ----
    def _deb(self):
        tree = self.dir / "deb"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN/control").write_text("Package: tiny\nVersion: 1.0\nArchitecture: all\nMaintainer: Tests <tests@origin.test>\nDescription: tiny\n")
        subprocess.run(["dpkg-deb", "--root-owner-group", "-b", str(tree), str(self.dir / "tiny.deb")], check=True, capture_output=True)
        return (self.dir / "tiny.deb").read_bytes()

    def _index(self):
        return ("Package: tiny\nVersion: 1.0\nArchitecture: all\nMaintainer: Tests <tests@origin.test>\nFilename: ./tiny_1.0_all.deb\n"
                f"Size: {len(self.deb)}\nSHA256: {hashlib.sha256(self.deb).hexdigest()}\nDescription: tiny\n\n").encode()

    def _release(self):
        files = "".join(f" {hashlib.sha256(b).hexdigest()} {len(b)} {n}\n" for n, b in (("Packages", self._index()), ("Packages.gz", gzip.compress(self._index(), mtime=0))))
        return f"Suite: tiny\nArchitectures: all amd64\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n{files}".encode()

    # ---- pip: the simple index of PEP 503 and a wheel ----
    @staticmethod
    def _wheel():
        info = "tiny-1.0.dist-info/"
        files = {"tiny.py": "word = 'tiny'\n", info + "METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
                 info + "WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
        record = "".join(f"{n},sha256={base64.urlsafe_b64encode(hashlib.sha256(t.encode()).digest()).decode().rstrip('=')},{len(t)}\n" for n, t in files.items())
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as z:
            for n, t in {**files, info + "RECORD": record + info + "RECORD,,\n"}.items():
                z.writestr(n, t)
        return out.getvalue()

    def _simple(self):
        return f'<!DOCTYPE html><html><body><a href="/wheels/tiny-1.0-py3-none-any.whl#sha256={hashlib.sha256(self.wheel).hexdigest()}">tiny-1.0-py3-none-any.whl</a></body></html>'.encode()

    # ---- npm: the packument and a tarball ----
    def _packument(self, host):
        dist = {"tarball": f"https://{host}/npm/tiny/-/tiny-1.0.0.tgz", "shasum": hashlib.sha1(self.npm).hexdigest(),
                "integrity": "sha512-" + base64.b64encode(hashlib.sha512(self.npm).digest()).decode()}
        return json.dumps({"name": "tiny", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": {"name": "tiny", "version": "1.0.0", "dist": dist}}}).encode()

    def answer(self, path, host):
        path = path.replace("/./", "/")
        ours = {"/apt/Release": self._release, "/apt/Packages": self._index, "/apt/Packages.gz": lambda: gzip.compress(self._index(), mtime=0), "/apt/tiny_1.0_all.deb": lambda: self.deb,
                "/simple/tiny/": self._simple, "/wheels/tiny-1.0-py3-none-any.whl": lambda: self.wheel, "/npm/tiny": lambda: self._packument(host), "/npm/tiny/-/tiny-1.0.0.tgz": lambda: self.npm}
        if path in ours:
            return 200, ours[path](), "text/html" if path.startswith("/simple/") else "application/json" if path == "/npm/tiny" else "application/octet-stream"
        return (404, b"not here\n", "text/plain") if path.startswith(("/apt/", "/simple/", "/wheels/", "/npm/")) else None
