"""A local user exchanges folders for symbolic links, all the time, under a listing, under fetches and under a restore.

What the links lead to is watched with inotify(7): it is never opened, never read and never written. SYNCROPY_SWAPS says how often (10,000,000
is the long form); they are counted, and so is how often each side was met.
"""

import ctypes
import os
import socket
import struct
import subprocess

import pytest

import harness
import trees
import wire
from alphabet import FOLDER, REGULAR, Stat
from test_attack import MiB_MORE, TOKEN
from test_flood import memory_of
from test_restore_hostile import CONTENT_OF_FILE, CREATED, DIGEST, PLACE, ROOT, begin, outcomes, place, worker  # noqa: F401

SWAPS = int(os.environ.get("SYNCROPY_SWAPS", 150_000))
CONTENT = b"what lies inside"
ALL_EVENTS = 0xFFF


@pytest.fixture(scope="module")
def swapper(lab):
    program = lab.folder / "swaps"
    subprocess.run(["g++", "-O1", "-o", program, harness.SOURCE_ROOT / "tests/fault/swaps.cpp"], check=True)
    return program


class Swapping:
    """While it lives, FOLDER/NAME and FOLDER/OTHER change places."""

    def __init__(self, program, folder, name, other):
        self.process = subprocess.Popen([program, folder, name, other], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def stop(self):
        out, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return int(out)


class Watch:
    """Of a folder and a file in it: what anybody does with them."""

    libc = ctypes.CDLL(None, use_errno=True)

    def __init__(self, *paths):
        self.fd = self.libc.inotify_init1(os.O_NONBLOCK)
        assert self.fd >= 0
        for path in paths:
            assert self.libc.inotify_add_watch(self.fd, os.fsencode(path), ALL_EVENTS) >= 0

    def events(self):
        try:
            data = os.read(self.fd, 1 << 16)
        except BlockingIOError:
            return []
        return [hex(struct.unpack_from("iI", data)[1])]

    def close(self):
        os.close(self.fd)


def seen_by_who_follows(path):
    """The watch does see a reader: it is not blind."""
    with open(path, "rb") as file:
        file.read()


@pytest.fixture
def outside(lab):
    folder = lab.folder / "outside"
    folder.mkdir(exist_ok=True)
    trees.write(folder / "secret", TOKEN)
    folder.chmod(0o777)
    watch = Watch(folder, folder / "secret")
    seen_by_who_follows(folder / "secret")
    assert watch.events() and not watch.events()
    yield folder, watch
    watch.close()


def swapped_source(world, outside):
    """source/a/swap is a folder with a file, source/a/other a link to what lies outside: or the other way round."""
    trees.write(world.source / "a/swap/secret", CONTENT)
    (world.source / "a/other").symlink_to(outside)
    return world.source / "a"


def test_swaps_under_lists_and_fetches(lab, swapper, outside):
    folder, watch = outside
    with harness.World(lab) as world:
        where = swapped_source(world, folder)
        agent = world.plain_agent()
        inside = str(where)[1:].encode()
        normal = None
        total, rounds, listings, fetched, refused = 0, 0, 0, 0, 0
        swapping = Swapping(swapper, where, "swap", "other")
        try:
            while total < SWAPS:
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.connect(str(agent.address))
                    connection = wire.Connection(sock)
                    connection.send(wire.HELLO, wire.hello())
                    connection.receive()
                    connection.send(wire.LIST, wire.list_request([inside]))
                    while connection.receive()[0] != wire.LISTED:
                        pass
                    listings += 1
                    connection.send(wire.FETCH, wire.fetch([wire.Request(number, inside + (b"/other" if number % 2 else b"/swap") + b"/secret", REGULAR, True)
                                                            for number in range(120)]))
                    for _ in range(120):
                        type, payload = connection.receive()
                        assert TOKEN not in payload
                        if type == wire.FILE:
                            assert wire.get_file(payload).body == CONTENT
                            fetched += 1
                        else:
                            refused += 1
                    connection.send(wire.BYE)
                normal = normal or memory_of(agent.pid)
                rounds += 1
                if rounds % 100 == 0:
                    total += swapping.stop()
                    swapping = Swapping(swapper, where, "swap", "other")
        finally:
            total += swapping.stop()
        assert not watch.events(), "what lies outside was touched"
        peak = memory_of(agent.pid)
        print(f"{total} swaps, {listings} listings, {fetched} files fetched, {refused} refused, {peak} MiB at most, {normal} after the first of them")
        assert normal and peak <= normal + MiB_MORE
        assert total >= SWAPS and listings and fetched and refused


def test_swaps_under_runs(lab, swapper, outside):
    folder, watch = outside
    with harness.World(lab) as world:
        where = swapped_source(world, folder)
        world.client("a", world.agent().where)
        world.init()
        swapping, ended, total = Swapping(swapper, where, "swap", "other"), [], 0
        try:
            for _ in range(5):
                ended.append(world.server("-H").status)
        finally:
            total = swapping.stop()
        assert set(ended) <= {0, 3}
        assert not watch.events(), "what lies outside was touched"
        print(f"{total} swaps, {len(ended)} runs: {ended}")
        assert total
        for dataset in world.datasets():
            for path in dataset.tree.rglob("*"):
                assert path.is_symlink() or not path.is_file() or TOKEN not in path.read_bytes()


def begun(worker, target):  # noqa: F811
    try:
        return begin(worker, target, existing=2)
    except AssertionError as failure:
        assert "another restore" in str(failure), failure
        return None


def test_swaps_under_restores(worker, swapper, outside):  # noqa: F811
    folder, watch = outside
    target = worker.folder / "targets/swapped"
    total, placed, other, rounds = 0, 0, 0, 0
    target.mkdir()
    (target / "swap").mkdir()
    (target / "link").symlink_to(folder)
    swapping = Swapping(swapper, target, "swap", "link")
    way, file = (2, "swap", Stat(type=FOLDER, mode=0o755)), Stat(size=len(CONTENT_OF_FILE))
    try:
        while total < SWAPS:
            connection = harness.wait_until(lambda: begun(worker, target), "the restore before this one has ended")
            connection.send(PLACE, place([ROOT, way, *((10 + n, f"swap/{rounds:06}.{n:02}", file, DIGEST) for n in range(40))]))
            try:
                for result, _ in outcomes(connection, 40).values():
                    placed, other = placed + (result == CREATED), other + (result != CREATED)
            except (wire.Gone, AssertionError):  # the folder was not there when it was looked for
                other += 1
            connection.close()
            rounds += 1
            if rounds % 20 == 0:
                total += swapping.stop()
                swapping = Swapping(swapper, target, "swap", "link")
    finally:
        total += swapping.stop()
    events = watch.events()
    assert not events, f"what lies outside was touched: {events}"
    assert os.listdir(folder) == ["secret"] and (folder / "secret").read_bytes() == TOKEN
    print(f"{total} swaps, {rounds} restores, {placed} files placed, {other} others")
    assert total >= SWAPS and placed and other
