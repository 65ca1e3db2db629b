"""stress-ng --verify, one case for each stressor, with few operations."""
import re
import shutil

import harness
from harness import Skip

SECONDS = 30  # A stressor that is slower than that ends by itself, with fewer operations.
UNPRIVILEGED = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

# name → (operations, further options).
STRESSORS = {
    "fork": (50,), "vfork": (50,), "clone": (20,), "pthread": (20,),
    "exec": (4, "--exec-max", "4"), "zombie": (20,), "wait": (100,), "kill": (200,),
    "signal": (200,), "sigq": (200,), "sigfd": (200,), "sigsegv": (200,), "sigfpe": (200,),
    "itimer": (20,), "timer": (20,), "timerfd": (20,), "nanosleep": (20,), "futex": (200,),
    "mutex": (200,), "membarrier": (4,), "mmap": (2, "--mmap-bytes", "4M"),
    "mremap": (3, "--mremap-bytes", "4M"), "mprotect": (50,), "madvise": (2,), "brk": (500,),
    "stack": (1,), "memfd": (2, "--memfd-bytes", "4M", "--memfd-fds", "8"), "mlock": (5,),
    "mincore": (100,), "switch": (500,), "affinity": (50,), "prctl": (20,), "getrandom": (50,),
    "schedpolicy": (50,),
    "epoll": (50, "--epoll-domain", "unix"), "sem-sysv": (2000,), "shm": (4, "--shm-bytes", "1M", "--shm-objs", "4"),
    "shm-sysv": (4, "--shm-sysv-bytes", "1M", "--shm-sysv-segs", "4"), "mq": (500,), "msg": (500,),
    "poll": (500,), "eventfd": (500,), "pipe": (500,), "sigpipe": (100,),
    "sem": (2000, "-t", "3"),  # It never ends by itself, not natively either.
    "sock": (20,), "sockpair": (200,), "sockfd": (500,), "udp": (500,),
}


class Stressor:
    def __init__(self, name, stressor, operations, *options):
        self.name = f"stress.{name}"
        self.command = ["stress-ng", f"--{stressor}", "1", f"--{stressor}-ops", str(operations),
                        "--verify", "--metrics-brief", "--temp-path", "/tmp",
                        "-t", str(SECONDS), *options]
        if stressor == "exec":  # It refuses to run as root.
            self.command = UNPRIVILEGED + self.command

    def run(self, box):
        for program in ("stress-ng", "setpriv"):
            if shutil.which(program) is None:
                raise Skip(f"no {program}")
        return harness.execute(box.command(*self.command), limit=SECONDS + 30, cwd="/tmp")

    def compare(self, native, inside, platform):
        """What differs in the verdict, or nothing."""
        outside, verdict = self.verdict(native), self.verdict(inside)
        if outside["status"] != 0:
            raise Skip(f"natively {outside}")
        return None if verdict == outside else f"{verdict}, natively {outside}"

    @staticmethod
    def verdict(outcome):
        text = outcome.out + outcome.err
        done = re.search(r"metrc: +\[\d+\] +[a-z]+ +(\d+) +\d+\.\d+ ", text)
        complaints = re.findall(r": (?:fail|error): +\[\d+\] (.*)", text)
        return {"status": outcome.status, "worked": bool(done and int(done.group(1)) > 0),
                "skipped": "skipping" in text or "skipped" in text, "complaints": complaints}


CASES = [Stressor(name, name, *options) for name, options in STRESSORS.items()]
# --sched is an option of all stressors: the policy that they run under.
CASES += [Stressor(f"sched.{policy}", "switch", 200, "--sched", policy, *priority)
          for policy, *priority in (("other",), ("batch",), ("idle",),
                                    ("fifo", "--sched-prio", "1"), ("rr", "--sched-prio", "2"))]
