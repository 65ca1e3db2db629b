#!/usr/bin/env python3
"""Program tests: what runs inside must do what it does natively.

  run.py --sandbox build/release/bin/sandbox [--platform systrap] [NAME…]

Names are regular expressions. One line for each failing case, with the difference; the last line
is 'N passed, N failed'. The rows are in table.py, the command line in flags.py, death and
ordinary users in life.py, files in files.py and overlays.py, networks in network.py, terminals in terminals.py, crowds in scale.py.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

import files
import flags
import golang
import harness
import host_network
import life
import network
import overlays
import scale
import servers
import table
import terminals
from harness import Failure, Sandbox, Skip

PROGRAMS = table.PROGRAMS + network.PROGRAMS + servers.PROGRAMS + files.PROGRAMS + golang.PROGRAMS
PRELUDE = (f"export PATH={harness.PATH} LC_ALL=C HOME=/root; unset TMPDIR OLDPWD; "
           "cd \"$(mktemp -d ${SCRATCH:+-p $SCRATCH})\" || exit 99; unset SCRATCH; ")


def native(script, stdin):
    with tempfile.TemporaryDirectory(prefix="programs.") as scratch:
        return harness.execute(["/bin/bash", "-c", PRELUDE + script],
                               stdin.encode() if stdin is not None else None,
                               env={"SCRATCH": scratch})


def run_program(box, script, options):
    for program in options.get("needs", []):
        if shutil.which(program) is None:
            raise Skip(f"no {program}")
    stdin = options.get("stdin")
    # As bare as the native run.
    inside = box.bash(PRELUDE + script, data=stdin, env={}, limit=options.get("limit", harness.LIMIT))
    if "out" in options:
        inside.expect(status=options["status"])
        if not re.fullmatch(options["out"], inside.out):
            raise Failure(f"stdout {harness.shorten(inside.out)}, expected {options['out']!r}")
        return
    outside = native(script, stdin)
    inside.expect(status=outside.status, out=outside.out)


def leftovers(before):
    """What a case leaves behind. Everything that it started must be gone with it."""
    me, found = os.getpid(), []
    harness.reap()
    if not harness.eventually(lambda: not harness.descendants(me)):
        found.append(f"leaves processes {harness.descendants(me)}")
        harness.end_all()
    harness.reap()
    more = harness.traces() - before
    if more:
        found.append(f"leaves {sorted(more)}")
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sandbox")
    parser.add_argument("--platform", default="systrap")
    parser.add_argument("--native-only", action="store_true",
                        help="run the table twice natively: finds rows that are not deterministic")
    parser.add_argument("--times", action="store_true")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    os.environ.update(LC_ALL="C", PATH=harness.PATH)
    harness.become_reaper()

    box = Sandbox(os.path.abspath(args.sandbox), args.platform) if args.sandbox else None
    cases = [(row[0], lambda row=row: run_program(box, row[1], row[2] if len(row) > 2 else {}))
             for row in PROGRAMS]
    scripted = flags.CASES + files.CASES + overlays.CASES + life.CASES + host_network.CASES + terminals.CASES + scale.CASES
    cases += [(f.__name__, lambda f=f: f(box)) for f in scripted]
    if args.native_only:
        cases = [(row[0], lambda row=row: compare_native(row)) for row in PROGRAMS]
    if args.names:
        cases = [c for c in cases if any(re.search(n, c[0]) for n in args.names)]

    passed = failed = 0
    before = harness.traces()
    for name, run in cases:
        began = time.monotonic()
        why, skipped = [], None
        try:
            run()
        except Skip as skip:
            skipped = skip
        except Failure as failure:
            why.append(str(failure))
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            why.append(f"{type(error).__name__}: {error}")
        why += leftovers(before)
        if why:
            failed += 1
            print(f"programs.{args.platform}: FAILED {name}: {'; '.join(why)}")
        elif skipped:
            print(f"programs.{args.platform}: skipped {name}: {skipped}")
        else:
            passed += 1
        if args.times:
            print(f"programs.{args.platform}: {name} took {time.monotonic() - began:.2f} s")
        sys.stdout.flush()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def compare_native(row):
    options = row[2] if len(row) > 2 else {}
    for program in options.get("needs", []):
        if shutil.which(program) is None:
            raise Skip(f"no {program}")
    first, second = native(row[1], options.get("stdin")), native(row[1], options.get("stdin"))
    if "out" not in options:
        second.expect(status=first.status, out=first.out)
    elif not re.fullmatch(options["out"], first.expect(status=options["status"]).out):
        raise Failure(f"stdout {harness.shorten(first.out)}, expected {options['out']!r}")
    if os.environ.get("SHOW"):
        print(f"--- {row[0]}: {first.status} {harness.shorten(first.out)} {harness.shorten(first.err)}")


if __name__ == "__main__":
    sys.exit(main())
