"""packaging/quickstart --purge takes away what is its own, and nothing else. In a mount namespace of its own, with empty folders where it works."""

import pathlib
import subprocess

import pytest

QUICKSTART = pathlib.Path(__file__).resolve().parent.parent.parent / "packaging/quickstart"

MADE = r"""
set -euo pipefail
for folder in /run /var/lib /var/log; do mount -t tmpfs none $folder; done
mkdir /run/etc
cp -a /etc/passwd /etc/group /etc/nsswitch.conf /run/etc
mount --bind /run/etc /etc
mkdir -p /etc/syncropy/quickstart /var/lib/syncropy-quickstart/.syncropy /var/lib/syncropy-quickstart/lost+found
own=$(uname -n); own=${own%%.*}; mkdir /var/lib/syncropy-quickstart/"${own//[!A-Za-z0-9-]/-}"
made=/etc/syncropy/quickstart/made
printf 'folder %s\n' /etc/syncropy /etc/syncropy/quickstart >$made
for name in quickstart agent; do
  echo "made: $name" >/etc/syncropy/$name.yaml
  printf 'file %s\nsum %s %s\n' /etc/syncropy/$name.yaml "$(sha256sum /etc/syncropy/$name.yaml | cut -c 1-64)" /etc/syncropy/$name.yaml >>$made
done
echo "tree /var/lib/syncropy-quickstart" >>$made
"""


@pytest.fixture
def purge():
    def purge(before, *arguments):
        """What --purge says, its status, and what is left."""
        script = MADE + before + f"""
status=0; {QUICKSTART} --purge {' '.join(arguments)} >/run/said 2>&1 || status=$?
echo "$status"; {{ find /etc/syncropy /var/lib/syncropy-quickstart -mindepth 1 2>/dev/null || true; }} | sort | tr '\\n' ' '; echo; cat /run/said"""
        done = subprocess.run(["unshare", "--mount", "--propagation", "private", "bash", "-c", script], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done
        status, left, said = done.stdout.split("\n", 2)
        return int(status), left.split(), said
    return purge


def test_all_of_it_goes(purge):
    assert purge("")[:2] == (0, [])


def test_what_was_changed_by_hand_stays(purge):
    status, left, said = purge("echo 'clients: {more: {}}' >>/etc/syncropy/quickstart.yaml")
    assert (status, left) == (0, ["/etc/syncropy/quickstart.yaml"])
    assert "/etc/syncropy/quickstart.yaml (changed by hand)" in said


def test_backups_of_others_stay_unless_they_may_go(purge):
    others = "mkdir /var/lib/syncropy-quickstart/web1 /var/lib/syncropy-quickstart/db2"
    status, left, said = purge(others)
    assert status == 73 and "db2 web1." in said and "--with-backups" in said
    assert {"/var/lib/syncropy-quickstart/web1", "/etc/syncropy/quickstart.yaml", "/etc/syncropy/quickstart/made"} <= set(left)
    assert purge(others, "--with-backups")[:2] == (0, [])
