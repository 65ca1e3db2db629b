#!/usr/bin/env python3
"""Runs one conformance binary, natively or inside the sandbox, and counts its cases.

A case that crashes the binary or hangs is a failure of that case alone: the rest runs in a new
process. Lines of failing cases carry the family and the platform.

  run.py BINARY [--gtest_filter=…]
  run.py --sandbox build/release/bin/sandbox --platform systrap BINARY [--gtest_filter=…]
"""
import argparse
import atexit
import fnmatch
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time

# Families whose cases run in a directory of the host as well (places.h).
VOLUME_FAMILIES = ("files",)
QUIET = 45.0  # Seconds without a line after which a case counts as hanging.


def kill_tree(pid):
    """Ends a process with all its descendants, also those that made a session of their own."""
    children = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as f:
                    parent = int(f.read().rsplit(")", 1)[1].split()[1])
                children.setdefault(parent, []).append(int(name))
            except (OSError, IndexError):
                pass
    doomed, queue = [], [pid]
    while queue:
        one = queue.pop()
        doomed.append(one)
        queue += children.get(one, [])
    for one in doomed:
        try:
            os.kill(one, signal.SIGKILL)
        except OSError:
            pass


def run_once(command, deadline):
    """One process: its lines, why it ended (None for an ordinary end), and its last words."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=errors, start_new_session=True)
        selector = selectors.DefaultSelector()
        selector.register(process.stdout, selectors.EVENT_READ)
        os.set_blocking(process.stdout.fileno(), False)
        data, why, heard = b"", None, time.monotonic()
        while True:
            if selector.select(timeout=0.5):
                chunk = os.read(process.stdout.fileno(), 1 << 16)
                if not chunk:
                    break
                data += chunk
                heard = time.monotonic()
            elif process.poll() is not None:
                break  # A child that outlived the binary holds the pipe.
            if time.monotonic() - heard > QUIET or time.monotonic() > deadline:
                why = "hangs"
                kill_tree(process.pid)
                break
        try:
            status = process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            why = why or "prints its results but does not exit"
            kill_tree(process.pid)
            status = process.wait()
        process.stdout.close()
        if why is None and status not in (0, 1):
            why = f"ends the program with status {status}"
        errors.seek(0)
        tail = errors.read().decode(errors="replace").splitlines()[-20:]
    return data.decode(errors="replace").splitlines(), why, tail


# What cannot be done with files of the host.
HOST_FILES = {
    "the gofer has no capability: it cannot give the host's files to other owners": (
        "Permissions.*", "Protected.*", "Chown.AllForms", "Chown.ClearsSetIds", "Events.ModeAndOwner",
        "OpenCall.SetGroupIdDirectoryGivesItsGroup", "UnlinkCall.StickyDirectoryProtectsOthersFiles"),
    "the host, which does not know our flags, keeps the times of access of its files": (
        "AccessTimes.NoatimeMountsHaveDirectoriesWithout", "AccessTimes.DescriptorsWithoutAtime"),
    "a change of nothing is not sent to the gofer": ("TimesOfActs.AsOnLinux/root_ChownOfNothing",),
    "no files without a name on the host": (
        "TemporaryFiles.GetANameLater", "TemporaryFiles.ByDescriptor",
        "TemporaryFiles.ExclusiveOnesNeverGetAName", "OpenCall.TmpfileGetsItsNameLater"),
}

# Wherever the sandbox runs.
INSIDE = {
    "reading a symlink does not change its time of access": (
        "AccessTimes.ThatOfALinkWhenItIsRead/root", "AccessTimes.ThatOfALinkWhenItIsRead/tmpfs",
        "AccessTimes.ThatOfALinkWhenItIsRead/overlay"),
    "copy_file_range(2) out of a mounted overlay reads like read(2)": (
        "TimesOfActs.AsOnLinux/overlay_CopyFileRange",),
    "listing a directory of the overlay does not change its time of access": (
        "TimesOfActs.AsOnLinux/root_Readdir",),
    "a change of nothing is not sent to the gofer": ("TimesOfActs.AsOnLinux/volume_ChownOfNothing",),
}

# Begins the reason of a case that may pass nevertheless.
BY_CHANCE = "by chance: "

# What a platform cannot do yet, with the reason. Shown in every run; to be emptied. These cases run
# like the others: one that passes is a failure, so that nothing stays here that works.
PENDING = {
    # Files of the host, by --overlay2=none and by --volume.
    "passthrough": {case + place: why for why, cases in HOST_FILES.items() for case in cases
                    for place in ("", "/root")},
    "hostnet": {
        "Inet/IpOption.RoundTrip/Transparent":
            "the network gofer has no capability: it answers EPERM for the host's network",
        "Inet/FilteredUdp.*": "programs of filters are not passed on to sockets of the host: ENOPROTOOPT",
    },
    "volume": {f"{case}/volume": why for why, cases in HOST_FILES.items() for case in cases},
}


def pending_reason(pending, name):
    """Why a case is in PENDING, whose entries may be patterns; None when it is not."""
    return next((why for entry, why in pending.items() if fnmatch.fnmatchcase(name, entry)), None)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sandbox")
    parser.add_argument("--platform", default="native")
    parser.add_argument("--flag", action="append", default=[], help="another one for the sandbox")
    parser.add_argument("--directory", help="where the cases make their files instead of /tmp")
    parser.add_argument("--label", help="how lines name this way to run")
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--own-network", action="store_true",
                        help="the host's network is a fresh namespace, with lo up")
    parser.add_argument("--warm", action="store_true",
                        help="other programs run before: libraries are mapped with patched calls")
    parser.add_argument("binary")
    args, extra = parser.parse_known_args()
    binary = os.path.abspath(args.binary)
    family = os.path.basename(binary).removeprefix("conformance_")
    prefix = f"{family}.{args.label or args.platform}: "
    if args.directory:
        os.environ["CONFORMANCE_DIR"] = args.directory

    command = []
    if args.sandbox:
        command = [os.path.abspath(args.sandbox), "do", f"--platform={args.platform}",
                   *args.flag]
        if args.own_network:
            command = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh",
                       *command]
        if binary.startswith("/tmp/"):  # Inside, /tmp is a fresh one.
            folder = os.path.dirname(binary)
            command.append(f"--volume={folder}:{folder}:ro")
        if family.startswith(VOLUME_FAMILIES) and args.label != "passthrough":
            volume = tempfile.mkdtemp(prefix="conformance.", dir="/var/tmp")
            atexit.register(shutil.rmtree, volume, ignore_errors=True)
            os.chmod(volume, 0o1777)
            command.append(f"--volume={volume}:{volume}")
            os.environ["CONFORMANCE_VOLUME"] = volume
        if family == "overlay":  # A lower tree, which the root's overlay shows.
            lower = tempfile.mkdtemp(prefix="conformance.", dir="/var/tmp")
            atexit.register(shutil.rmtree, lower, ignore_errors=True)
            os.chmod(lower, 0o755)
            subprocess.run([binary], check=True, env=os.environ | {"CONFORMANCE_MAKE_LOWER": lower},
                           stdout=subprocess.DEVNULL)
            os.environ["CONFORMANCE_LOWER"] = lower
        # As natively: neither the first process nor without a parent in another session. The first
        # one is a shell, which reaps orphans: setsid --wait takes one's end for its child's.
        warm_up = "for i in 1 2 3 4 5 6 7 8; do ls -l /usr/bin > /dev/null; done; "
        command += ["/bin/sh", "-c", (warm_up if args.warm else "") + 'setsid "$@"; exit $?', "sh"]
    pattern = "*"
    for option in extra:
        if option.startswith("--gtest_filter="):
            pattern = option.split("=", 1)[1]
    pattern, _, excluded = pattern.partition("-")
    excluded = [excluded] if excluded else []

    passed, failed, skipped = [], [], []
    expected, passing = [], []  # Of PENDING: those that ran, and those of them that passed.
    pending = PENDING.get(args.platform, {}) | PENDING.get(args.label, {})
    if "CONFORMANCE_VOLUME" in os.environ:
        pending |= PENDING["volume"]
    if args.sandbox and family == "files_calls":
        pending |= {case: why for why, cases in INSIDE.items() for case in cases
                    if args.label != "passthrough" or "/root" not in case}
    deadline = time.monotonic() + args.seconds
    while True:
        gtest_filter = (pattern or "*") + ("-" + ":".join(excluded) if excluded else "")
        lines, why, errors = run_once(
            command + [binary, "--gtest_color=no", f"--gtest_filter={gtest_filter}"], deadline)
        running, output, summary = None, [], False
        for line in lines:
            match = re.match(r"\[ *(RUN|OK|FAILED|SKIPPED) *\] ([\w/]+\.[\w/]+)", line)
            if line.startswith("[==========]") and " ran." in line:
                summary = True
            elif match and not summary:
                what, name = match.groups()
                if what == "RUN":
                    running, output = name, []
                else:
                    reason = pending_reason(pending, name)
                    if reason and what != "SKIPPED":
                        expected.append(name)
                        if what == "OK":
                            passing.append(name)
                        if what != "OK" or reason.startswith(BY_CHANCE):
                            print(f"{prefix}skipped {name}: {reason}")
                    else:
                        {"OK": passed, "FAILED": failed, "SKIPPED": skipped}[what].append(name)
                        if what == "FAILED":
                            print("\n".join(prefix + text for text in [f"FAILED {name}"] + output))
                    excluded.append(name)
                    running = None
            elif running:
                output.append("  " + line)
        if running is None and (summary or why is None):
            if errors and (failed or why or not summary):
                print("\n".join(prefix + "stderr: " + text for text in errors))
            if why and not failed:
                failed.append("(exit)")
                print(f"{prefix}{why}")
            elif not summary:
                failed.append("(start)")
                print(f"{prefix}printed no result")
            break
        name = running or "(start)"
        reason = pending_reason(pending, name)
        if reason:
            expected.append(name)
            print(f"{prefix}skipped {name}: {reason}")
        else:
            failed.append(name)
            print("\n".join(prefix + text for text in [f"FAILED {name}: {why}"] + output))
            print("\n".join(prefix + "stderr: " + text for text in errors))
        if running is None or time.monotonic() > deadline:
            break
        excluded.append(name)
        sys.stdout.flush()
    # A pattern is kept as long as one of its cases needs it.
    for entry, why in pending.items():
        ran = [name for name in expected if fnmatch.fnmatchcase(name, entry)]
        if ran and all(name in passing for name in ran) and not why.startswith(BY_CHANCE):
            failed.append(entry)
            print(f"{prefix}FAILED {entry}: passes now: remove it from PENDING")
    if skipped:
        print(f"{prefix}skipped {' '.join(skipped)}")
    print(f"{len(passed)} passed, {len(failed)} failed")
    return 1 if failed or not (passed or expected) else 0


if __name__ == "__main__":
    sys.exit(main())
