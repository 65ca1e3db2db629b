#!/usr/bin/env python3
"""Counts the cases in the log of the last ctest run: `count.py BUILD_DIR` prints "PASSED FAILED".

A suite that ends in 'N passed, N failed' says it itself, a GoogleTest binary has a line for each
case, and anything else is one case.
"""
import re
import sys


def main():
    path = f"{sys.argv[1]}/Testing/Temporary/LastTest.log"
    with open(path, errors="replace") as log:
        tests = re.split(r"^\d+/\d+ Testing: ", log.read(), flags=re.M)[1:]
    passed = failed = 0
    for text in tests:
        good = re.search(r"^Test Passed\.$", text, flags=re.M) is not None
        own = re.findall(r"^(\d+) passed, (\d+) failed", text, flags=re.M)
        cases = (len(re.findall(r"^\[       OK \] ", text, flags=re.M)),
                 len(set(re.findall(r"^\[  FAILED  \] ([\w/]+\.[\w/]+)", text, flags=re.M))))
        if own:
            cases = int(own[-1][0]), int(own[-1][1])
        if good and cases == (0, 0):
            cases = (1, 0)
        if not good and cases[1] == 0:  # It crashed, timed out or never started.
            cases = (cases[0], 1)
        passed += cases[0]
        failed += cases[1]
    print(passed, failed)


if __name__ == "__main__":
    main()
