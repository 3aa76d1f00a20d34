"""Kills a program at each of its calls in turn, or at random moments; after each kill the oracle judges, and the next run must succeed.

Long form: tests/fault/run kills moments. A share of it: test_kill_calls.py, test_kill_moments.py.
"""

import collections
import os
import random
import shutil
import signal
import subprocess
import time

import harness
import inject
import stored
import trees
from oracle import Oracle
from rot import flip

KEEP = 2


class Killing:
    """A world in which things are killed, and what becomes of them, counted."""

    def __init__(self, lab, seed, database=None, files=8, large=150_000, calls=inject.CHANGING):
        self.calls = calls
        self.world, self.chance, self.counts = harness.World(lab, database), random.Random(seed), collections.Counter()
        trees.small(self.world.source, files=files, seed=seed)
        trees.attributes(self.world.source / "attributes")
        trees.write(self.world.source / "large", trees.filler(large))
        self.world.settings["dataset"]["hour"] = KEEP
        self.world.client("a", self.world.agent().where)
        self.oracle = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.world.close()

    def start_anew(self, number):
        """An empty repository."""
        self.world.repository = self.world.store / f"backups{number}"
        self.world.settings["general"]["repository"] = str(self.world.repository)
        self.world.init()
        self.oracle = Oracle(self.world.repository, {"hour": KEEP}, harness.SERVER, self.world.settings.get("database"))

    def change(self):
        """Something of every kind: content, attributes, a link, names that come and go; a range of a large file."""
        source, chance = self.world.source, self.chance
        trees.write(source / f"folder{chance.randrange(4)}/sub{chance.randrange(3)}/new{chance.randrange(6)}", chance.randbytes(chance.randrange(3_000)))
        (source / f"folder{chance.randrange(4)}/sub{chance.randrange(3)}/new{chance.randrange(6)}").unlink(missing_ok=True)
        (source / "folder0/link").unlink()
        (source / "folder0/link").symlink_to(f"target{chance.randrange(1_000)}")
        (source / "attributes/acl").chmod(chance.choice((0o640, 0o600, 0o664)))
        os.setxattr(source / "attributes/many", "user.number", b"%d" % chance.randrange(1_000))
        with open(source / "large", "r+b") as file:
            file.seek(chance.randrange(100_000))
            file.write(chance.randbytes(100))

    def look(self):
        self.oracle.look()
        self.counts["judged"] += 1

    def run_well(self):
        """The next run succeeds, stores what the source is, and leaves all in order."""
        snapshot = self.world.snapshot()
        self.world.run()
        self.counts["executed"] += 1
        self.oracle.at_rest()
        self.counts["judged"] += 1
        stored.check_is(self.world.newest(), self.world.source, snapshot)

    def traced(self, at, *arguments, program="syncropy-server", status=0):
        """Kills it at call `at`, or says that it has fewer calls: then it ends with `status`."""
        done = inject.run(self.world, self.calls, "-c", self.world.configuration, *arguments, program_name=program, at=at, kill=True)
        self.counts["executed"] += 1
        if not done.injected:
            assert done.done.status == status, done
            return False
        if done.done.status != 128 + signal.SIGKILL:  # of verify, the process that reads the catalog: that says nothing of the catalog
            assert done.done.status == (status or 71) and "the process that reads the catalog was killed" in done.done.err and "catalog is damaged" not in done.done.err, done
            self.counts["a process of it killed"] += 1
        self.counts["injected"] += 1
        self.counts[f"at {done.where.partition(':')[0]}"] += 1
        return True


def calls_of(first, stride, most=100_000):
    """At which calls: all, or each `stride`-th from `first` on."""
    return range(first, most, stride)


def a_run(killing, first, stride):
    """Link, fetch, write, recycle the spare, publish, record, expire: a run in the midst of its life."""
    killing.start_anew(0)
    for _ in range(KEEP + 2):
        killing.change()
        killing.run_well()
    for at in calls_of(first, stride):
        killing.change()
        going_on = killing.traced(at, "-H")
        killing.look()
        killing.run_well()
        if not going_on:
            return


def a_recovery(killing, first, stride):
    """The run after one that was killed somewhere."""
    killing.start_anew(0)
    for _ in range(KEEP + 2):
        killing.change()
        killing.run_well()
    misses = 0
    for at in calls_of(first, stride):
        killing.change()
        killing.traced(killing.chance.randrange(100, 180) if at % 2 else killing.chance.randrange(1, 180), "-H")
        killing.look()
        killing.change()
        going_on = killing.traced(at, "-H")
        killing.look()
        killing.run_well()
        misses = 0 if going_on else misses + 1
        if misses == 5:  # how much there is to recover differs
            return


