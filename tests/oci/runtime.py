"""An OCI runtime as its callers use it: bundles, containers, and what they leave behind."""
import array
import ctypes
import json
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "programs"))
import harness  # noqa: E402
from harness import Failure, Outcome, Skip, eventually, execute, shorten  # noqa: E402,F401

LIMIT = 60
APPLETS = ("sh cat echo ls id pwd stat touch mkdir rmdir chown chmod hostname sleep kill tty stty "
           "grep head tail ulimit true false env wc mount df dd seq awk ps test sed cut sort "
           "printf nc mknod readlink rm cp mv sync date top wget ip ping httpd").split()
CAPABILITIES = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_MKNOD",
                "CAP_SETGID", "CAP_SETUID"]


def make_rootfs(path):
    """A root with busybox and the folders that every image has."""
    for name in ("bin", "etc", "proc", "dev", "sys", "tmp", "root", "var", "run", "data", "mnt"):
        os.makedirs(os.path.join(path, name), exist_ok=True)
    os.chmod(os.path.join(path, "tmp"), 0o1777)
    shutil.copy("/bin/busybox", os.path.join(path, "bin", "busybox"))
    for applet in APPLETS:
        os.symlink("busybox", os.path.join(path, "bin", applet))
    users = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n"
    for name, text in (("etc/passwd", users), ("etc/group", "root:x:0:\nuser:x:1000:\n"),
                       ("data/file", "content\n")):
        with open(os.path.join(path, name), "w") as f:
            f.write(text)


def default_config(args):
    caps = {name: list(CAPABILITIES)
            for name in ("bounding", "effective", "permitted", "inheritable")}
    return {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": args, "cwd": "/",
                    "env": ["PATH=/bin", "TERM=dumb"], "capabilities": caps},
        "root": {"path": "rootfs"},
        "hostname": "box",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
             "options": ["nosuid", "noexec", "nodev", "ro"]}],
        "linux": {"namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount")]},
    }


def hide_cgroup2():
    """In a mount namespace of our own: Debian's crun does not know hosts with both versions."""
    if os.path.isdir("/sys/fs/cgroup/unified"):
        ctypes.CDLL(None).unshare(0x20000)  # CLONE_NEWNS
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["umount", "-l", "/sys/fs/cgroup/unified"], check=True)


class Runtime:
    """The binary under test with its flags, and a state directory of its own."""

    def __init__(self, binary, flags=()):
        self.binary, self.flags = binary, list(flags)
        self.name = os.path.basename(binary)
        self.folder = tempfile.mkdtemp(prefix="oci.", dir="/var/tmp")
        os.chmod(self.folder, 0o755)
        self.root = os.path.join(self.folder, "state")
        self.template = os.path.join(self.folder, "template")
        make_rootfs(self.template)
        self.count = 0
        self.live = []
        if self.name == "crun":
            hide_cgroup2()
            self.flags.append("--cgroup-manager=disabled")

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, *args, root=None):
        return [self.binary, *self.flags, "--root", root or self.root, *args]

    def call(self, *args, data=None, limit=LIMIT, root=None, **options):
        """Runs a command that starts no container; its output is read to the end."""
        return execute(self.command(*args, root=root), data, limit, **options)

    def popen(self, *args):
        return harness.popen(self.command(*args), stdin=subprocess.DEVNULL)

    @staticmethod
    def first_lines(process, trigger, text, seconds=60):
        """Its output until `text` comes, and then its end. `trigger` is what makes it say so, again
        and again, since nobody tells when it has begun to look."""
        seen, end = "", time.monotonic() + seconds
        while text not in seen and time.monotonic() < end and process.poll() is None:
            trigger()
            if select.select([process.stdout], [], [], 0.5)[0]:
                seen += os.read(process.stdout.fileno(), 65536).decode()
        process.kill()
        harness.finish(process)
        return seen

    def need_cgroups(self):
        if self.name == "crun":
            raise Skip("Debian's crun leaves control groups behind on hosts with both versions")

    def is_sandbox(self):
        return self.name == "sandbox"

    def bundle(self, *args, script=None):
        """A new bundle that runs `args`, or a shell script."""
        self.count += 1
        return Bundle(self, f"c{os.getpid()}-{self.count}",
                      list(args) or ["/bin/sh", "-c", script or "true"])

    def end_case(self):
        """Deletes what a case left; what cannot be deleted is told."""
        told = []
        for bundle in self.live:
            # A pid namespace ends when all of it is buried, and what exec left is ours to bury.
            harness.reap()
            outcome = self.call("delete", "--force", bundle.id)
            if outcome.status != 0:
                told.append(f"delete --force: status {outcome.status}, {shorten(outcome.err)}")
            bundle.remove()
        self.live = []
        if os.path.isdir(self.root) and [n for n in os.listdir(self.root) if not n.startswith(".")]:
            told.append(f"leaves state {os.listdir(self.root)}")
            shutil.rmtree(self.root, ignore_errors=True)
        return told


