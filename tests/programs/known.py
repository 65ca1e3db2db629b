"""What does not hold inside yet, and why. suites.py says when one does, so that it goes."""
import re

# Cases as a whole: (regular expression of the case, of the platform, reason).
CASES = [
    ("stress.fiemap", ".*", "FS_IOC_FIEMAP is not there: where a file lies on a disk is the host's affair"),
]

# Single tests of Python's suite that fail or are skipped inside: id (a suffix) → reason.
PYTHON = {
    "TestFcntl.test_fcntl_64_bit": "F_NOTIFY: dnotify(7), which inotify(7) replaced, is not there",
    "TestMisc.test_disk_usage": "nothing is used yet of the memory that an overlay's statfs(2) tells about",
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
