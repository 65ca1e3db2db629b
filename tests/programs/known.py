"""What does not hold inside yet, and why. suites.py says when one does, so that it goes."""
import re

NO_INET = "there are no network sockets yet (socket(2) of AF_INET)"

# Cases as a whole: (regular expression of the case, of the platform, reason).
CASES = [
]

# Single tests of Python's suite that fail or are skipped inside: id (a suffix) → reason.
PYTHON = {
    "WakeupFDTests.test_invalid_socket": NO_INET,
    "WakeupFDTests.test_set_wakeup_fd_socket_result": NO_INET,
    "TestSendfile.test_invalid_offset": NO_INET,
    "TestSendfile.test_keywords": NO_INET,
    "TestSendfile.test_offset_overflow": NO_INET,
    "TestSendfile.test_send_at_certain_offset": NO_INET,
    "TestSendfile.test_send_whole_file": NO_INET,
    "PosixTester.test_sched_getaffinity": "sched_getaffinity(2) of a negative pid",
    "TimeTestCase.test_monotonic_settime": "nobody inside may set the clock",
}


def reason(name, platform):
    for pattern, where, why in CASES:
        if re.fullmatch(pattern, name) and re.fullmatch(where, platform):
            return why
    return None


def python_reason(test):
    return next((why for name, why in PYTHON.items() if test.endswith(name)), None)
