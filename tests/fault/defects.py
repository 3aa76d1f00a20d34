"""Defects sown into a copy of the programs, each of which the oracle, or the harness that asks it, must catch; and what brings each to light.

All stand in one copy, which is built once; $SYNCROPY_DEFECT wakes one of them. So a scene is played twice: with the defect it must end in a
Violation, without it in none. Sown are single lines: where one is not found any more, sow it anew where the code has gone.

Long form: tests/fault/run defects. A share of it (all, at one moment each): test_oracle.py.
"""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import typing

import harness
import inject
import stored
import trees
from cuts import Cutting
from kills import KEEP, Killing
from oracle import Violation

SWITCH = """#pragma once
#include <cstdlib>
#include <string_view>

namespace syncropy {
inline bool seeded(std::string_view defect) {
  const char* awake = std::getenv("SYNCROPY_DEFECT");
  return awake != nullptr && defect == awake;
}
}  // namespace syncropy
"""


@dataclasses.dataclass
class Defect:
    name: str
    file: str
    sound: str
    defective: str
    scene: typing.Callable
    disk: str = None  # of what kind, where the scene cuts power


# --- scenes: a Violation, or none

def violated(condition, what):
    if condition:
        raise Violation(what)


def lived(killing, runs=KEEP + 1):
    for _ in range(runs):
        killing.change()
        killing.run_well()


def cut_after_success(cutting):
    """What a run said it has stored is there after the power was cut, in the catalog too."""
    for _ in range(2):
        cutting.change_much()
        cutting.run_well()
        cutting.disk.cut()
        cutting.disk.recover()
        cutting.boots()
        cutting.oracle.at_rest()


def sync_fails(killing):
    """A run whose sync fails says so, and publishes nothing."""
    lived(killing)
    before = killing.world.state()
    killing.change()
    done = inject.run(killing.world, "syncfs", "-c", killing.world.configuration, "-H", at=1, upto=9, error="EIO")
    assert done.injected
    violated(done.done.status == 0, "the sync failed, and the run says it succeeded")
    violated(killing.world.state() != before, "the sync failed, and something was published or has expired")


def killed_at(calls, step=1):
    """At each of these calls in turn, as the long form is at all of them."""
    def scene(killing):
        lived(killing)
        killing.calls = calls
        for at in range(1, 1_000, step):
            killing.change()
            going_on = killing.traced(at, "-H")
            killing.look()
            killing.run_well()
            if not going_on:
                return
    return scene


def undisturbed(killing):
    lived(killing, KEEP + 2)


def shorter_file(killing):
    """Somebody has shortened a stored file: the next dataset does not take it over."""
    lived(killing, 1)
    file = killing.world.newest().under(killing.world.source) / "top"
    file.write_bytes(b"short")
    killing.change()
    killing.world.run()
    try:
        stored.check_whole(killing.world.newest())
    except AssertionError as problem:
        raise Violation(str(problem)) from None


def number_of_one_that_is_gone(killing):
    """The newest is deleted, and its spare lost with a run that was killed."""
    lived(killing)
    gone = killing.world.newest()
    assert killing.world.server("-H", "--del-dataset", gone.name).status == 0
    killing.oracle.deleted("a", gone.sequence)
    killing.look()
    killing.calls = "syncfs"
    assert killing.traced(1, "-H")
    killing.change()
    killing.run_well()


def files_become_unreadable(killing):
    """Partial datasets never push out complete ones."""
    world = killing.world
    secret = trees.write(world.source / "secret", "mode 000", 0)
    lived(killing, KEEP)
    world.client("a", world.agent(caps=False).where)
    for number in range(KEEP + 1):
        trees.write(secret, f"changed {number}", 0)
        killing.change()
        world.run(status=3)
        killing.look()


