"""What does not hold inside yet, and why. suites.py says when one does, so that it goes."""
import re

# Cases as a whole: (regular expression of the case, of the platform, reason).
CASES = [
]

# Single tests of Python's suite that fail or are skipped inside: id (a suffix) → reason.
PYTHON = {
    "PosixTester.test_sched_getaffinity": "sched_getaffinity(2) of a negative pid",
    "GeneralModuleTests.testHostnameRes": "the sandbox's name is not in the host's /etc/hosts",
    "GeneralModuleTests.testSockName": "the sandbox's name is not in the host's /etc/hosts",
    "TimeTestCase.test_monotonic_settime": "nobody inside may set the clock",
}


def reason(name, platform):
    for pattern, where, why in CASES:
        if re.fullmatch(pattern, name) and re.fullmatch(where, platform):
            return why
    return None


def python_reason(test):
    return next((why for name, why in PYTHON.items() if test.endswith(name)), None)
