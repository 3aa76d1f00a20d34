"""Builds the packages once for all who test them: again when the source tree is another."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
FOLDER = pathlib.Path(os.environ["SYNCROPY_BUILD"]) / "packages"


def archive(source, folder):
    """The archive that packaging/source-archive of that tree puts into `folder`."""
    done = subprocess.run([source / "packaging/source-archive", folder], check=True, stdout=subprocess.PIPE, text=True)
    return pathlib.Path(done.stdout.strip())


def build(kind, command, environment):
    folder = FOLDER / kind
    with tempfile.TemporaryDirectory() as scratch:
        digest = hashlib.sha256(archive(SOURCE, scratch).read_bytes()).hexdigest()
    mark = folder / "source"
    if not mark.exists() or mark.read_text() != digest:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with open(folder / "log", "w+") as log:
            done = subprocess.run([*command, folder], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **environment})
            log.seek(0)
            assert done.returncode == 0, f"{command}: {log.read()[-4000:]}"
        mark.write_text(digest)
    return folder


def debian():
    """The folder with the Debian packages; {name without syncropy-: package}."""
    options = f"nocheck parallel={os.cpu_count()} {os.environ.get('DEB_BUILD_OPTIONS', '')}"
    folder = build("debian", [SOURCE / "packaging/build-deb"], {"DEB_BUILD_OPTIONS": options})
    return folder, {path.name.split("_")[0].removeprefix("syncropy-"): path for path in sorted(folder.glob("syncropy-*.deb")) if "-dbgsym_" not in path.name}


def rpm():
    """The folder with the RPM packages; {name without syncropy-: package}. Compiled as the Debian packages are, so that what is cached serves both."""
    flags = {name: subprocess.run(["dpkg-buildflags", "--get", name], check=True, stdout=subprocess.PIPE, text=True,
                                  env={**os.environ, "DEB_BUILD_MAINT_OPTIONS": "hardening=+all"}).stdout.strip() for name in ("CPPFLAGS", "CXXFLAGS", "LDFLAGS")}
    folder = build("rpm", [SOURCE / "packaging/build-rpm", "--without-tests"], flags)
    return folder, {path.name.split("-")[1]: path for path in sorted(folder.glob("RPMS/*/*.rpm"))}
