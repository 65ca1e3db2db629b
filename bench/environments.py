"""Where bench/compare runs programs: natively, in the sandbox, in its peers. All show the host's files."""
import json
import os
import shutil
import subprocess

from common import PLATFORMS, CannotRun, inside, output_of
from start import hide_unified_cgroups

NAMES = ["native", *(f"sandbox-{platform}" for platform in PLATFORMS), "bwrap", "crun", "runc",
         *(f"runsc-{platform}" for platform in PLATFORMS)]


class Environment:
    """`wrap` makes the command line of a command of the host's."""

    def __init__(self, name, wrap):
        self.name, self._wrap = name, wrap

    def command(self, command):
        line = self._wrap(command)
        return [shutil.which(line[0]) or line[0], *line[1:]]


class Oci:
    """Containers over the host's root file system, with the namespaces that engines make."""

    def __init__(self, folder, name, runtime):
        self.bundle = f"{folder}/{name}"
        self.line = [*runtime, f"--root={self.bundle}/state", "run", "--bundle", self.bundle,
                     f"bench-{name}"]
        os.makedirs(f"{self.bundle}/rootfs")
        subprocess.run(["mount", "--bind", "/", f"{self.bundle}/rootfs"], check=True)

    def wrap(self, command):
        capabilities = [f"CAP_{name}" for name in (
            "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD SETGID SETUID SETFCAP SETPCAP "
            "NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE").split()]
        config = {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 0, "gid": 0}, "args": command, "cwd": "/",
                "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
                "capabilities": {name: capabilities
                                 for name in ("bounding", "effective", "permitted")}},
            "root": {"path": "rootfs"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                 "options": ["nosuid", "mode=755"]},
                {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}],
            "linux": {"namespaces": [{"type": name}
                                     for name in ("pid", "network", "ipc", "uts", "mount")]},
        }
        with open(f"{self.bundle}/config.json", "w") as f:
            json.dump(config, f)
        return self.line


def make(name, sandbox, folder):
    kind, _, platform = name.partition("-")
    if kind == "native":
        return Environment(name, lambda command: command)
    if kind == "sandbox":
        return Environment(name, lambda command: inside(sandbox, platform, *command))
    if kind == "bwrap":
        return Environment(name, lambda command: [
            "bwrap", "--bind", "/", "/", "--dev-bind", "/dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp",
            "--unshare-all", *command])
    if kind == "runsc":
        return Environment(name, lambda command: [
            "runsc", f"--root={folder}/{name}", "--network=none", "--ignore-cgroups",
            f"--platform={platform}", "do", *command])
    runtime = {"crun": ["crun", "--cgroup-manager=disabled"], "runc": ["runc"]}[kind]
    return Environment(name, Oci(folder, name, runtime).wrap)


def usable(names, sandbox, folder):
    """Those that run a program here; of the others it says why not."""
    hide_unified_cgroups()
    found = []
    for name in names:
        try:
            if not name.startswith(("native", "sandbox")) and not shutil.which(name.split("-")[0]):
                raise CannotRun("not installed")
            environment = make(name, sandbox, folder)
            output_of(environment.command(["/bin/true"]), limit=30)
            found.append(environment)
        except (CannotRun, OSError, subprocess.CalledProcessError) as reason:
            print(f"- {name} skipped: {reason}")
    return found


def unmount(folder):
    """What the OCI bundles have mounted: the host's files are below."""
    with open("/proc/self/mountinfo") as f:
        mounted = [line.split()[4] for line in f]
    for path in mounted:
        if path.startswith(f"{folder}/"):
            subprocess.run(["umount", "-l", path], check=True)
