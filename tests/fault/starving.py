"""Runs in which something is missing, one after another, and the judgement of each: plain success with a whole dataset, or one clear error with a
fitting status and nothing published that is not whole and does not say so; and then a run that succeeds."""

import os
import pathlib
import re
import signal
import subprocess
import sys

import harness
import inject
import stored
import trees

KEPT = 2      # datasets in the tier
STALL = 5     # seconds that a peer may be silent
NO_MEMORY = 71
BEFORE_MAIN = (128 + signal.SIGSEGV, 128 + signal.SIGABRT)  # from there on a crash is told
DEFECT = 70   # nothing that a machine lacks is one, but for what libraries do not survive


class Wrong(Exception):
    """What a user would complain of."""


def expect(condition, what, done):
    if not condition:
        raise Wrong(f"{what}\n{done}")


class Starved:
    """A world with a small source that changes before each run: each kind of content, link and removal comes by each time."""

    def __init__(self, lab, database=None, large=True, tls=True):
        self.world = world = harness.World(lab, database)
        trees.small(world.source, files=6)
        trees.write(world.source / "streamed", trees.filler(200_000))
        if large:
            trees.write(world.source / "large", trees.filler(3 << 20))
        self.large = large
        self.number = 0
        self.agent = world.agent(tls=tls) if tls else world.plain_agent()
        world.client("a", self.agent.where, stall_timeout=STALL)
        world.settings["dataset"]["hour"] = KEPT
        world.init()
        for _ in range(4):
            self.change()
            world.run()

    def close(self):
        self.world.close()

    def change(self):
        self.number += 1
        source, number = self.world.source, self.number
        trees.write(source / "folder0/changing", f"content {number}")
        trees.write(source / "streamed", trees.filler(200_000, number))
        if self.large:
            with open(source / "large", "r+b") as file:
                file.seek((number % 3) << 20)
                file.write(b"changed %d" % number)
        (source / "top").chmod(0o600 + number % 8)
        (source / "folder0/link").unlink()
        (source / "folder0/link").symlink_to(f"target {number}")
        for name in (f"comes{number}", f"folder-comes{number}/with/file"):
            trees.write(source / name, f"new {number}")
        for name in (source / f"comes{number - 1}", source / f"folder-comes{number - 1}/with/file"):
            name.unlink(missing_ok=True)
        if (source / f"folder-comes{number - 1}").exists():
            os.removedirs(source / f"folder-comes{number - 1}/with")

    def visible(self):
        """What failed may have left an unfinished tree, which is nobody's."""
        return {key: value for key, value in self.world.state().items() if not key.endswith(" .staging")}

    def attempt(self, starve, statuses, excuse=lambda: False, before_next=lambda: None, hang=lambda where: False):
        """starve() is a run with something missing; excuse() says whether it was a library's own, which did not survive it. Throws Wrong; returns the status.
        The engine of Firebird hangs when it gets neither memory nor thread for those of its own that it waits for: `hang(where)` excuses that."""
        self.change()
        world = self.world
        before, snapshot, datasets = self.visible(), world.snapshot(), world.datasets()
        try:
            done = starve()
        except subprocess.TimeoutExpired as hangs:
            where = getattr(hangs, "where", "")
            if not hang(where):
                raise Wrong(f"it hangs, {where}: {hangs}") from hangs
            judge_visible(world, f"it hangs, {where}", datasets, before, self.visible())
            self.succeeds_next(f"a hanging run, {where}")
            return "hung in a library"
        if done.status == DEFECT and excuse():
            expect("error: crashed (" in done.err or "GnuTLS cannot" in done.err, "it ends without a word", done)
            judge_visible(world, done, datasets, before, self.visible())
            status = "crashed in a library"
        else:
            status = judge(world, done, datasets, before, self.visible(), snapshot, statuses)
        before_next()
        self.succeeds_next(done)
        return status

    def succeeds_next(self, done):
        """Twice, for what one leaves may trip the next but one, as a spare does."""
        world = self.world
        self.change()
        snapshot = world.snapshot()
        after = world.server("-H")
        expect(after.status == 0, f"the next run does not succeed: {after}\nafter", done)
        try:
            stored.check_is(world.newest(), world.source, snapshot)
            for dataset in world.datasets():
                stored.check_whole(dataset, harness.SERVER)
            if self.number % 16 < 2 or done.status == 4:
                world.check()
        except AssertionError as error:
            raise Wrong(f"the next run leaves what is wrong: {error}\nafter {done}") from error


def errors_of(done):
    return [line for line in done.lines if re.match(r"\S+: error: ", line)]


def judge_visible(world, done, datasets, before, after):
    """What was there is there, but for what retention takes. Returns the names that are new."""
    lasting = [{key: value for key, value in state.items() if not key.endswith(" latest")} for state in (before, after)]
    gone, new = lasting[0].keys() - lasting[1].keys(), lasting[1].keys() - lasting[0].keys()
    expect(all(lasting[1][key] == lasting[0][key] for key in lasting[0].keys() - gone), "a published dataset changed", done)
    expect(len(new) <= 1, f"{new} came", done)
    newest = sorted(datasets, key=lambda dataset: dataset.sequence)[-(KEPT - len(new)):]
    expect(not any(str(dataset.folder.relative_to(world.repository)) in gone for dataset in newest), f"{gone} went too early", done)
    expect(new or not gone, "nothing was published, and something expired", done)
    return new


