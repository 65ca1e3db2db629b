"""An idle sandbox: who wakes up, and what memory it holds for itself."""
import os
import shutil
import signal
import subprocess
import time

from common import PLATFORMS, CannotRun, end_group, inside, say, table

ROLES = {"sandbox-sentry": "sentry", "sandbox-gofer": "gofer"}  # By name; any other is a stub.


def descendants(pid):
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as f:
                parents[int(name)] = int(f.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            pass  # It has just ended.
    found = [pid]
    for one in found:  # Grows while it is walked.
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def role(pid):
    with open(f"/proc/{pid}/comm") as f:
        return ROLES.get(f.read().strip(), "stubs")


def switches(pids):
    """{tid: context switches}, asked for and not."""
    counts = {}
    for pid in pids:
        for tid in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{tid}/status") as f:
                counts[int(tid)] = sum(int(line.split()[1]) for line in f
                                       if "ctxt_switches" in line)
    return counts


def private_memory(pids):
    """MiB that nobody else maps."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            total += sum(int(line.split()[1]) for line in f
                         if line.startswith(("Private_Clean:", "Private_Dirty:")))
    return total / 1024


def watch(front_end, seconds):
    """{role: (processes, threads, context switches in so many seconds, private MiB)}"""
    groups = {"front-end": [front_end], "sentry": [], "gofer": [], "stubs": []}
    for pid in descendants(front_end):
        groups[role(pid)].append(pid)
    for name in ("sentry", "gofer"):
        if not groups[name]:
            raise CannotRun(f"no process is named sandbox-{name}")
    before = {name: switches(pids) for name, pids in groups.items()}
    time.sleep(seconds)
    found = {}
    for name, pids in groups.items():
        after = switches(pids)
        woken = sum(count - before[name].get(tid, 0) for tid, count in after.items())
        found[name] = (len(pids), len(after), woken, private_memory(pids))
    return found


def measure(sandbox, platform, seconds):
    busybox = shutil.which("busybox")
    if not busybox:
        raise CannotRun("busybox is not installed")
    # One process that becomes the sleep: the line says that the start is over.
    script = f"echo ready; exec {busybox} sleep {seconds + 20}"
    command = inside(sandbox, platform, busybox, "sh", "-c", script)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        os.set_blocking(process.stdout.fileno(), False)
        guard = time.monotonic() + 20
        while (process.stdout.read() or b"") != b"ready\n":
            if process.poll() is not None or time.monotonic() > guard:
                raise CannotRun(f"the sleep does not start (status {process.poll()})")
            time.sleep(0.02)
        time.sleep(1)  # What the start left to do is done.
        found = watch(process.pid, seconds)
        if process.poll() is not None:
            raise CannotRun(f"the sleep ended early (status {process.returncode})")
        return found
    except OSError as error:  # A process of the sandbox that went away while it was looked at.
        raise CannotRun(str(error)) from None
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            end_group(process.pid)
            process.wait()
        process.stdout.close()


def run(programs, seconds, report):
    print("\n## Idle: `sandbox do sleep`")
    rows = []
    for platform in PLATFORMS:
        say(f"idle: {platform}, {seconds} s")
        try:
            found = measure(programs.sandbox, platform, seconds)
        except CannotRun as reason:
            report.failed(f"idle: {platform}", reason)
            continue
        for name, (processes, threads, woken, memory) in found.items():
            rows.append((f"{platform}, {name}", processes, threads, woken, f"{memory:.2f}"))
        ours = [found["sentry"], found["gofer"]]
        report.goal(f"wake-ups of sentry and gofer in {seconds} s, {platform}", 0,
                    sum(one[2] for one in ours))
        report.goal(f"private memory of sentry and gofer, {platform}", 8,
                    sum(one[3] for one in ours), " MiB")
    if rows:
        table(f"Over {seconds} s",
              ("what", "processes", "threads", "context switches", "private MiB"), rows)
