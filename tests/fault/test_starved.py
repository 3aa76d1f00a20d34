"""No space, no quota, a failing disk, no descriptors, interruptions, half of the bytes, no threads: at each call of a run in turn, on the server and on
the agent. What happens is a success or one clear error; the next run succeeds."""

import dataclasses

import pytest

import inject
import preloading
import share
import starving

READING = "openat,openat2,read,pread64,getdents64,readlinkat,statx,newfstatat,fstat,fstatfs,lseek,fgetxattr,flistxattr"
SLEEPING = "waiting,read,pread64,readv,write,pwrite64,writev,poll,ppoll,recvmsg,recvfrom,sendto,sendmsg,connect,accept4,copy_file_range"
MOVING = "read,pread64,readv,write,pwrite64,writev,recvfrom,sendto,copy_file_range"
OPENING = "openat,openat2,socket,accept4,dup,dup3,fcntl,pipe2,eventfd2"
GROWING = "mmap,mremap,clone,clone3"  # brk(2) does not fail by an error

SPACE = inject.CHANGING.removesuffix(",flock")
TAKING = "mkdirat,symlinkat,linkat,renameat,renameat2,pwrite64,writev,fallocate,fsync,fdatasync,syncfs,copy_file_range"  # takes space

PATIENCE = 20  # seconds; a run takes none
DATA, IO, NO_MEMORY, ANY = 65, 74, 71, {66, 69, 73, 74, 76, 77, 78}


@dataclasses.dataclass
class Series:
    """One kind of want. `statuses`: what a run may end with besides 0, 3 and 4."""
    name: str
    calls: str
    what: tuple
    statuses: set
    ci: int
    rest: bool = False  # from there on it stays so


SERVER = [
    Series("ENOSPC", SPACE, ("--error", "ENOSPC"), {IO}, 4),
    Series("ENOSPC that stays", TAKING, ("--error", "ENOSPC"), {IO}, 4, rest=True),
    Series("EDQUOT", SPACE, ("--error", "EDQUOT"), {IO}, 4),
    Series("EIO when writing", inject.CHANGING, ("--error", "EIO"), {IO}, 6),
    Series("EIO when writing content that stays", "pwrite64", ("--error", "EIO"), {IO}, 3, rest=True),
    Series("EIO when reading", READING, ("--error", "EIO"), ANY | {DATA}, 8),  # a manifest that the disk does not give back
    Series("EMFILE", OPENING, ("--error", "EMFILE"), ANY, 8),
    Series("EINTR", SLEEPING, ("--error", "EINTR"), ANY, 8),
    Series("half of the bytes", MOVING, ("--short",), set(), 8),
    Series("ENOMEM and no thread", GROWING, ("--error", "ENOMEM"), ANY | {NO_MEMORY}, 8),
]


@pytest.fixture(scope="module")
def places(lab):
    made = [starving.Starved(lab) for _ in range(min(2, share.WORKERS))]
    yield made
    for starved in made:
        starved.close()


def run(starved, series, at=None):
    world = starved.world
    options = {}
    if at is not None:
        options = {"at": at, "short": True} if series.what == ("--short",) else {"at": at, "error": series.what[1]}
        if series.rest:
            options["upto"] = 1_000_000_000
    return inject.run(world, series.calls, "-c", world.configuration, "-H", patience=PATIENCE, **options)


def is_of_the_engine(where):
    """Its locks and its database; memory and threads that it wants."""
    return any(part in where for part in ("/.syncropy/", "libEngine12", "libfbclient", "/firebird/"))


def try_all(name, places, total, ci, attempt):
    """attempt(starved, position) → (injected, status); what is wrong with any of them is told at the end."""
    positions = share.positions(name, total, ci)

    def one(starved, position):
        try:
            return (*attempt(starved, position), None)
        except starving.Wrong as wrong:
            return 0, "wrong", f"{name}, at {position} of {total}: {wrong}"

    results = share.side_by_side(places, positions, one)
    statuses = {status: sum(result[1] == status for result in results) for status in {result[1] for result in results}}
    wrong = [result[2] for result in results if result[2]]
    print(f"{name}: {total} calls, statuses {statuses}")
    assert not wrong, f"{len(wrong)} of {len(positions)} are wrong (SYNCROPY_FAULTS_SEED={share.SEED}):\n" + "\n".join(wrong)
    share.tell(name, tried=len(positions), injected=sum(result[0] for result in results))


@pytest.mark.parametrize("series", SERVER, ids=lambda series: series.name.replace(" ", "-"))
def test_server(places, series):
    places[0].change()
    counted = run(places[0], series)
    assert counted.done.status == 0, counted

    def attempt(starved, position):
        injected = []

        def starve():
            injected.append(run(starved, series, position))
            return injected[0].done

        status = starved.attempt(starve, series.statuses, lambda: is_of_the_engine(injected[0].where) or series.rest and "Firebird" in injected[0].done.err,
                                 hang=lambda where: series.calls == GROWING and is_of_the_engine(where))
        if not injected:
            return 1, status
        if status == 0 and injected[0].where.startswith("pwrite64:") and series.what == ("--error", "EIO"):
            # Firebird tries again, many times, and then the page is there; nobody else is forgiven.
            starving.expect("/.syncropy/catalog.fdb" in injected[0].where, f"a failed write is no failure: {injected[0].where}", injected[0].done)
            starved.world.check()
        return injected[0].injected, status

    try_all(f"server, {series.name}", places, counted.calls, series.ci, attempt)


