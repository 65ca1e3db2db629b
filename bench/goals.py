"""Native speed: each figure natively and inside, in turns, beside a spare core and on busy ones."""
import os
import shutil
import statistics
import subprocess

from common import CannotRun, duration, inside, output_of, ratio, rounds_of, say, table
from micro import time_of
from workloads import Workload

# What is measured, how, and the most it may take ÷ native: with a core to spare, and with none.
HOT = (
    ("getpid, libc", "hot", "getpid", 0.5, 0.5),
    ("fcntl(F_GETFL) of a pipe, libc", "hot", "fcntl", 3, 45),
    ("lseek of a pipe, libc", "hot", "lseek", 3, 45),
    ("fcntl(F_GETFL) through syscall(2)", "hot", "rawfcntl", 5, 45),
    ("fcntl(F_GETFL), musl", "musl", "fcntl", 5, 45),
    ("pread of 4 KiB of a cached file", "hot", "pread", 2.5, 20),
    ("mmap + touch + munmap, 4 KiB", "hot", "mmap", 1.2, 1.2),
    ("mprotect, there and back", "hot", "mprotect", 1.2, 1.2),
    ("fork + exec + wait, static", "micro", "ForkExecWait", 1.5, 1.7),
    ("walk of 20,000 files with stat", "workload", "walk", 2, 6),
    ("bash starting /bin/true 200 times", "workload", "exec", 1.6, 1.8),
    ("make -j2 of 200 small C files", "workload", "make", 1.25, None),
    ("python3 with ssl, asyncio, json", "workload", "python", 1.3, 1.5),
    ("redis-benchmark, unix socket", "workload", "redis", 1 / 0.8, 1 / 0.6),
)


class Burners:
    """Computing processes, as many as there are CPUs, while this lasts."""

    def __init__(self, program, count):
        self.command, self.count, self.running = [program, "work", "100000"], count, []

    def __enter__(self):
        self.running = [subprocess.Popen(self.command, stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL) for _ in range(self.count)]

    def __exit__(self, *_):
        for one in self.running:
            one.kill()
            one.wait()


def musl_program(programs, folder):
    """The same for another C library, if that is installed; None otherwise."""
    if shutil.which("musl-gcc") is None:
        return None
    source = os.path.join(os.path.dirname(os.path.realpath(__file__)), "hot.c")
    path = f"{folder}/bench_hot_musl"
    done = subprocess.run(["musl-gcc", "-O2", "-static", "-o", path, source], capture_output=True)
    return path if done.returncode == 0 else None


def figure(prefix, programs, kind, what):
    """Nanoseconds of one run."""
    if kind == "micro":
        return time_of(prefix, programs, what, 0.1)
    if kind == "workload":
        words = output_of([*prefix, "/bin/bash", "-c", Workload(what).script], limit=300).split()
        if len(words) != 2 or words[0] != "ms":
            raise CannotRun(f"prints {' '.join(words)[:80]!r} instead of a time")
        return float(words[1]) * 1e6
    program = programs.hot if kind == "hot" else programs.musl
    return float(output_of([*prefix, program, what, programs.hot], limit=120))


def measure(programs, rounds, report, busy):
    rows = []
    for what, kind, name, spare_goal, busy_goal in HOT:
        goal = busy_goal if busy else spare_goal
        if goal is None:
            continue
        reason = None
        if kind == "workload" and Workload(name).missing():
            reason = " ".join(Workload(name).missing()) + " not installed"
        if kind == "musl" and programs.musl is None:
            reason = "musl-tools not installed"
        if reason is not None:
            print(f"- {what} skipped: {reason}")
            continue
        say(f"goals: {what}{', busy' if busy else ''}")
        # Programs are known after a while.
        sources = [(place, lambda prefix=prefix: figure(prefix, programs, kind, name))
                   for place, prefix in (("native", []), ("sandbox", inside(programs.sandbox, "systrap")))]
        samples = rounds_of(sources, rounds, lambda place, why: report.failed(
            f"goals: {what}, {place}", why))
        if len(samples) < 2:
            continue
        times = ratio(samples["sandbox"], samples["native"])
        native, sandbox = (statistics.median(samples[place]) for place in ("native", "sandbox"))
        rows.append((what, duration(native), duration(sandbox), f"{times:.2f}", f"≤ {goal:.3g}",
                     "yes" if round(times, 2) <= goal else "no"))
    regime = "all cores busy with others" if busy else "a core to spare"
    table(f"Against native, {regime}, {rounds} interleaved rounds",
          ("what", "native", "sandbox, systrap", "ratio", "goal", "met"), rows)


def computed(programs, seconds, flags):
    """Rounds of two sandboxes that compute, beside one that calls; and the calls of that one."""
    command = [programs.sandbox, "do"]
    workers = [subprocess.Popen([*command, programs.hot, "work", str(seconds)],
                                stdout=subprocess.PIPE, text=True) for _ in range(2)]
    calls = output_of([*command, *flags, programs.hot, "chat", str(seconds)], limit=seconds + 60)
    return sum(int(one.communicate()[0]) for one in workers), int(calls)


def beside(programs, rounds, seconds, report):
    """What a spinner takes from those who compute, on two CPUs or more."""
    say("goals: computing beside one that calls")
    with_spinner, without = [], []
    try:
        for _ in range(rounds):
            with_spinner.append(computed(programs, seconds, []))
            without.append(computed(programs, seconds, ["--no-syscall-patching"]))
    except (CannotRun, ValueError) as reason:
        report.failed("goals: computing beside one that calls", reason)
        return
    work = ratio([one[0] for one in with_spinner], [one[0] for one in without])
    calls = ratio([one[1] for one in with_spinner], [one[1] for one in without])
    table(f"Two sandboxes that compute and one that calls, {seconds} s, {rounds} interleaved rounds",
          ("what", "with a spinner ÷ without", "goal", "met"),
          [("work of those that compute", f"{work:.3f}", "≥ 0.97", "yes" if work >= 0.97 else "no"),
           ("calls of the other", f"{calls:.2f}", "", "")])


def run(programs, rounds, report):
    print("\n## Native speed")
    folder = os.path.dirname(programs.hot)
    programs.musl = musl_program(programs, folder)
    measure(programs, rounds, report, busy=False)
    with Burners(programs.hot, len(os.sched_getaffinity(0))):
        measure(programs, rounds, report, busy=True)
    beside(programs, rounds, 3, report)