def a_first_run(killing, first, stride):
    """In an empty repository; it makes the catalog too."""
    database = killing.world.settings.get("database")
    name = database and database["dbname"]
    for number, at in enumerate(calls_of(first, stride)):
        if database:
            database["dbname"] = f"{name}-{number}"
        killing.start_anew(number)
        going_on = killing.traced(at, "-H")
        killing.look()
        killing.run_well()
        shutil.rmtree(killing.world.repository)
        if database:
            os.unlink(database["dbname"])  # it runs here
        if not going_on:
            return


def a_rebuilding(killing, first, stride):
    """syncropy rebuild-catalog: the old catalog, or the new one."""
    killing.start_anew(0)
    for _ in range(KEEP + 1):
        killing.change()
        killing.run_well()
    for number, at in enumerate(calls_of(first, stride)):
        going_on = killing.traced(at, "rebuild-catalog", program="syncropy")
        if killing.world.settings.get("database"):
            killing.look()
        else:
            killing.oracle.at_rest()
            killing.counts["judged"] += 1
        if number % 10 == 9 or not going_on:
            killing.change()
            killing.run_well()
        if not going_on:
            left = [name for name in os.listdir(killing.world.repository / ".syncropy/firebird") if name.startswith(("fb_lock_", "fb12_monitor_"))] \
                if not killing.world.settings.get("database") else []
            assert len(left) <= 2, f"lock files of those that were killed gather: {left}"
            return


def a_backup_of_the_catalog(killing, first, stride):
    """syncropy backup-catalog: the old file, or the new one, from which gbak makes a catalog."""
    killing.start_anew(0)
    killing.run_well()
    file = killing.world.store / "catalog.fbk"
    killing.world.syncropy("backup-catalog", file)
    for at in calls_of(first, stride):
        before = file.read_bytes()
        going_on = killing.traced(at, "backup-catalog", file, program="syncropy")
        after = file.read_bytes()
        assert after == before or readable(killing.world, file), f"killed at call {at}, the backup is half a backup"
        killing.oracle.at_rest()
        killing.counts["judged"] += 1
        surplus = {name for name in os.listdir(killing.world.store) if not name.startswith("fb")} - {"backups0", "catalog.fbk", "catalog.fbk.new"}  # fb: gbak
        assert not surplus, f"backups that were not finished gather: {sorted(surplus)}"
        if not going_on:
            assert not file.with_suffix(".fbk.new").exists(), "what a killed one left outlives the next"
            return


def readable(world, file):
    made = world.store / "tried.fdb"
    done = subprocess.run([*harness.AS_SERVER, "gbak", "-replace_database", file, str(made)], capture_output=True, text=True,
                          env={**os.environ, "FIREBIRD_LOCK": str(world.store)})
    made.unlink(missing_ok=True)
    return done.returncode == 0


def a_deletion(killing, first, stride):
    """syncropy-server --del-dataset: the dataset is there whole, or gone whole; all others stay."""
    killing.start_anew(0)
    killing.run_well()
    for at in calls_of(first, stride):
        killing.change()
        killing.run_well()
        gone = killing.world.newest()
        going_on = killing.traced(at, "-H", "--del-dataset", gone.name)
        if not gone.folder.exists():
            killing.oracle.deleted("a", gone.sequence)
        killing.look()
        killing.run_well()
        if not going_on:
            return


# What the last version of the schema brought, taken back.
DOWNGRADE = ["DROP VIEW file_history;", "DROP TABLE removed_dataset;", "CREATE VIEW file_history (a) AS SELECT version FROM syncropy_schema;", "COMMIT;",
             "CREATE OR ALTER VIEW syncropy_schema (version) AS SELECT 2 FROM rdb$database;"]


def an_upgrade(killing, first, stride):
    """Of an older catalog, in place: the old one, the new one, or one that is made anew. `stride` counts writes to the database alone."""
    killing.start_anew(0)
    killing.calls = "pwrite64"
    mark = killing.world.repository / ".syncropy/catalog.fdb.unsynced"
    killing.run_well()
    began = False
    for at in calls_of(first, stride):
        killing.oracle.change_catalog(DOWNGRADE)
        killing.change()
        assert killing.traced(at, "-H"), "it was over before it was killed in mid-upgrade"
        cut = mark.read_text() == "upgrading\n"
        killing.counts["killed in mid-upgrade"] += cut
        killing.look()
        killing.run_well()
        if began and not cut:
            return
        began = began or cut


