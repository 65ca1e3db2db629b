"""One process that forks for a long time: whether it gets slower, and what the sandbox keeps of it."""
import os
import select
import subprocess
import time

from common import CannotRun, duration, end_group, inside, say, table
from idle import ROLES, descendants, role

SECONDS = 300  # For one round.


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


def run(programs, forks, report):
    rounds = 10
    print(f"\n## Endurance: {rounds * forks:,} forks in a row")
    helper = os.path.join(os.path.dirname(os.path.dirname(programs.sandbox)), "helpers", "crowd")
    if not os.access(helper, os.X_OK):
        report.failed("endurance", f"{helper} is missing")
        return
    rows = []
    for platform in ("systrap", "ptrace"):
        pair = []
        try:
            pair = [Forker(prefix, helper) for prefix in ([], inside(programs.sandbox, platform))]
            native, sandbox = pair
            sandbox.forks(500)
            native.forks(500)
            before = holdings(sandbox.process.pid)
            times = []
            for number in range(rounds):
                say(f"endurance: {platform}, round {number + 1} of {rounds}")
                times.append((sandbox.forks(forks), native.forks(forks)))
            after = holdings(sandbox.process.pid)
            first, last = (times[at][0] / times[at][1] for at in (0, -1))
            rows.append((platform, duration(times[0][0]), duration(times[-1][0]), f"{first:.2f}", f"{last:.2f}",
                         *(f"{a:,} → {b:,}" for a, b in zip(before, after))))
            report.goal(f"fork + exit + wait, the last tenth ÷ the first, {platform}", 1.1, last / first)
        except (CannotRun, BrokenPipeError) as reason:
            report.failed(f"endurance, {platform}", reason)
        finally:
            for one in pair:
                one.end()
    table("In turns with the same natively",
          ("platform", "first tenth", "last tenth", "÷ native, first", "last", "processes of the sandbox",
           "descriptors of sentry and gofer", "sentry, KiB resident"), rows)
