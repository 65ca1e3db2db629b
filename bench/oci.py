"""The OCI commands: a whole life of a container, and a program more in one that runs."""
import ctypes
import os
import select
import shutil
import statistics
import subprocess
import tempfile
import time

from common import (PLATFORMS, CannotRun, least_ratio, ratio, rounds_of, say, table)
from start import hide_unified_cgroups, write_bundle

QUIET = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in range(3)]


def become_reaper():
    """A container's process becomes a child of ours, as it does of a shim."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def runtimes(folder, sandbox):
    """(name, command with the global flags): a state directory each."""
    rows = [(f"sandbox, {platform}", [sandbox, f"--platform={platform}"]) for platform in PLATFORMS]
    rows += [("crun", ["crun", "--cgroup-manager=disabled"]), ("runc", ["runc"])]
    rows += [(f"runsc, {platform}", ["runsc", "--network=none", "--ignore-cgroups",
                                     f"--platform={platform}"]) for platform in PLATFORMS]
    return [(name, [shutil.which(command[0]), *command[1:], f"--root={folder}/{i}"])
            for i, (name, command) in enumerate(rows) if shutil.which(command[0])]


def call(command, expected=0):
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=QUIET, setpgroup=0)
    wait(pid, expected, command)


def wait(pid, expected, command):
    pidfd = os.pidfd_open(pid)
    try:
        if not select.select([pidfd], [], [], 30)[0]:
            os.kill(pid, 9)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(pidfd)
    if expected is not None and status != expected:
        raise CannotRun(f"{' '.join(command[-3:])}: status {status}")


def life(runtime, bundle, name):
    """create, start, wait for the process in the pid-file, delete: milliseconds."""
    pid_file = f"{bundle}/pid"
    begin = time.perf_counter()
    call([*runtime, "create", "--bundle", bundle, "--pid-file", pid_file, name])
    try:
        with open(pid_file) as f:
            pid = int(f.read())
        call([*runtime, "start", name])
        wait(pid, 0, ["the process of", name])
    finally:
        call([*runtime, "delete", name], expected=None)
    return (time.perf_counter() - begin) * 1e3


class Running:
    """A container to run programs in."""

    def __init__(self, runtime, bundle, name):
        self.runtime, self.name = runtime, name
        pid_file = f"{bundle}/pid"
        call([*runtime, "create", "--bundle", bundle, "--pid-file", pid_file, name])
        with open(pid_file) as f:
            self.pid = int(f.read())
        call([*runtime, "start", name])

    def exec(self):
        begin = time.perf_counter()
        call([*self.runtime, "exec", self.name, "/true"])
        return (time.perf_counter() - begin) * 1e3

    def close(self):
        call([*self.runtime, "kill", self.name, "KILL"], expected=None)
        wait(self.pid, None, [])
        call([*self.runtime, "delete", "--force", self.name], expected=None)


def show(title, samples, rounds):
    print(f"\n### {title}\n")
    ours = samples.get("sandbox, systrap")
    rows = []
    for name, times in samples.items():
        against = (f"{ratio(ours, times):.2f} ({least_ratio(ours, times):.2f})"
                   if ours and times is not ours else "")
        rows.append((name, f"{min(times):.2f}", f"{statistics.median(times):.2f}",
                     f"{max(times):.2f}", against))
    table(f"{rounds} interleaved rounds, ms",
          ("what", "min", "median", "max", "systrap ÷ this (of minima)"), rows)


def goals(what, samples, report):
    ours = samples.get("sandbox, systrap")
    for name, most in (("crun", 2), ("runc", 1), ("runsc, ptrace", 0.25)):
        if ours and name in samples:
            report.goal(f"{what}, systrap ÷ {name}", most, ratio(ours, samples[name]))


def write_bundles(folder, programs):
    """One whose program ends at once, one whose program stays: (life, exec)."""
    for name in ("life", "stay"):
        write_bundle(f"{folder}/{name}", programs.true)
    shutil.copy("/bin/busybox", f"{folder}/stay/rootfs/busybox")
    config = f"{folder}/stay/config.json"
    with open(config) as f:
        text = f.read()
    with open(config, "w") as f:
        f.write(text.replace('"args": ["/true"]', '"args": ["/busybox", "sleep", "1000"]'))
    return f"{folder}/life", f"{folder}/stay"


def run(programs, rounds, report):
    say(f"oci: {rounds} rounds")
    print("\n## OCI commands\n")
    hide_unified_cgroups()
    become_reaper()
    running = {}
    # Readable for a gofer without capabilities, as images are.
    folder = tempfile.mkdtemp(prefix="bench-", dir="/var/tmp")
    os.chmod(folder, 0o755)

    def failed(name, reason):
        if name.startswith("sandbox"):
            report.failed(f"oci: {name}", reason)
        else:
            print(f"- {name} skipped: {reason}")

    try:
        whole, stay = write_bundles(folder, programs)
        rows = runtimes(folder, programs.sandbox)
        lives = [(name, lambda command=command, i=i: life(command, whole, f"bench-{i}"))
                 for i, (name, command) in enumerate(rows)]
        rounds_of(lives, 1, lambda *_: None)  # Warms the caches up.
        samples = rounds_of(lives, rounds, failed)
        show("create + start + wait + delete of a static `true`", samples, rounds)
        goals("create + start + wait + delete", samples, report)
        for i, (name, command) in enumerate(rows):
            if name in samples:
                running[name] = Running(command, stay, f"bench-stay-{i}")
        execs = [(name, one.exec) for name, one in running.items()]
        rounds_of(execs, 1, lambda *_: None)
        samples = rounds_of(execs, rounds, failed)
        show("exec of a static `true` into a running container", samples, rounds)
        goals("exec", samples, report)
    except (OSError, subprocess.SubprocessError, CannotRun) as reason:
        report.failed("oci", reason)
    finally:
        for one in running.values():
            one.close()
        shutil.rmtree(folder, ignore_errors=True)
