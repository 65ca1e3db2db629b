"""One process that forks for a long time: whether it gets slower, and what the sandbox keeps of it."""
import os
import select
import subprocess
import time

from common import PLATFORMS, CannotRun, duration, end_group, inside, say, table
from idle import ROLES, descendants, role

SECONDS = 900  # For all that is asked at once.
WARM_UP = 500  # Forks that do not count.


class Forker:
    """The helper of the tests that makes children on request, natively or inside."""

    def __init__(self, prefix, helper):
        self.process = subprocess.Popen([*prefix, helper], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, start_new_session=True)
        self.answer()

    def answer(self):
        if not select.select([self.process.stdout], [], [], SECONDS)[0]:
            raise CannotRun(f"nothing after {SECONDS} s")
        if self.process.stdout.readline() != "ready\n":
            raise CannotRun("it has ended")

    def forks(self, count):
        """Nanoseconds for each child, reaped."""
        begin = time.perf_counter_ns()
        self.process.stdin.write(f"fork {count}\n")
        self.process.stdin.flush()
        self.answer()
        return (time.perf_counter_ns() - begin) / count

    def end(self):
        end_group(self.process.pid)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def holdings(front_end):
    """(host processes, descriptors of sentry and gofer, resident KiB of the sentry)"""
    processes, descriptors, resident = 0, 0, 0
    for pid in descendants(front_end):
        try:
            who = role(pid)
            processes += 1
            if who not in ROLES.values():
                continue
            descriptors += len(os.listdir(f"/proc/{pid}/fd"))
            with open(f"/proc/{pid}/status") as f:
                status = dict(line.split(":", 1) for line in f.read().splitlines())
            if who == "sentry":
                resident = int(status["VmRSS"].split()[0])
        except OSError:
            pass  # It has just ended.
    return processes, descriptors, resident


def in_turns(sandbox, native, forks):
    """Nanoseconds for each fork inside and natively: the fastest of ten pieces each, made in turns."""
    pieces = [(sandbox.forks(forks // 10), native.forks(forks // 10)) for _ in range(10)]
    return [min(column) for column in zip(*pieces)]


def run(programs, forks, report):
    ends = forks // 100
    print(f"\n## Endurance: {forks:,} forks of one process in a row")
    helper = os.path.join(os.path.dirname(programs.true), "helpers", "crowd")
    if not os.access(helper, os.X_OK):
        report.failed("endurance", f"{helper} is missing")
        return
    rows = []
    for platform in PLATFORMS:
        pair = []
        try:
            for prefix in ([], inside(programs.sandbox, platform)):
                pair.append(Forker(prefix, helper))
            native, sandbox = pair
            in_turns(sandbox, native, WARM_UP)
            say(f"endurance: {platform}")
            before = holdings(sandbox.process.pid)
            first = in_turns(sandbox, native, ends)
            sandbox.forks(forks - 2 * ends)
            last = in_turns(sandbox, native, ends)
            after = holdings(sandbox.process.pid)
            factors = [inner / outer for inner, outer in (first, last)]
            rows.append((platform, duration(first[0]), duration(last[0]), *(f"{f:.2f}" for f in factors),
                         *(f"{a:,} → {b:,}" for a, b in zip(before, after))))
            report.goal(f"fork + exit + wait, the last hundredth ÷ the first, {platform}", 1.1, factors[1] / factors[0])
        except (CannotRun, BrokenPipeError) as reason:
            report.failed(f"endurance, {platform}", reason)
        finally:
            for one in pair:
                one.end()
    table("The first and the last hundredth, the fastest of ten pieces each, in turns with the same natively",
          ("platform", "first", "last", "÷ native, first", "last", "processes of the sandbox",
           "descriptors of sentry and gofer", "sentry, KiB resident"), rows)