def a_noting(killing, first, stride):
    """syncropy verify where a stored file of three datasets is damaged, and where it is whole again: a list of damage is the old one or the new one, and
    whatever was left, verify notes the same in the end, what is noted is not linked again, and nothing stays noted that is good."""
    killing.start_anew(0)
    world = killing.world
    trees.write(world.source / "victim", b"content that nobody changes")
    for _ in range(KEEP + 2):
        killing.change()
        killing.run_well()

    def lists():
        return {dataset.name: (dataset.folder / "damaged").read_bytes() for dataset in world.datasets() if (dataset.folder / "damaged").exists()}

    def verify(status):
        world.syncropy("verify", "--no-catalog", status=status)
        killing.counts["executed"] += 1
        return lists()

    going_on, at, number = {True: True, False: True}, first, 0
    while any(going_on.values()):
        killing.run_well()  # a spare that is to go
        datasets = world.datasets()
        victim = stored_file(datasets[-1], world.source / "victim")
        sharing = {dataset.name for dataset in datasets if stored_file(dataset, world.source / "victim").stat().st_ino == victim.stat().st_ino}
        for damaged, status in ((True, 65), (False, 0)):
            before = lists()
            flip(victim, 3)
            going_on[damaged] = killing.traced(at, "verify", "--no-catalog", program="syncropy", status=status)
            left = lists()
            after = verify(status)
            assert after.keys() == (sharing if damaged else set()), f"killed at call {at}, and then noted in {after.keys()} of {sharing}"
            for name, content in left.items():
                assert content in (before.get(name), after.get(name)), f"killed at call {at}, the list of {name} is half a list"
        killing.oracle.at_rest()
        killing.counts["judged"] += 1
        if number % 4 == 1:  # it is not linked again
            flip(victim, 3)
            verify(65)
            world.run()
            killing.counts["executed"] += 1
            fresh = stored_file(world.newest(), world.source / "victim")
            assert fresh.read_bytes() == b"content that nobody changes", "what is noted as damaged was linked"
            flip(victim, 3)
            assert not verify(0), "what is good again stays noted"
        at, number = at + stride, number + 1


def a_verification(killing, first, stride):
    """syncropy verify where all is in order: it, or the process of it that reads the catalog. The catalog is as good as before, and not called damaged."""
    killing.start_anew(0)
    for _ in range(KEEP + 1):
        killing.change()
        killing.run_well()
    for number, at in enumerate(calls_of(first, stride)):
        going_on = killing.traced(at, "verify", program="syncropy")
        killing.world.syncropy("verify")
        killing.counts["executed"] += 1
        killing.oracle.at_rest()
        killing.counts["judged"] += 1
        if number % 10 == 9 or not going_on:
            killing.change()
            killing.run_well()
        if not going_on:
            engine = killing.world.repository / ".syncropy/firebird"  # which has not the room for what all of them have left
            for left in engine.glob("reference-*"):
                os.utime(left, (0, 0))
            killing.world.syncropy("verify")
            assert not (left := list(engine.glob("reference-*"))), f"what those that were killed had made stays: {left}"
            return


def stored_file(dataset, path):
    return dataset.tree / str(path)[1:]


def an_emptying(killing, first, stride):
    """syncropy empty-trash: only what is in the trash goes, though the same inodes have names in datasets; the next one empties it."""
    killing.start_anew(0)
    for _ in range(KEEP + 2):
        killing.change()
        killing.run_well()
    trash = killing.world.repository / "a/.trash"
    for at in calls_of(first, stride):
        subprocess.run([*harness.AS_SERVER, "sh", "-c", 'mkdir -p "$2" && cp -al "$1" "$2/old"', "sh", killing.world.newest().folder, trash], check=True)
        going_on = killing.traced(at, "empty-trash", program="syncropy")
        killing.oracle.at_rest()
        killing.counts["judged"] += 1
        killing.world.syncropy("empty-trash")
        killing.counts["executed"] += 1
        assert not os.listdir(trash), f"killed at call {at}, the trash is not emptied by the next one"
        if at % 16 == 0 or not going_on:
            killing.change()
            killing.run_well()
        if not going_on:
            return


