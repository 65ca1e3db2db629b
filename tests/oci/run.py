#!/usr/bin/env python3
"""Tests of an OCI runtime: what config.json says, what callers of runc rely on, faults.

  run.py --runtime build/release/bin/sandbox [--flag=--platform=ptrace] [--size quick|full] \\
         [--daemons] [NAME…]

Any runtime with runc's command line can be given; the cases were seen to hold with Debian's
runc and crun first. Names are regular expressions. The last line is 'N passed, N failed'. README.md says which
cases are where; those with real daemons want --daemons.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import time

from runtime import Failure, Runtime, Skip, harness

import cgroups
import commands
import compose  # Adds its cases to those of daemons.
import cri
import crowds
import daemons
import execs
import faults
import fields
import lifetimes
import namespaces
import pending
import pods
import resources
import sockets
import systemd


def leftovers(before, folder):
    """Processes, mounts and control groups that a case leaves behind."""
    found = []
    harness.reap()
    me = os.getpid()
    if not harness.eventually(lambda: (harness.reap(), not harness.descendants(me))[1], 2.0):
        found.append(f"leaves processes {harness.descendants(me)}")
        harness.end_all()
    more = traces(folder) - before
    if more:
        found.append(f"leaves {sorted(more)[:8]}")
    return found


def traces(folder="/oci"):
    """Of this run alone: another one may go on beside it."""
    found = {one for one in harness.traces() if folder in one}
    for folder, _, _ in os.walk("/sys/fs/cgroup"):
        if f"/c{os.getpid()}-" in folder:
            found.add(f"cgroup {folder}")
    return found


def remove_parents():
    """runc leaves the folders above a container's control group, and so does containerd."""
    for folder, _, _ in os.walk("/sys/fs/cgroup", topdown=False):
        if folder.endswith(("/oci-test", "/k8s.io")):
            try:
                os.rmdir(folder)
            except OSError:
                pass  # Another run's.


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runtime", required=True)
    parser.add_argument("--flag", action="append", default=[], help="a global flag of the runtime")
    parser.add_argument("--size", choices=["quick", "full"], default="quick")
    parser.add_argument("--daemons", action="store_true", help="the cases with real daemons only")
    parser.add_argument("--times", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    os.environ.update(LC_ALL="C", PATH=harness.PATH)
    # With a slash it is a path, without one a program of the host.
    binary = os.path.abspath(args.runtime) if "/" in args.runtime else shutil.which(args.runtime)
    modules = [daemons, cri] if args.daemons else [fields, namespaces, resources, cgroups, sockets,
                                                   lifetimes, execs,
                                                   commands, faults, pods, crowds, systemd]
    cases = [c for module in modules for c in module.CASES]
    cases = [c for c in cases if args.size == "full" or not getattr(c, "full", False)]
    if args.names:
        cases = [c for c in cases if any(re.search(n, c.__name__) for n in args.names)]
    if args.list:
        print("\n".join(c.__name__ for c in cases))
        return 0
    if os.geteuid() != 0:
        print("oci: skipped, this needs root\n1 passed, 0 failed")
        return 0
    harness.become_reaper()
    subject = Runtime(binary, args.flag)
    label = " ".join([f"oci.{subject.name}", *args.flag])
    at_first = traces(subject.folder)
    end_session = daemons.open_session(subject) if args.daemons else lambda: None
    passed = failed = 0
    for run in cases:
        before = traces(subject.folder)
        began = time.monotonic()
        why, skipped = [], None
        try:
            run(subject)
        except Skip as skip:
            skipped = skip
        except Failure as failure:
            why.append(str(failure))
        except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
            why.append(f"{type(error).__name__}: {error}")
        why += subject.end_case()
        reason = pending.reason(run.__name__, subject)
        if reason and why:
            why, skipped = [], f"pending: {reason} ({why[0][:150]})"
        elif reason and not skipped:
            why = [f"holds now: its entry in pending.py may go ({reason})"]
        if not args.daemons:
            why += leftovers(before, subject.folder)
        if why:
            failed += 1
            print(f"{label}: FAILED {run.__name__}: {'; '.join(why)}")
        elif skipped:
            print(f"{label}: skipped {run.__name__}: {skipped}")
        else:
            passed += 1
        if args.times:
            print(f"{label}: {run.__name__} took {time.monotonic() - began:.2f} s")
        sys.stdout.flush()
    end_session()
    if args.daemons:
        for why in leftovers(at_first, subject.folder):
            failed += 1
            print(f"{label}: FAILED at the end: {why}")
    remove_parents()
    subject.close()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