def judge(world, done, datasets, before, after, snapshot, statuses):
    """Of a run of the server: `statuses` are fitting besides 0, 3 and 4."""
    if done.status == 127 and done.err and "syncropy-server: " not in done.err.replace("syncropy-server: error while loading shared libraries", "") and after == before:
        return done.status  # the program did not begin
    if done.status in (*BEFORE_MAIN, -signal.SIGSEGV, -signal.SIGABRT) and after == before and "syncropy-server: " not in done.err and NO_MEMORY in statuses:
        return "ended before main()"  # from there on a crash is told
    expect(0 <= done.status < 128, f"ended by signal {done.status & 127}", done)
    expect(done.status in {0, 3, 4} | set(statuses), f"status {done.status} does not fit", done)
    expect(not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.err), "control characters", done)
    errors = errors_of(done)
    for line in errors:
        expect(line.partition(": error: ")[2].count(": ") >= 1, "an error without a remedy", done)
    new = judge_visible(world, done, datasets, before, after)
    if not new:
        expect(done.status not in (0, 3, 4), "nothing was published, and it does not say so", done)
        expect(len(errors) == 1, "not one error", done)
        return done.status
    try:
        dataset = world.newest()
        entries = stored.check_whole(dataset, harness.SERVER)
        if done.status == 3:
            expect(not dataset.complete and dataset.problems > 0, "partial, and the dataset does not say so", done)
            judge_partial(world, done, dataset, entries, snapshot)
        else:
            expect(dataset.complete, "partial, and the status does not say so", done)
            stored.check_is(dataset, world.source, snapshot)
    except AssertionError as error:
        raise Wrong(f"what was published is not what it should be: {error}\n{done}") from error
    # That it is not recorded may be told besides what ended the run after that.
    ending = [line for line in errors if done.status == 4 or "not recorded" not in line]
    expect(len(ending) == (0 if done.status in (0, 3) else 1), "an error too many or too few", done)
    if done.status == 4:
        expect("not recorded" in errors[0] or "backed up" in errors[0], "does not say what is missing", done)
    return done.status


def judge_partial(world, done, dataset, entries, snapshot):
    """Whatever lacks is named."""
    prefix = os.fsencode(str(world.source)[1:])
    lacks = []
    for path, node in snapshot.items():
        full = prefix + b"/" + path if path else prefix
        entry = entries.get(full)
        if entry is None or entry.flags & 4:
            lacks.append("/" + os.fsdecode(full))
        else:
            expect(entry.digest == node.digest, f"{full} is stored with other content", done)
    above = [path for path, entry in entries.items() if entry.flags & 4 and not path.startswith(prefix)]
    expect(lacks or above, "partial, and nothing lacks", done)
    for path in lacks:
        named = any(str(parent) in done.err for parent in (pathlib.Path(path), *pathlib.Path(path).parents) if len(str(parent)) > 1)
        expect(named, f"{path} lacks and is not named", done)


class StarvedAgent:
    """An agent that is started anew under inject.cpp for each attempt; its listener stays."""

    def __init__(self, starved, calls):
        self.world, self.calls = starved.world, calls
        self.listener = self.world.listener()
        self.report = self.world.folder / "injected-agent"
        self.where = {**starved.agent.where, "port": self.listener.getsockname()[1]}
        self.began = True  # did the last one come to its main()?

    def run(self, what=(), statuses=frozenset()):
        """A run with an agent that something happens to; then what the agent did is judged, too. Returns the run, calls, injected, where."""
        world = self.world
        self.report.unlink(missing_ok=True)
        agent = world.keep(Traced(world, self, what))
        world.settings["clients"]["a"].update(self.where)
        try:
            done = world.server("-H")
        finally:
            world.made.remove(agent)
            status = agent.end()
        text = agent.text()
        agent.log.unlink()
        self.began = "syncropy-agent: " in text.replace("syncropy-agent: error while loading shared libraries", "") or status not in (127, *BEFORE_MAIN)
        # SIGTERM meets one that could not start, and turns away for a while who connects.
        expect(status in {0, 127} | set(statuses) or not self.began or status == 128 + signal.SIGTERM and text.count(": error: ") == 1, f"the agent ended with status {status}: {text}", done)
        if status == 127:
            expect(text and "syncropy-agent: error: " not in text, f"the agent did not begin: {text}", done)
        calls, injected, where = self.report.read_text().split(maxsplit=2)
        return done, int(calls), int(injected), where, text


class Traced(harness.Program):
    """The agent as a child of inject: a signal goes to the agent itself."""

    def __init__(self, world, starved, what):
        number = world.counted()
        command = [inject.program(world.lab), "--report", starved.report, "--calls", starved.calls, *what, sys.executable, "-S", "-E", "-c", harness.LAUNCHER,
                   starved.listener.fileno(), *harness.AS_AGENT, world.lab.program("syncropy-agent"), "--policy", world.folder / "agent1.yaml"]
        super().__init__(command, world.folder / f"traced{number}.log", world.environment, world.folder, pass_fds=(starved.listener.fileno(),))

    def end(self):
        """Its exit status: as it ended by itself, or after SIGTERM."""
        if self.runs():
            for child in pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
                try:
                    os.kill(int(child), signal.SIGTERM)
                except ProcessLookupError:
                    pass
        return self.wait(20)

    def stop(self):
        self.kill()
        self.wait()
