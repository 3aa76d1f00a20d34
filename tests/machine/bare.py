"""A Debian with nothing in it that a package does not ask for: where a forgotten dependency is missed.

Made by mmdebstrap in some ten seconds, from the sources of the running system that are Debian's own, and kept in the folder until those
change. Machines are copies of it (machine.py, `lower`). What apt needs to install packages there without a network is fetched here.
"""

import hashlib
import pathlib
import re
import shutil
import subprocess

INCLUDED = ["systemd-sysv", "dbus"]


def release():
    return re.search(r"^VERSION_CODENAME=(\w+)", pathlib.Path("/etc/os-release").read_text(), re.MULTILINE)[1]


def sources():
    """Debian's lines among the sources of this system; a mirror of it will do."""
    suites = {release(), f"{release()}-updates", f"{release()}-security"}
    found = set()
    for path in [pathlib.Path("/etc/apt/sources.list"), *pathlib.Path("/etc/apt/sources.list.d").glob("*")]:
        if path.suffix == ".sources":
            for stanza in re.split(r"\n\s*\n", re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE)):
                field = {key.lower(): value.split() for key, value in re.findall(r"^([\w-]+):(.*(?:\n[ \t].*)*)", stanza, re.MULTILINE)}
                if "deb" in field.get("types", []) and "no" not in field.get("enabled", []):
                    found |= {(uri, suite) for uri in field.get("uris", []) for suite in field.get("suites", []) if "main" in field.get("components", [])}
        elif path.suffix == ".list" and path.exists():
            for uri, suite, components in re.findall(r"^deb\s+(?:\[.*?\]\s+)?(\S+)\s+(\S+)\s+(.*)", path.read_text(), re.MULTILINE):
                if "main" in components.split():
                    found.add((uri, suite))
    lines = sorted(f"deb {uri} {suite} main" for uri, suite in found if suite in suites)
    assert lines, "no source of this system's apt is Debian's"
    return lines


def settings():
    """How this system's apt reaches its sources: proxies and the like."""
    dumped = subprocess.run(["apt-config", "dump"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return "".join(f"{line}\n" for line in dumped.splitlines() if line.startswith("Acquire::") and "IndexTargets" not in line)


def bare_root(folder):
    """The root of a bare system, below `folder`."""
    root, mark, recipe = folder / "root", folder / "recipe", "\n".join([*INCLUDED, *sources(), settings()])
    digest = hashlib.sha256(recipe.encode()).hexdigest()
    if not mark.exists() or mark.read_text() != digest:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "apt.conf").write_text(settings())
        https = ["ca-certificates"] if "https:" in recipe else []
        # The lists stay, for apt inside.
        done = subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(INCLUDED + https)}", "--skip=cleanup/apt",
                               "--dpkgopt=force-unsafe-io", f"--aptopt={folder}/apt.conf", release(), root, "-"],
                              input="\n".join(sources()), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, f"mmdebstrap: {done.stdout[-2000:]}"
        mark.write_text(digest)
    return root


def fetch(root, packages):
    """Puts `packages` into /root/packages of that system, and what they depend on, as apt there finds, into its cache."""
    shutil.rmtree(root / "root/packages", ignore_errors=True)
    (root / "root/packages").mkdir()
    for package in packages:
        shutil.copy(package, root / "root/packages")
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    done = subprocess.run(["chroot", root, "apt-get", "-q", "-y", "--no-install-recommends", "--download-only", "install",
                           *[f"/root/packages/{package.name}" for package in packages]],
                          env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, f"apt-get: {done.stdout[-2000:]}"
