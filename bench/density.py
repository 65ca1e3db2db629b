"""Many idle sandboxes side by side: whether all of them start, and what memory they take together."""
import os
import select
import signal
import shutil
import subprocess
import time

from common import CannotRun, end_group, inside, say, table
from idle import descendants


def available():
    """MiB that the host could give to others."""
    with open("/proc/meminfo") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("MemAvailable:")) / 1024


def proportional(pids):
    """MiB, each page shared out among those who map it."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                total += next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        except (OSError, StopIteration):
            pass
    return total / 1024


def end(all_of_them):
    for one in all_of_them:
        one.send_signal(signal.SIGTERM)
    for one in all_of_them:
        try:
            one.wait(10)
        except subprocess.TimeoutExpired:
            end_group(one.pid)
            one.wait()
        one.stdout.close()


def run(programs, count, report):
    print("\n## Density: idle sandboxes side by side")
    busybox = shutil.which("busybox")
    if not busybox:
        report.failed("density", "busybox is not installed")
        return
    say(f"density: {count} sandboxes")
    before, began = available(), time.monotonic()
    command = inside(programs.sandbox, "systrap", busybox, "sh", "-c",
                     f"echo ready; exec {busybox} sleep 600")
    started = []
    try:
        for _ in range(count):  # In parallel: none waits for another.
            started.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                            stderr=subprocess.DEVNULL, start_new_session=True))
        waiting = {one.stdout: one for one in started}
        ready = 0
        while waiting and time.monotonic() - began < 120:
            for stream in select.select(list(waiting), [], [], 1)[0]:
                ready += stream.readline() == b"ready\n"
                del waiting[stream]
        seconds = time.monotonic() - began
        time.sleep(2)  # What their starts left to do is done.
        taken = before - available()
        memory = sum(proportional([one.pid, *descendants(one.pid)]) for one in started)
    except OSError as error:
        raise CannotRun(str(error)) from None
    finally:
        end(started)
    if ready != count:
        report.failed("density", f"{count - ready} of {count} did not start")
    table(f"{count} of `sandbox do sleep`, started at once",
          ("failures", "all ready after", "processes' own (PSS)", "less available on the host",
           "of that, for each"),
          [(count - ready, f"{seconds:.1f} s", f"{memory:.0f} MiB", f"{taken:.0f} MiB",
            f"{taken / count:.2f} MiB")])
    report.goal(f"memory of {count} idle sandboxes", 1024, taken, " MiB")