class Bundle:
    """A bundle's folder, and the container that is made of it."""

    def __init__(self, runtime, name, args):
        self.runtime, self.id = runtime, name
        self.path = os.path.join(runtime.folder, name)
        self.rootfs = os.path.join(self.path, "rootfs")
        shutil.copytree(runtime.template, self.rootfs, symlinks=True,
                        copy_function=lambda a, b: os.link(a, b) if "busybox" in a
                        else shutil.copy2(a, b))
        os.chmod(os.path.join(self.rootfs, "tmp"), 0o1777)
        self.config = default_config(args)
        self.pid_file = os.path.join(self.path, "pid")
        self.log = os.path.join(self.path, "log.json")
        self.out = None
        runtime.live.append(self)

    def remove(self):
        if self.out is not None:
            self.out.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def set(self, where, value):
        """Sets a field, "process.user.uid"; returns the bundle."""
        *folders, last = where.split(".")
        at = self.config
        for name in folders:
            at = at.setdefault(name, {})
        at[last] = value
        return self

    def mount(self, destination, kind, source, *options):
        self.config["mounts"].append({"destination": destination, "type": kind, "source": source,
                                      "options": list(options)})
        return self

    def with_python(self):
        """The host's own, read-only, as /usr/bin/python3."""
        if not os.path.exists("/usr/bin/python3"):
            raise Skip("no python3")
        for name in ("lib", "lib64"):
            os.symlink("usr/" + name, os.path.join(self.rootfs, name))
        return self.mount("/usr", "bind", "/usr", "rbind", "ro")

    def host_path(self, name, text=None, mode=0o644):
        """A file in the bundle's folder, beside the root."""
        path = os.path.join(self.path, name)
        if text is not None:
            with open(path, "w") as f:
                f.write(text)
            os.chmod(path, mode)
        return path

    def write(self):
        with open(os.path.join(self.path, "config.json"), "w") as f:
            json.dump(self.config, f)
        return self

    def run(self, *flags, data=None, limit=LIMIT):
        """`run` in the foreground: status and output of the program."""
        self.write()
        return self.runtime.call("run", "--bundle", self.path, *flags, self.id, data=data,
                                 limit=limit)

    def create(self, *flags, stdin=subprocess.DEVNULL, globals_=(), pass_fds=()):
        """`create`; the container's output goes to a file that text() reads. Raises if it fails."""
        self.write()
        self.out = self.out or tempfile.TemporaryFile(dir=self.path)
        outcome = self.try_create(*flags, stdin=stdin, globals_=globals_, pass_fds=pass_fds)
        if outcome != 0:
            raise Failure(f"create: status {outcome}, {shorten(self.text())}")
        return self

    def try_create(self, *flags, stdin=subprocess.DEVNULL, globals_=(), pass_fds=()):
        self.write()
        self.out = self.out or tempfile.TemporaryFile(dir=self.path)
        command = [self.runtime.binary, *self.runtime.flags, *globals_, "--root", self.runtime.root,
                   "create", "--bundle", self.path, "--pid-file", self.pid_file, *flags, self.id]
        process = subprocess.Popen(command, stdin=stdin, stdout=self.out, stderr=self.out,
                                   start_new_session=True, pass_fds=pass_fds)
        return process.wait(LIMIT)

    def start(self):
        self.call("start", self.id).expect(status=0)
        return self

    def call(self, *args, **options):
        return self.runtime.call(*args, **options)

    def text(self):
        self.out.seek(0)
        return self.out.read().decode(errors="replace")

    def await_text(self, pattern, seconds=60):
        if not eventually(lambda: re.search(pattern, self.text()), seconds):
            raise Failure(f"output {shorten(self.text())}, expected {pattern!r}")
        return re.search(pattern, self.text())

    @property
    def pid(self):
        with open(self.pid_file) as f:
            return int(f.read())

    def wait(self, seconds=60):
        """Reaps the container's process, a child of ours: its status as a shell has it."""
        return wait_for(self.pid, seconds)

    def state(self):
        return json.loads(self.call("state", self.id).expect(status=0).out)

    def status(self):
        return self.state()["status"]

    def kill(self, signal_name="KILL", *flags):
        return self.call("kill", *flags, self.id, signal_name)

    def delete(self, *flags):
        return self.call("delete", *flags, self.id)

    def exec(self, *args, flags=(), data=None, limit=LIMIT):
        return self.call("exec", *flags, self.id, *args, data=data, limit=limit)

    def cgroup_of(self, controller):
        """The host directory of the container's control group."""
        with open(f"/proc/{self.pid}/cgroup") as f:
            for line in f:
                _, names, path = line.rstrip("\n").split(":", 2)
                if controller in names.split(","):
                    return f"/sys/fs/cgroup/{names}" + path
                if names == "" and os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
                    return "/sys/fs/cgroup" + path
        raise Skip(f"no control group {controller} here")


