"""Something happens at the N-th system call of a program: it is killed there, or the call fails, or takes half of the bytes. See inject.cpp."""

import dataclasses
import pathlib
import subprocess

import harness

# What changes a repository or an embedded catalog: between two of these it looks the same.
CHANGING = ("create,mkdirat,mkdir,symlinkat,linkat,unlinkat,unlink,rmdir,renameat,renameat2,rename,write,pwrite64,writev,ftruncate,fallocate,fsync,fdatasync,"
            "syncfs,utimensat,fchmod,fchmodat,chmod,fchown,copy_file_range,flock")
TALKING = "sendto,sendmsg,recvfrom"  # with a database server and with the agent


def program(lab):
    """The injecting program, made from its source once in a Lab."""
    made = lab.program("inject")
    if not made.exists():
        source = pathlib.Path(__file__).with_suffix(".cpp")
        draft = made.with_suffix(".new")
        subprocess.run(["g++", "-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", "-o", draft, source], check=True)
        draft.rename(made)
    return made


@dataclasses.dataclass
class Injected:
    calls: int      # counted
    injected: int
    where: str      # the first call that was injected, and after a colon the file it was about
    done: harness.Ended

    def __str__(self):
        return f"{self.injected} injected ({self.where}), {self.calls} calls counted: {self.done}"


def run(world, calls, *arguments, program_name="syncropy-server", at=None, upto=None, kill=False, error=None, short=False, user=harness.AS_SERVER,
        patience=harness.PATIENCE):
    """subprocess.TimeoutExpired, when it hangs, tells `where`, too. Runs a program of the world with something at call `at`, or at each from there up to `upto`. Without `at` its calls are only counted."""
    report = world.folder / "injected"
    report.unlink(missing_ok=True)
    prefix = [program(world.lab), "--report", report, "--calls", calls]
    if at is not None:
        prefix += ["--at", at] + (["--upto", upto] if upto else []) + (["--kill"] if kill else ["--short"] if short else ["--error", error])
    try:
        done = world.execute(program_name, *arguments, prefix=prefix, user=user, patience=patience)
    except subprocess.TimeoutExpired as hangs:
        hangs.where = report.read_text().split(maxsplit=2)[2].strip() if report.exists() else "-"
        raise
    assert done.status != 99 and report.exists(), f"nothing was traced: {done}"
    counted, injected, where = report.read_text().split(maxsplit=2)
    return Injected(int(counted), int(injected), where.strip(), done)
