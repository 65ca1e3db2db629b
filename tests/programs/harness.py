"""Runs commands inside the sandbox and natively, and notices what they leave behind."""
import ctypes
import os
import select
import signal
import subprocess
import tempfile
import time

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LIMIT = 120  # Seconds for one command: hangs end, a busy machine is no failure.


class Failure(Exception):
    """A case that does not hold; its text is the difference."""


class Skip(Exception):
    """A case that cannot run here, and why."""


class Outcome:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    def expect(self, status=None, out=None, err=None, out_has=None, err_has=None):
        """Raises unless each given part is as said. Returns itself, for chains."""
        wrong = []
        if status is not None and self.status != status:
            wrong.append(f"status {self.status}, expected {status}")
        for name, have, want in (("stdout", self.out, out), ("stderr", self.err, err)):
            if want is not None and have != want:
                wrong.append(f"{name} {shorten(have)}, expected {shorten(want)}")
        for name, have, want in (("stdout", self.out, out_has), ("stderr", self.err, err_has)):
            if want is not None and want not in have:
                wrong.append(f"{name} {shorten(have)}, expected to hold {shorten(want)}")
        if wrong:
            if self.err and err is None and err_has is None:
                wrong.append(f"stderr {shorten(self.err)}")
            raise Failure("; ".join(wrong))
        return self


def shorten(text, most=300):
    text = repr(text)
    return text if len(text) <= most else text[:most // 2] + " … " + text[-most // 2:]


def become_reaper():
    """Orphans of this process come to it, so that a leftover process is a child of ours."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def process_table():
    table = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as f:
                    text = f.read()
                comm = text[text.index("(") + 1:text.rindex(")")]
                state, parent = text.rsplit(")", 1)[1].split()[:2]
                table[int(name)] = (int(parent), comm, state)
            except (OSError, ValueError):
                pass
    return table


def descendants(pid, table=None):
    """{pid: name} of every living process below `pid`."""
    table = table or process_table()
    found, queue = {}, [pid]
    while queue:
        one = queue.pop()
        for child, (parent, comm, state) in table.items():
            if parent == one and child not in found:
                if state not in "ZX":
                    found[child] = comm
                queue.append(child)
    return found


def eventually(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return bool(condition())


def reap():
    """Buries orphans. Only when no Popen waits for its own child."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def end_all():
    for pid in descendants(os.getpid()):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    eventually(lambda: not descendants(os.getpid()), 2)
    reap()


def traces():
    """What a sandbox could leave on the host: mounts, and entries that carry its name."""
    with open("/proc/self/mountinfo") as f:
        found = {"mount " + line.split()[4] for line in f}
    for folder in ("/tmp", "/run", "/var/run", "/dev/shm", "/var/tmp"):
        try:
            found |= {f"entry {folder}/{name}" for name in os.listdir(folder) if "sandbox" in name}
        except OSError:
            pass
    return found


def popen(command, **options):
    # Unbuffered: what await_line leaves in the pipe is for communicate.
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
                            start_new_session=True, **options)


def await_line(process, expected="ready", seconds=60):
    """Waits for the first line of a program; one that does not come is a failure."""
    text, end = b"", time.monotonic() + seconds
    while not text.endswith(b"\n"):
        left = end - time.monotonic()
        byte = b""
        if left > 0 and select.select([process.stdout], [], [], left)[0]:
            byte = os.read(process.stdout.fileno(), 1)
        if not byte:
            break
        text += byte
    if text != expected.encode() + b"\n":
        outcome = finish(process, limit=0.1)
        raise Failure(f"the program did not start: stdout {shorten(text + outcome.out.encode())}, "
                      f"stderr {shorten(outcome.err)}, status {outcome.status}")


def finish(process, data=None, limit=LIMIT):
    try:
        out, err = process.communicate(data, timeout=limit)
        status = process.returncode
        status = 128 - status if status < 0 else status
    except subprocess.TimeoutExpired:
        for pid in list(descendants(process.pid)) + [process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        try:
            out, err = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            out, err = b"", b""
        status = f"(ended after {limit} s)"
    return Outcome(status, out.decode(errors="replace"), err.decode(errors="replace"))


def execute(command, data=None, limit=LIMIT, **options):
    stdin = subprocess.DEVNULL if data is None else subprocess.PIPE
    return finish(popen(command, stdin=stdin, **options), data, limit)


class Sandbox:
    """The program under test, on one platform."""

    def __init__(self, binary, platform):
        self.binary, self.platform = binary, platform

    def command(self, *arguments):
        return [self.binary, "do", f"--platform={self.platform}", *arguments]

    def do(self, *arguments, data=None, **options):
        if isinstance(data, str):
            data = data.encode()
        return execute(self.command(*arguments), data, **options)

    def bash(self, script, *flags, **options):
        return self.do(*flags, "/bin/bash", "-c", script, **options)

    def start(self, *arguments, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        return popen(self.command(*arguments), **options)

    def raw(self, *arguments, **options):
        """Without `do` and a platform."""
        return execute([self.binary, *arguments], **options)


class Folder(tempfile.TemporaryDirectory):
    """A host folder below /var/tmp: /tmp is a fresh one inside."""

    def __init__(self):
        super().__init__(prefix="programs.", dir="/var/tmp")
        os.chmod(self.name, 0o755)

    def path(self, name):
        return os.path.join(self.name, name)

    def write(self, name, text, mode=0o644):
        with open(self.path(name), "w") as f:
            f.write(text)
        os.chmod(self.path(name), mode)
        return self.path(name)