def wait_for(pid, seconds=60):
    status = []

    def gone():
        try:
            found, value = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            raise Failure(f"process {pid} is no child of the caller") from None
        if found:
            status.append(value)
        return found
    if not eventually(gone, seconds):
        raise Failure(f"process {pid} did not end")
    code = os.waitstatus_to_exitcode(status[0])
    return 128 - code if code < 0 else code


class ConsoleSocket:
    """What a shim listens on for the pseudo-terminal's master."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "tty.sock")
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(1)
        self.listener.settimeout(LIMIT)

    def receive(self):
        connection, _ = self.listener.accept()
        connection.settimeout(LIMIT)
        fds = array.array("i")
        _, control, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(fds.itemsize))
        for level, kind, data in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[:fds.itemsize])
        connection.close()
        self.listener.close()
        if not fds:
            raise Failure("no descriptor came over the console socket")
        return Console(fds[0])


class Console:
    """The master of a container's terminal."""

    def __init__(self, fd):
        self.fd, self.seen = fd, ""

    def send(self, text):
        os.write(self.fd, text.encode())

    def expect(self, pattern, seconds=60):
        end = time.monotonic() + seconds
        while not (match := re.search(pattern, self.seen)):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise Failure(f"the terminal shows {self.seen[-300:]!r}, expected {pattern!r}")
            try:
                chunk = os.read(self.fd, 4096)
            except OSError:
                chunk = b""
            if not chunk:
                raise Failure(f"the terminal ended after {self.seen[-300:]!r}, not {pattern!r}")
            self.seen += chunk.decode(errors="replace")
        self.seen = self.seen[match.end():]
        return match

    def close(self):
        os.close(self.fd)


def want(condition, text):
    if not condition:
        raise Failure(text)


def want_equal(have, expected, what):
    if have != expected:
        raise Failure(f"{what} {shorten(have)}, expected {shorten(expected)}")