STORE, RUN, TREE = "src/repository/client-store.cpp", "src/server/run.cpp", "src/repository/tree.cpp"
DEFECTS = [
    Defect("publish without sync", STORE, "if (::syncfs(staging.folder.get()) != 0)", "if (!seeded(DEFECT) && ::syncfs(staging.folder.get()) != 0)",
           cut_after_success, disk="ext4"),
    Defect("success after a failed sync", STORE, '::syncfs(staging.folder.get()) != 0)', "::syncfs(staging.folder.get()) != 0 && !seeded(DEFECT))", sync_fails),
    Defect("catalog said to be synced", "src/catalog/crash-guard.cpp", "if (!database || ::fsync(database.get()) != 0) return;",
           "if (!seeded(DEFECT) && (!database || ::fsync(database.get()) != 0)) return;", cut_after_success, disk="ext4"),
    Defect("expire before publish", RUN, "    Staging staging = begin(previous, info.name);",
           "    if (seeded(DEFECT)) for (const StoredDataset& dataset : expired(datasets.good, options_.tier, keep() - 1)) retire(dataset.info);\n"
           "    Staging staging = begin(previous, info.name);", killed_at("syncfs")),
    Defect("link by unverified path", TREE, "bool is_as_stored(const struct stat& st, const Entry& entry) {",
           "bool is_as_stored(const struct stat& st, const Entry& entry) {\n  if (seeded(DEFECT)) return true;", shorter_file),
    Defect("a stored inode is modified", TREE, "  if (::linkat(old_folder, old_name.c_str(), to, name.c_str(), 0) == 0) return LinkResult::linked;",
           "  if (::linkat(old_folder, old_name.c_str(), to, name.c_str(), 0) == 0) {\n"
           "    if (seeded(DEFECT) && entry.stat.type == FileType::regular) {\n      if (::fchmodat(to, name.c_str(), 0600, 0) != 0) return LinkResult::missing;\n    }\n    return LinkResult::linked;\n  }", undisturbed),
    Defect("publish in two steps", STORE, "  if (rename_exclusive(parent.get(), staging.name, target.get(), staging.name) != 0)",
           "  if (seeded(DEFECT)) {\n"
           "    ::mkdirat(target.get(), staging.name.c_str(), 0700);\n"
           "    const Fd half = open_folder(target.get(), staging.name);\n"
           "    for (const char* part : {tree_folder, manifest_folder}) ::renameat(staging.folder.get(), part, half.get(), part);\n"
           "    ::unlinkat(parent.get(), staging.name.c_str(), AT_REMOVEDIR);\n"
           "  } else if (rename_exclusive(parent.get(), staging.name, target.get(), staging.name) != 0)", killed_at("renameat,renameat2")),
    Defect("recovery publishes", STORE, "      to_trash(staging.get(), name);\n      ++unfinished;",
           "      if (seeded(DEFECT)) static_cast<void>(rename_exclusive(staging.get(), name, subfolder(\"hour\", true).get(), name));\n"
           "      else to_trash(staging.get(), name);\n      ++unfinished;", killed_at("utimensat", 4)),
    Defect("a number is given again", "src/repository/given.cpp", "  const std::uint64_t noted = given().sequence;",
           "  const std::uint64_t noted = seeded(DEFECT) ? 0 : given().sequence;", number_of_one_that_is_gone),
    Defect("partial pushes out complete", "src/server/retention.cpp", "++(partial ? newer_partial : newer_complete);",
           "++(partial && !seeded(DEFECT) ? newer_partial : newer_complete);", files_become_unreadable),
    Defect("the catalog keeps what has expired", RUN, '    in_catalog(name + " is expired', '    if (!seeded(DEFECT)) in_catalog(name + " is expired', undisturbed),
]


# --- sowing

class Sown:
    """Stands for a Lab whose programs have the defects, asleep."""

    def __init__(self, lab):
        self._lab = lab
        source, build = harness.SOURCE_ROOT, pathlib.Path(os.environ["SYNCROPY_BUILD"]).resolve()
        assert build.parent == source, f"the defects are built in a copy of the checkout, and {build} does not lie in it"
        self._copy = lab.folder / "sown"
        shutil.copytree(source, self._copy, symlinks=True, ignore=lambda folder, names: [
            name for name in names if folder == str(source) and (name.startswith("build") or name == ".git") or name == "__pycache__"])
        # Neither the tests' objects nor what other parts of tests/run leave there: whole machines, with devices.
        others = {"tests", "bare", "packages", "reports"}
        shutil.copytree(build, self._copy / build.name, symlinks=True, ignore=lambda folder, names: others.intersection(names) if folder == str(build) else [])
        (self._copy / "src/util/defect.hpp").write_text(SWITCH)
        for defect in DEFECTS:
            file = self._copy / defect.file
            text = file.read_text()
            assert text.count(defect.sound) == 1, f"defect '{defect.name}': {defect.file} has its line {text.count(defect.sound)} times: {defect.sound}"
            text = text.replace(defect.sound, defect.defective.replace("DEFECT", f'"{defect.name}"'))
            file.write_text(text if "util/defect.hpp" in text else text.replace("#include", '#include "util/defect.hpp"\n#include', 1))
        done = subprocess.run(["ninja", "-C", self._copy / build.name, "src/cli/syncropy", "src/cli/syncropy-server"], capture_output=True, text=True)
        assert done.returncode == 0, f"the defects cannot be built: {done.stdout[-3000:]}"
        self._bin = self._copy / build.name / "src/cli"
        for folder in (self._copy, self._copy / build.name, self._copy / build.name / "src", self._bin):
            folder.chmod(0o755)

    def __getattr__(self, name):
        return getattr(self._lab, name)

    @property
    def worlds(self):
        return self._lab.worlds

    @worlds.setter
    def worlds(self, number):
        self._lab.worlds = number

    def program(self, name):
        return self._bin / name if name in ("syncropy", "syncropy-server") else self._lab.program(name)


def play(sown, defect, seed, awake):
    """None, or the Violation that its scene ends with."""
    with Cutting(sown, defect.disk, seed) if defect.disk else Killing(sown, seed) as killing:
        if awake:
            killing.world.environment = {**killing.world.environment, "SYNCROPY_DEFECT": defect.name}
        killing.start_anew(0)
        try:
            defect.scene(killing)
        except AssertionError as violation:
            return violation
    return None


def try_all(lab, seed):
    """The counts: each defect is caught, and none where it sleeps."""
    sown, counts = Sown(lab), {"caught": 0, "sound": 0}
    for defect in DEFECTS:
        caught = play(sown, defect, seed, True)
        assert caught is not None, f"the defect '{defect.name}' went unseen"
        print(f"{defect.name}: caught: {str(caught)[:300]}")
        counts["caught"] += 1
        false = play(sown, defect, seed, False)
        assert false is None, f"without the defect '{defect.name}' something was found: {false}"
        counts["sound"] += 1
    return counts