AGENT_ENDED = {2, IO, NO_MEMORY, 66, 69, 73, 76, 77, 78}
AGENT = [
    Series("EIO when reading", READING, ("--error", "EIO"), {69, IO, 76}, 8),
    Series("EMFILE", OPENING, ("--error", "EMFILE"), {69, IO, 76}, 8),
    Series("EMFILE that stays", OPENING, ("--error", "EMFILE"), {69, IO, 76}, 4, rest=True),
    Series("EINTR", SLEEPING, ("--error", "EINTR"), {69, IO, 76}, 8),
    Series("half of the bytes", MOVING, ("--short",), set(), 8),
    Series("ENOMEM and no thread", GROWING, ("--error", "ENOMEM"), {69, IO, 76, NO_MEMORY}, 3),
    Series("a write that fails", "write,writev,sendto,sendmsg", ("--error", "EIO"), {69, IO, 76}, 4),
]


@pytest.mark.parametrize("series", AGENT, ids=lambda series: series.name.replace(" ", "-"))
def test_agent(places, series):
    agents = {id(starved): starving.StarvedAgent(starved, series.calls) for starved in places}
    places[0].change()
    done, total, _, _, _ = agents[id(places[0])].run()
    assert done.status == 0 and total > 0, done

    def attempt(starved, position):
        counts, fitting = [], set(series.statuses)

        def starve():
            what = ["--at", position, *(["--upto", 1_000_000_000] if series.rest else []), *series.what]
            agent = agents[id(starved)]
            done, _, injected, _, _ = agent.run(what, AGENT_ENDED)
            counts.append(injected)
            fitting.update(() if agent.began else (69, 76))  # nobody answered
            return done

        before = dict(starved.world.settings["clients"]["a"])
        try:
            status = starved.attempt(starve, fitting, before_next=lambda: starved.world.settings["clients"]["a"].update(starved.agent.where))
        finally:
            starved.world.settings["clients"]["a"].update(before | starved.agent.where)
        return counts[0], status

    try_all(f"agent, {series.name}", places, total, series.ci, attempt)


# --- allocations


@pytest.fixture(scope="module")
def memories(lab, places):
    return {id(starved): preloading.Memory(lab, starved.world.folder / "memory") for starved in places}


def test_server_without_memory(places, memories):
    """The N-th allocation fails."""
    first = memories[id(places[0])]
    places[0].change()
    first.arm(0)
    done = places[0].world.server("-H", environment=first.environment)
    assert done.status == 0, done
    total = first.count

    def attempt(starved, position):
        memory, world = memories[id(starved)], starved.world
        memory.arm(position)
        try:
            status = starved.attempt(lambda: world.server("-H", environment=memory.environment, patience=PATIENCE), {NO_MEMORY, 69, 73, 74, 76, 77, 78}, lambda: memory.in_library)
        except starving.Wrong as wrong:
            raise starving.Wrong(f"{wrong}\n{memory.where}") from wrong
        return memory.failed, status

    try_all("server, no memory", places, total, 40, attempt)


def test_agent_without_memory(places, memories):
    """An agent that stays, for all of them: at most the run under way fails."""
    agents = {}

    def start(starved):
        world, memory = starved.world, memories[id(starved)]
        memory.arm(0)
        world.environment.update(memory.environment)
        agents[id(starved)] = world.agent()
        for name in memory.environment:
            del world.environment[name]

    for starved in places:
        start(starved)
    starved = places[0]
    starved.change()
    starved.world.settings["clients"]["a"].update(agents[id(starved)].where)
    starved.world.run()
    memories[id(starved)].arm(0)
    starved.change()
    starved.world.run()
    total = memories[id(starved)].count

    def attempt(starved, position):
        memory, world, agent = memories[id(starved)], starved.world, agents[id(starved)]
        world.settings["clients"]["a"].update(agent.where)
        memory.arm(position)

        def start_again():
            if agent.runs():
                return
            if not memory.in_library or "error: crashed (" not in agent.text():
                raise starving.Wrong(f"the agent ended with {agent.process.returncode}")
            start(starved)
            world.settings["clients"]["a"].update(agents[id(starved)].where)

        try:
            status = starved.attempt(lambda: world.server("-H", patience=PATIENCE), {NO_MEMORY, 69, 74, 76, 77}, before_next=start_again)
        except starving.Wrong as wrong:
            raise starving.Wrong(f"{wrong}\n{memory.where}\n{agent.text()[-1000:]}") from wrong
        return memory.failed, status

    try:
        try_all("agent, no memory", places, total, 20, attempt)
    finally:
        for starved in places:
            starved.world.settings["clients"]["a"].update(starved.agent.where)
