"""Modules of Python's own test suite: each test that passes natively passes inside."""
import re

import harness
import known
from harness import Failure, Skip

PYTHON = "/usr/bin/python3"
# The longest first.
MODULES = ["test_asyncio", "test_multiprocessing_fork", "test_signal", "test_ssl", "test_subprocess", "test_socket",
           "test_selectors", "test_threading", "test_poll", "test_ftplib",
           "test_fork1", "test_wait3", "test_wait4", "test_time", "test_os", "test_posix", "test_mmap", "test_pty",
           "test_resource", "test_getpass", "test_platform", "test_select",
           "test_epoll", "test_httplib",
           "test_socketserver", "test_shutil", "test_tempfile", "test_pathlib",
           "test_fcntl", "test_glob", "test_sqlite3"]
# What a module has to be allowed, or is not to try: AF_VSOCK hangs natively without a hypervisor's help.
OPTIONS = {"test_socketserver": ["-u", "network"], "test_socket": ["-i", "*VSOCK*"]}
LIMIT = 800  # Seconds; a busy machine doubles what an idle one takes.
RESULT = re.compile(r"^(test\w+) \(([\w.]+)\).*? \.\.\. ", re.M)


class Module:
    def __init__(self, module):
        self.name, self.module = f"python.{module}", module

    def run(self, box, only=()):
        """{test: 'ok', 'skipped', 'FAIL' or 'ERROR'}."""
        command = [PYTHON, "-m", "test", "-v", *OPTIONS.get(self.module, []), self.module]
        for test in only:
            command += ["-m", test]
        outcome = harness.execute(box.command(*command), limit=LIMIT, cwd="/tmp",
                                  env={"PATH": harness.PATH, "LC_ALL": "C.UTF-8",
                                       "HOME": "/root"})
        text = outcome.out + outcome.err
        if "No module named" in text and "test" in text:
            raise Skip("libpython3.11-testsuite is not installed")
        results = parse(text)
        if not re.search(r"^Ran \d+ tests? in", text, re.M):
            raise Failure(f"status {outcome.status}, no summary: {harness.shorten(text[-300:])}")
        results["box"] = box
        return results

    def compare(self, native, inside, platform):
        wrong = self.worse(native, inside)
        if wrong:  # Their own timing is generous, not endless: once more, alone.
            again = self.run(inside["box"], only=[test.split()[0] for test in wrong])
            wrong = {t: how for t, how in wrong.items() if again.get(t, how) != "ok"}
        return "; ".join(f"{test}: {how}" for test, how in sorted(wrong.items())) or None

    @staticmethod
    def worse(native, inside):
        """Tests that pass natively and not inside, without those that are known."""
        return {test: inside.get(test, "did not run") for test, how in native.items()
                if how == "ok" and inside.get(test) != "ok" and not known.python_reason(test)}


def parse(text):
    """A test's verdict stands behind its name, possibly after lines of its own output."""
    found = list(RESULT.finditer(text))
    results = {}
    for match, after in zip(found, found[1:] + [None]):
        rest = text[match.end():after.start() if after else len(text)]
        verdict = re.search(r"(?:^|\b)(ok|skipped|FAIL|ERROR|expected failure)(?=\s|$)", rest)
        name = match.group(2)
        if not name.endswith("." + match.group(1)):
            name += "." + match.group(1)
        results[name] = verdict.group(1) if verdict else "no verdict"
    return results


CASES = [Module(module) for module in MODULES]