SCENES = {"upgrade": an_upgrade, "run": a_run, "recovery": a_recovery, "first run": a_first_run, "rebuild": a_rebuilding,
          "backup of the catalog": a_backup_of_the_catalog, "deletion": a_deletion, "noting": a_noting, "emptying": an_emptying,
          "verification": a_verification}


def at_each_call(lab, scene, seed, stride=1, database=None, calls=inject.CHANGING):
    """The counts; a scene that was not killed once has shown nothing."""
    with Killing(lab, seed, database, calls=calls) as killing:
        SCENES[scene](killing, 1 + random.Random(seed).randrange(stride), stride)
        assert killing.counts["injected"] > 0, f"{scene}: no call was injected"
        return killing.counts


# --- at random moments

class OwnFirebird:
    """A Firebird server that can be killed and started again, in the folder that tests/support/firebird-server has made."""

    def __init__(self, made):
        self.root, self.made, self.process = made.folder.parent, made, None
        self.pid = made.pid

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        if self.process:
            self.process.wait()
            self.process = None
        else:
            harness.wait_until(lambda: not os.path.exists(f"/proc/{self.pid}") or "\nState:\tZ" in open(f"/proc/{self.pid}/status").read(), "it has ended")

    def start(self):
        st = self.root.stat()
        command = [*(harness.as_user(st.st_uid) if os.geteuid() == 0 else ()), "firebird"]
        environment = {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "FIREBIRD": str(self.root), "FIREBIRD_LOCK": str(self.root / "lock"),
                       "FIREBIRD_TMP": str(self.root)}
        self.process = subprocess.Popen(command, cwd=self.root, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.pid = self.process.pid
        self.made.pid = self.pid  # whom the fixture ends

    def answers(self):
        done = subprocess.run(["isql-fb", "-q", "-user", "SYSDBA", "-password", self.made.password, f"127.0.0.1/{self.made.port}:{self.root}/security3.fdb"],
                              input="", capture_output=True, text=True)
        return done.returncode == 0 and not done.stderr


def at_random_moments(lab, victims, count, seed, firebird=None):
    """Kills `count` times one of `victims` ("server", "agent", "database") while a run goes on. Those that came when the run was over are counted apart."""
    database = firebird.database() if firebird else None
    with Killing(lab, seed, database, files=60, large=2 << 20) as killing:
        world, chance, counts = killing.world, killing.chance, killing.counts
        listener = world.listener()
        agent = world.agent(listener=listener)
        world.client("a", agent.where)
        own = OwnFirebird(firebird) if firebird else None
        killing.start_anew(0)
        lengths = []
        for _ in range(KEEP + 1):
            killing.change()
            lengths.append(world.run().seconds)
        length = min(lengths[1:])
        killing.oracle.at_rest()
        number = 0
        while counts["killed in mid-run"] < count and number < 4 * count:
            number += 1
            killing.change()
            victim, before = chance.choice(victims), world.state()
            run = world.start("-c", world.configuration, "-H")
            time.sleep(length * chance.random())
            alive = run.runs()
            if victim == "server":
                run.kill()
            elif victim == "agent":
                agent.kill()
                agent.wait()
                agent = world.agent(listener=listener)  # the listening socket outlives it, as systemd's does
            else:
                own.kill()
            status = run.wait()
            world.made.remove(run)
            counts["killed in mid-run"] += alive
            counts["killed too late"] += not alive
            counts[f"{victim} killed"] += alive
            counts["executed"] += 1
            # Firebird away: published, and not recorded (4). The agent: 69 or 76, or nothing where its work was done.
            expected = {"server": (0, -signal.SIGKILL), "agent": (0, 69, 76), "database": (0, 4)}[victim]
            assert status in expected, f"the {victim} was killed, and the run ended with {status}: {run.text()}"
            if victim == "agent" and status != 0:
                now = world.state()  # what one left that was killed before has been put in order
                differ = [name for name in now.keys() | before.keys() if now.get(name) != before.get(name) and not name.endswith((" .staging", " latest"))]
                assert not differ, f"a run that failed changed {differ}: {run.text()}"
            if victim == "database":
                own.start()
                harness.wait_until(own.answers, "the database server is back")
            killing.look()
            if number % 4 == 0:
                killing.run_well()
        killing.run_well()
        assert counts["killed in mid-run"] >= count, f"too few of the kills met a run: {counts}"
        return counts
