"""Cold start: from the command line of a sandbox to the end of `true` in it."""
import ctypes
import json
import os
import shutil
import statistics
import tempfile

from common import (PLATFORMS, CannotRun, inside, least_ratio, output_of, ratio, rounds_of, say,
                    seconds_of, table)


def write_bundle(folder, program):
    """An OCI bundle as small as runtimes take it: one static program, no cgroup, no network."""
    for name in ("proc", "dev"):
        os.makedirs(f"{folder}/rootfs/{name}")
    shutil.copy(program, f"{folder}/rootfs/true")
    config = {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["/true"], "env": ["PATH=/"], "cwd": "/",
                    "noNewPrivileges": True},
        "root": {"path": "rootfs", "readonly": True},
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {"namespaces": [{"type": name}
                                 for name in ("pid", "network", "ipc", "uts", "mount")]},
    }
    with open(f"{folder}/config.json", "w") as f:
        json.dump(config, f)


def hide_unified_cgroups():
    """crun refuses a host with both cgroup versions mounted: in mounts of our own there is one."""
    unified = b"/sys/fs/cgroup/unified"
    libc = ctypes.CDLL(None)
    if os.path.ismount(unified) and libc.unshare(0x20000) == 0:  # CLONE_NEWNS
        if libc.mount(None, b"/", None, 0x44000, None) == 0:  # MS_REC | MS_PRIVATE
            libc.umount2(unified, 2)  # MNT_DETACH


def peers(folder, program):
    """(name, command) of other sandboxes. The name of a container is free again when it ended."""
    run = ["run", "--bundle", folder]
    crun = ["crun", "--cgroup-manager=disabled", f"--root={folder}/crun"]
    runsc = ["runsc", f"--root={folder}/runsc", "--network=none", "--ignore-cgroups"]
    return [
        ("bwrap", ["bwrap", "--dev-bind", "/", "/", program]),
        ("bwrap, all namespaces", ["bwrap", "--dev-bind", "/", "/", "--unshare-all", program]),
        ("crun", [*crun, *run, "bench-crun"]),
        ("runc", ["runc", f"--root={folder}/runc", *run, "bench-runc"]),
        *((f"runsc {platform}, {word}", [*runsc, f"--platform={platform}", *rest])
          for platform in ("systrap", "ptrace")
          for word, rest in (("do", ["do", program]), ("run", [*run, f"bench-{platform}"]))),
    ]


def usable(contenders, failed):
    """Runs each once, which also warms the caches up; those that work, ready to be timed."""
    found = []
    for name, command in contenders:
        try:
            path = shutil.which(command[0])
            if not path:
                raise CannotRun("not installed")
            command = [path, *command[1:]]
            output_of(command, limit=30)
            found.append((name, lambda command=command: seconds_of(command) * 1e3))
        except CannotRun as reason:
            failed(name, reason)
    return found


def run(programs, rounds, report):
    say(f"start: {rounds} rounds")
    print("\n## Cold start of a static `true`\n")
    hide_unified_cgroups()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        write_bundle(folder, programs.true)
        ours = [("native fork+exec", [programs.true])]
        ours += [(f"sandbox do, {platform}", inside(programs.sandbox, platform, programs.true))
                 for platform in PLATFORMS]

        def failed(name, reason):
            if name in dict(ours):
                report.failed(f"start: {name}", reason)
            else:
                print(f"- {name} skipped: {reason}")

        contenders = usable([*ours, *peers(folder, programs.true)], failed)
        samples = rounds_of(contenders, rounds, failed)
    native, systrap = samples.get("native fork+exec"), samples.get("sandbox do, systrap")
    rows = []
    for name, times in samples.items():
        against = (f"{ratio(systrap, times):.2f} ({least_ratio(systrap, times):.2f})"
                   if systrap and times is not systrap else "")
        slower = f"{ratio(times, native):.1f}" if native else "–"
        rows.append((name, f"{min(times):.2f}", f"{statistics.median(times):.2f}",
                     f"{max(times):.2f}", slower, against))
    table(f"{rounds} interleaved rounds, ms",
          ("what", "min", "median", "max", "÷ native", "systrap ÷ this (of minima)"), rows)
    if systrap:
        report.goal("`do true`, cold, systrap", 25, statistics.median(systrap), " ms")
