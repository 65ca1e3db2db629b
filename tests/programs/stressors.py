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
    "access": (50,), "chdir": (1, "--chdir-dirs", "64"), "chmod": (50,), "chown": (50,), "dentry": (200, "--dentries", "64"),
    "dir": (200, "--dir-dirs", "64"), "dirdeep": (50, "--dirdeep-inodes", "500"), "dup": (2,),
    "fallocate": (5, "--fallocate-bytes", "1M"), "fcntl": (50,), "file-ioctl": (50,), "fiemap": (10, "--fiemap-bytes", "1M"),
    "filename": (20,), "flock": (200,), "fstat": (10,), "getdent": (50,), "handle": (20,),
    "hdd": (50, "--hdd-bytes", "1M"), "inode-flags": (50, "-t", "1"), "inotify": (5,), "io": (50,), "iomix": (50, "--iomix-bytes", "1M"),
    "link": (1, "-t", "1"), "locka": (200,), "lockf": (200,), "lockofd": (200,), "mknod": (100,), "open": (200, "--open-max", "100"),
    "procfs": (3, "-t", "2"), "readahead": (20, "--readahead-bytes", "1M"), "rename": (200,),
    "seek": (100, "--seek-size", "1M"), "sendfile": (20, "--sendfile-size", "64K"), "splice": (50,), "symlink": (1, "-t", "1"),
    "sync-file": (5, "--sync-file-bytes", "1M"), "tee": (20,), "touch": (100,), "tmpfs": (1,), "truncate": (50,),
    "utime": (100,), "vm-splice": (50,), "xattr": (1, "-t", "10"),
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
