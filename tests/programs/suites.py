#!/usr/bin/env python3
"""Programs that bring their own verdict: what they say inside must be what they say natively.

  suites.py --sandbox build/release/bin/sandbox [--platform systrap,ptrace] [NAME…]

Names are regular expressions. A case is one stressor of stress-ng, one module of Python's own test
suite, or one program that reads /proc; it runs natively once and inside on each platform, several
at a time. One line for each failing or known case; the last line is 'N passed, N failed'. What is
known not to hold yet is in known.py with its reason.
"""
import argparse
import concurrent.futures
import os
import re
import sys
import threading
import time

import harness
import known
import process_tools
import python_suite
import stressors
from harness import Failure, Sandbox, Skip

WORKERS = 6  # Most cases sleep most of the time.


class Native:
    """The same program without a sandbox."""
    platform = "native"

    def command(self, *arguments):
        return list(arguments)


class Once:
    """The native result of a case, made by whichever platform asks first."""

    def __init__(self, make):
        self.make, self.lock, self.result = make, threading.Lock(), None

    def get(self):
        with self.lock:
            if self.result is None:
                try:
                    self.result = self.make()
                except (Failure, Skip) as failure:
                    self.result = failure
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def judge(case, box, native):
    """(verdict, why) of one case on one platform."""
    began = time.monotonic()
    reason = known.reason(case.name, box.platform)
    try:
        why = case.compare(native.get(), case.run(box), box.platform)
    except Skip as skip:
        return "skipped", str(skip), 0.0
    except (Failure, OSError, ValueError) as failure:
        why = f"{type(failure).__name__}: {failure}"
    took = time.monotonic() - began
    if why and reason:
        return "known", reason, took
    if why:
        return "FAILED", why, took
    return "passed", "although it is listed in known.py: take it off" if reason else "", took


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sandbox", required=True)
    parser.add_argument("--platform", default="systrap,ptrace")
    parser.add_argument("--times", action="store_true")
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    os.environ.update(LC_ALL="C", PATH=harness.PATH)
    harness.become_reaper()
    boxes = [Sandbox(os.path.abspath(args.sandbox), p) for p in args.platform.split(",")]
    cases = python_suite.CASES + stressors.CASES + process_tools.CASES
    if args.names:
        cases = [c for c in cases if any(re.search(n, c.name) for n in args.names)]

    before = harness.traces()
    counts = {"passed": 0, "FAILED": 0, "known": 0, "skipped": 0}
    with concurrent.futures.ThreadPoolExecutor(args.workers) as pool:
        jobs = []
        for case in cases:  # The long ones come first.
            native = Once(lambda case=case: case.run(Native()))
            jobs += [(case, box, pool.submit(judge, case, box, native)) for box in boxes]
        for case, box, job in jobs:
            verdict, why, took = job.result()
            counts[verdict] += 1
            if verdict != "passed" or why:
                print(f"suites.{box.platform}: {verdict} {case.name}: {why}")
            if args.times:
                print(f"suites.{box.platform}: {case.name} took {took:.2f} s")
            sys.stdout.flush()
    harness.eventually(lambda: not harness.descendants(os.getpid()), 2.0)
    left = harness.descendants(os.getpid()) or sorted(harness.traces() - before)
    if left:
        counts["FAILED"] += 1
        print(f"suites: FAILED: leaves {left}")
        harness.end_all()
    if counts["known"]:
        print(f"{counts['known']} known not to hold yet")
    print(f"{counts['passed']} passed, {counts['FAILED']} failed")
    return 1 if counts["FAILED"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
