"""Which of all positions a test tries: every one, or a share of them: in CI the same each time, so that what fails is what was changed, else drawn.

SYNCROPY_FAULTS=all         every position
SYNCROPY_FAULTS=N           N of them in each series; unset: as many as CI has time for
SYNCROPY_FAULTS_SEED=SEED   those that the run with this seed tried: it is printed with each failure
"""

import concurrent.futures
import os
import random

WANTED = os.environ.get("SYNCROPY_FAULTS", "")
SEED = int(os.environ.get("SYNCROPY_FAULTS_SEED") or (random.SystemRandom().randrange(1_000_000) if WANTED else 1))
ALL = WANTED == "all"
WORKERS = os.cpu_count() or 1


def chance(series):
    """Random numbers of one series, which do not hang on what other tests drew."""
    return random.Random(f"{SEED} {series}")


def count(all_of_them, ci):
    """How many, where there is no end of positions: `all_of_them` is what the long form does."""
    return all_of_them if ALL else int(WANTED) if WANTED else ci


def positions(series, total, ci):
    """Of 1 to `total`: all, or so many at an even distance from a random first one."""
    wanted = total if ALL else min(total, int(WANTED) if WANTED else ci)
    if not wanted:
        return []
    stride = total / wanted
    first = chance(series).random() * stride
    return sorted({min(total, int(first + number * stride) + 1) for number in range(wanted)})


def side_by_side(places, jobs, attempt):
    """Calls attempt(place, job) for every job, each place in one thread; returns what the calls returned, in the order of the jobs."""
    jobs = list(jobs)
    free = list(places)
    results = [None] * len(jobs)
    rest = iter(enumerate(jobs))

    def work(place):
        for number, job in numbered():
            results[number] = attempt(place, job)

    def numbered():
        while True:
            try:
                yield next(rest)  # one bytecode deep in C: no two threads get the same
            except StopIteration:
                return

    with concurrent.futures.ThreadPoolExecutor(len(free)) as pool:
        for future in [pool.submit(work, place) for place in free]:
            future.result()
    return results


def tell(series, **counts):
    """The harness says what it did; a count of zero is a failure."""
    print(f"{series}: " + ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in counts.items()) + f" (SYNCROPY_FAULTS_SEED={SEED})")
    for name, value in counts.items():
        assert value, f"{series}: no {name.replace('_', ' ')}"
