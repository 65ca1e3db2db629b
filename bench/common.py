"""What the measurements share: running commands, statistics, tables."""
import os
import select
import signal
import statistics
import subprocess
import sys
import time

PLATFORMS = ("systrap", "ptrace")


class CannotRun(Exception):
    """A command that does not do what it should; its text is the reason, in one line."""


class Report:
    """What the run found, beside its tables."""

    def __init__(self):
        self.goals = []  # (what, goal, measured, whether it is met)
        self.failures = []  # What should have run and did not.

    def goal(self, what, most, measured, unit=""):
        met = "yes" if round(measured, 2) <= most else "no"
        self.goals.append((what, f"≤ {most:g}{unit}", f"{measured:.2f}{unit}", met))

    def failed(self, what, reason):
        self.failures.append(f"{what}: {reason}")
        say(f"{what}: {reason}")


def say(text):
    print(text, file=sys.stderr, flush=True)


def output_of(command, limit=60):
    """Standard output of a command that must succeed."""
    # Its own session: what it leaves behind at a time-out is found and ended with it.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, errors="replace",
                               start_new_session=True)
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        end_group(process.pid)
        process.communicate()
        raise CannotRun(f"nothing after {limit} s") from None
    if process.returncode != 0:
        lines = [line for line in err.splitlines() if line.strip()] or ["no message"]
        raise CannotRun(f"status {process.returncode}, {lines[-1][:200]}")
    return out


def end_group(leader):
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        pass


def seconds_of(command, limit=30):
    """Real time from the start of a command to its end, with nothing to read or write."""
    quiet = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in range(3)]
    begin = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=quiet, setpgroup=0)
    pidfd = os.pidfd_open(pid)
    try:
        ended = select.select([pidfd], [], [], limit)[0]
        if not ended:
            end_group(pid)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        spent = time.perf_counter() - begin
    finally:
        os.close(pidfd)
    if not ended:
        raise CannotRun(f"no end after {limit} s")
    if status != 0:
        raise CannotRun(f"status {status}")
    return spent


def rounds_of(sources, rounds, failed):
    """{source: [figure, …]} of (source, function) pairs, in turns. A source that fails is out, and
    failed(source, reason) hears of it."""
    samples = {source: [] for source, _ in sources}
    for _ in range(rounds):
        for source, sample in sources:
            if source in samples:
                try:
                    samples[source].append(sample())
                except CannotRun as reason:
                    failed(source, reason)
                    del samples[source]
    return samples


def inside(sandbox, platform, *command):
    return [sandbox, "do", f"--platform={platform}", *command]


def ratio(samples, base):
    """Median of the ratios within each round: what load does to a round it does to both."""
    return statistics.median(a / b for a, b in zip(samples, base))


def least_ratio(samples, base):
    """Ratio of the fastest rounds: what is left when the machine is busy."""
    return min(samples) / min(base)


def table(title, header, rows):
    print(f"\n### {title}\n\n| " + " | ".join(header) + " |")
    print("|---|" + "---:|" * (len(header) - 1))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    sys.stdout.flush()


def duration(ns):
    for unit, size in (("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{ns / size:,.2f} {unit}"
    return f"{ns:.1f} ns"
