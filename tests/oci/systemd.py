"""--systemd-cgroup, with a real systemd as the first process of namespaces of its own.

It has a part of each hierarchy of the host for itself, delegated, and no units but ours. On a host
with both versions of control groups it is run with both, and with v2 alone.
"""
import os
import pwd
import re
import shutil
import shutil
import signal
import subprocess
import time

from runtime import Failure, Runtime, Skip, eventually, harness, want, want_equal

CASES = []
GROUPS = "/sys/fs/cgroup"
SYSTEMD = "/lib/systemd/systemd"
FOREVER = "trap 'exit 0' TERM; echo ready; while :; do sleep 100 & wait; done"

START = r'''
set -e
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/units
umount -l /sys/fs/cgroup
if [ "$1" = unified ]; then
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  mkdir /sys/fs/cgroup/systemd /sys/fs/cgroup/unified
  mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
  mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
  for name in $2; do
    mkdir "/sys/fs/cgroup/$name"
    mount -t cgroup -o "$name" cgroup "/sys/fs/cgroup/$name"
  done
fi
for unit in oci basic sysinit shutdown umount; do
  printf '[Unit]\nDefaultDependencies=no\n' >"/run/units/$unit.target"
done
exec env -i PATH=/usr/bin:/bin container=oci SYSTEMD_UNIT_PATH=/run/systemd/transient:/run/units \
  /lib/systemd/systemd --system --unit=oci.target --log-target=null --show-status=false
'''


def case(function):
    def run(runtime):
        if not runtime.is_sandbox():
            raise Skip("others talk to systemd by way of a bus")
        function(runtime)
    run.__name__ = function.__name__
    CASES.append(run)
    return run


def old_hierarchies():
    """Names of those of v1 that have a mount point of their own."""
    if not os.path.isdir(GROUPS + "/systemd"):
        return []
    names = ("cpu", "cpuacct", "cpu,cpuacct", "cpuset", "memory", "devices", "freezer", "blkio",
             "pids")
    return [n for n in names
            if os.path.isdir(f"{GROUPS}/{n}") and not os.path.islink(f"{GROUPS}/{n}")]


class Systemd(Runtime):
    """The runtime inside the namespaces that a systemd of ours has."""

    def __init__(self, runtime, unified=False):
        if not os.path.exists(SYSTEMD):
            raise Skip("no systemd")
        if os.getuid() != 0:
            raise Skip("wants root")
        super().__init__(runtime.binary, [*runtime.flags, "--systemd-cgroup"])
        self.prefix = []
        self.old = old_hierarchies()
        self.unified = unified or not self.old
        self.name_of_group = f"c{os.getpid()}-systemd{time.monotonic_ns()}"
        self.groups = [GROUPS + "/" + self.name_of_group]
        if self.old:
            self.groups = [f"{GROUPS}/{n}/{self.name_of_group}"
                           for n in [*self.old, "systemd", "unified"]]
        try:
            self.begin()
        except BaseException:
            self.close()
            raise

    def begin(self):
        for group in self.groups:
            os.mkdir(group)
            for file in ("cpuset.cpus", "cpuset.mems"):
                if os.path.basename(os.path.dirname(group)) == "cpuset":
                    with open(f"{group}/../{file}") as old, open(f"{group}/{file}", "w") as new:
                        new.write(old.read())
        enter = "".join(f"echo $$ >{group}/cgroup.procs; " for group in self.groups)
        mode = "unified" if self.unified else "hybrid"
        self.process = subprocess.Popen(
            ["sh", "-ec", enter + 'exec unshare -mpCn --fork --kill-child --propagation private '
             'sh -c "$@"', "sh", START, "sh", mode, " ".join(self.old)],
            stdin=subprocess.DEVNULL, start_new_session=True)
        if not eventually(lambda: self.inside("systemctl", "is-active", "oci.target").status == 0,
                          60):
            raise Failure("systemd does not come up")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        told = self.end_case()
        self.close()
        if told:
            raise Failure("; ".join(told))

    def first_process(self):
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as f:
            children = f.read().split()
        return children[0] if children else str(self.process.pid)

    def enter(self, *command):
        return ["nsenter", "-t", self.first_process(), "-m", "-p", "-C", *command]

    def inside(self, *command):
        return harness.execute(self.enter(*command), limit=60)

    def command(self, *args, root=None):
        return self.enter(*self.prefix, *super().command(*args, root=root))

    def close(self):
        if hasattr(self, "process"):
            self.process.kill()
            self.process.wait()
        for group in self.groups:
            for folder, _, _ in os.walk(group, topdown=False):
                eventually(lambda: not os.path.exists(folder) or removed(folder), 10)
        super().close()

    def units(self):
        out = self.inside("systemctl", "list-units", "--all", "--plain", "--no-legend").out
        return [line.split()[0] for line in out.splitlines() if line.split()]

    def show(self, unit, *names):
        out = self.inside("systemctl", "show", unit, *(f"-p{n}" for n in names)).out
        return dict(line.split("=", 1) for line in out.splitlines())

    def container(self, script=FOREVER, path=None):
        bundle = self.bundle(script=script)
        bundle.set("linux.cgroupsPath", f"oci-test.slice:box:{bundle.id}" if path is None else path)
        return bundle

    def create(self, bundle):
        """The output of the container goes to a file, that of create itself too."""
        bundle.write()
        bundle.out = open(bundle.host_path("out"), "w+b")
        process = subprocess.Popen(
            self.command("create", "--bundle", bundle.path, "--pid-file", bundle.pid_file,
                         bundle.id), stdin=subprocess.DEVNULL, stdout=bundle.out,
            stderr=bundle.out, start_new_session=True)
        return process.wait(60)

    def running(self, bundle):
        want_equal(self.create(bundle), 0, f"create ({bundle.text()!r})")
        bundle.start()
        bundle.await_text("ready")
        return bundle

    def path_of(self, unit, name="", slice_="oci-test"):
        parts = slice_.split("-")
        slices = "".join("/" + "-".join(parts[:n + 1]) + ".slice" for n in range(len(parts)))
        base = f"{GROUPS}/{name}/{self.name_of_group}" if self.old else self.groups[0]
        return f"{base}{slices}/{unit}"

    def await_status(self, bundle, status):
        want(eventually(lambda: bundle.status() == status, 30), f"{bundle.status()}, not {status}")


def removed(folder):
    try:
        os.rmdir(folder)
        return True
    except OSError:
        return False


def read(*path):
    with open(os.path.join(*path)) as f:
        return f.read().strip()


def limited(systemd, bundle):
    bundle.set("linux.resources", {
        "memory": {"limit": 96 << 20}, "pids": {"limit": 40},
        "cpu": {"shares": 512, "quota": 45000, "period": 90000}})
    return bundle


def want_gone(systemd, unit):
    want(unit not in systemd.units(), f"{unit} is left")
    for folder, _, _ in (row for group in systemd.groups for row in os.walk(group)):
        want(not folder.endswith(unit), f"{folder} is left")


@case
def systemd_scope(runtime):
    """The scope is what the path says, all of the sandbox is in it, and it goes with it."""
    for unified in ([False, True] if old_hierarchies() else [True]):
        with Systemd(runtime, unified) as systemd:
            bundle = systemd.running(systemd.container())
            unit = f"box-{bundle.id}.scope"
            have = systemd.show(unit, "Slice", "Delegate", "ActiveState", "ControlGroup",
                                "DefaultDependencies", "MemoryAccounting", "TasksAccounting")
            want_equal(have, {"Slice": "oci-test.slice", "Delegate": "yes",
                              "ActiveState": "active", "DefaultDependencies": "no",
                              "ControlGroup": f"/oci.slice/oci-test.slice/{unit}",
                              "MemoryAccounting": "yes", "TasksAccounting": "yes"}, "properties")
            folder = systemd.path_of(unit, "unified")
            inside = {int(p) for p in read(folder, "cgroup.procs").split()}
            below = {p for p, n in harness.descendants(os.getpid()).items() if "sandbox" in n}
            want(len(inside) >= 4 and below <= inside, f"{below} are not all in {inside}")
            bundle.exec("true").expect(status=0)
            bundle.kill("TERM").expect(status=0)
            systemd.await_status(bundle, "stopped")
            bundle.delete().expect(status=0)
            want_gone(systemd, unit)


@case
def systemd_limits(runtime):
    """Properties and files say the same, also after systemd has looked at everything anew."""
    with Systemd(runtime) as systemd:
        bundle = systemd.running(limited(systemd, systemd.container()))
        unit = f"box-{bundle.id}.scope"
        have = systemd.show(unit, "TasksMax", "CPUQuotaPerSecUSec", "CPUQuotaPeriodUSec")
        want_equal(have, {"TasksMax": "144", "CPUQuotaPerSecUSec": "500ms",
                          "CPUQuotaPeriodUSec": "90ms"}, "properties")
        if systemd.unified:
            names, files = ("MemoryMax",), [("", "memory.max"), ("", "pids.max")]
        else:
            names = ("MemoryLimit", "CPUShares")
            files = [("memory", "memory.limit_in_bytes"), ("pids", "pids.max"),
                     ("cpu", "cpu.shares"), ("cpu", "cpu.cfs_quota_us")]
        numbers = [str(96 << 20), "512"][:len(names)]
        have = systemd.show(unit, *names)
        want_equal([have[n] for n in names], numbers, "properties")
        expected = [str(96 << 20), "144", "512", "45000"][:len(files)]

        def have_files():
            return [read(systemd.path_of(unit, name), file) for name, file in files]
        want_equal(have_files(), expected, "files")
        systemd.inside("systemctl", "daemon-reload").expect(status=0)
        want_equal(have_files(), expected, "files after a reload")
        bundle.call("update", "--memory", str(80 << 20), "--pids-limit", "50", "--cpu-quota",
                    "18000", "--cpu-period", "90000", bundle.id).expect(status=0)
        have = systemd.show(unit, "TasksMax", "CPUQuotaPerSecUSec", names[0])
        want_equal(have, {"TasksMax": "164", "CPUQuotaPerSecUSec": "200ms",
                          names[0]: str(80 << 20)}, "properties after update")
        want_equal(have_files()[:2], [str(80 << 20), "164"], "files after update")


@case
def systemd_limits_bind(runtime):
    with Systemd(runtime) as systemd:
        bundle = systemd.container("echo ready; head -c 300m /dev/zero | tail | wc -c")
        bundle.set("linux.resources", {"memory": {"limit": 48 << 20, "swap": 48 << 20}})
        systemd.running(bundle)
        systemd.await_status(bundle, "stopped")
        want("314572800" not in bundle.text(), "300 MiB fit into 48")
        bundle.delete().expect(status=0)
        bundle = systemd.container("echo ready; for i in $(seq 80); do sleep 100 & done; echo all")
        bundle.set("linux.resources", {"pids": {"limit": 20}})
        systemd.running(bundle)
        systemd.await_status(bundle, "stopped")
        want("can't fork" in bundle.text(), f"output {bundle.text()!r}")


@case
def systemd_paths(runtime):
    """Without a path it is in system.slice; what is no path of a unit is refused by name."""
    with Systemd(runtime) as systemd:
        bundle = systemd.running(systemd.container(path=""))
        want_equal(systemd.show(f"sandbox-{bundle.id}.scope", "Slice"), {"Slice": "system.slice"},
                   "unit")
        for path in ("/a/b", "x:y", "a/b.slice:x:y", "system.slice:x:a.slice", "a.slice:../../x:y"):
            bad = systemd.container(path=path)
            want(systemd.create(bad) != 0, f"{path} is accepted")
            want("linux.cgroupsPath" in bad.text(), f"output {bad.text()!r}")


@case
def systemd_units_of_others(runtime):
    """A unit of this name with processes of somebody else stays; one that is empty gives way."""
    with Systemd(runtime) as systemd:
        for slice_ in ("oci-test.slice", "system.slice"):
            bundle = systemd.container()
            unit = f"box-{bundle.id}.scope"
            other = harness.popen(
                systemd.enter("systemd-run", "-q", "--scope", "--slice", slice_, "--unit", unit,
                              "sh", "-c", "echo ready; exec sleep 1000"),
                stdin=subprocess.DEVNULL)
            harness.await_line(other)
            want(systemd.create(bundle) != 0, "another's unit is taken")
            want(re.search("already", bundle.text()), f"output {bundle.text()!r}")
            bundle.delete("--force").expect(status=0)
            want_equal(systemd.show(unit, "ActiveState"), {"ActiveState": "active"}, "unit")
            want_equal(other.poll(), None, "the other's process")
            systemd.inside("systemctl", "stop", unit).expect(status=0)
            harness.finish(other).expect(status=None)
            # Nothing but its name is left: it failed, or nobody told systemd that it is empty.
            systemd.running(bundle)
            bundle.delete("--force").expect(status=0)
            want_gone(systemd, unit)


@case
def systemd_pod(runtime):
    """A pod's scope is its sandbox's; its containers have groups below."""
    prefix = "io.kubernetes.cri."
    for unified in ([False, True] if old_hierarchies() else [True]):
        with Systemd(runtime, unified) as systemd:
            pod = systemd.container()
            pod.set("annotations", {prefix + "container-type": "sandbox",
                                    prefix + "sandbox-id": pod.id})
            systemd.running(pod)
            one = systemd.container("echo ready; sleep 1000")
            one.set("annotations", {prefix + "container-type": "container",
                                    prefix + "sandbox-id": pod.id})
            one.set("linux.namespaces", [
                {"type": "pid"}, {"type": "mount"},
                *({"type": t, "path": f"/proc/{pod.pid}/ns/{f}"}
                  for t, f in (("network", "net"), ("ipc", "ipc"), ("uts", "uts")))])
            systemd.running(one)
            unit = f"box-{pod.id}.scope"
            inside = read(systemd.path_of(unit, "unified"), one.id, "cgroup.procs").split()
            want(len(inside) >= 3, f"{inside} are in the container's group")
            one.delete("--force").expect(status=0)
            want_equal(pod.status(), "running", "the sandbox's status")
            pod.delete("--force").expect(status=0)
            want_gone(systemd, unit)


@case
def systemd_sudden_deaths(runtime):
    """The command or the container is killed: delete --force ends the scope."""
    with Systemd(runtime) as systemd:
        moment = 0.004
        ended = False
        while not ended:
            bundle = systemd.container().write()
            process = subprocess.Popen(
                systemd.command("create", "--bundle", bundle.path, bundle.id),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                process.wait(moment)
                ended = True
            except subprocess.TimeoutExpired:
                for pid in list(harness.descendants(process.pid)):
                    kill_nine(pid)
                process.kill()
                process.wait()
            bundle.delete("--force").expect(status=0)
            want_gone(systemd, f"box-{bundle.id}.scope")
            moment *= 1.4
        bundle = systemd.running(systemd.container())
        kill_nine(bundle_monitor(systemd, bundle))
        systemd.await_status(bundle, "stopped")
        bundle.delete("--force").expect(status=0)
        want_gone(systemd, f"box-{bundle.id}.scope")


def kill_nine(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def bundle_monitor(systemd, bundle):
    """The host's number of the process in the pid-file."""
    for pid in harness.descendants(os.getpid()):
        try:
            numbers = re.search(r"NSpid:\s+(.*)", read(f"/proc/{pid}/status")).group(1).split()
        except (OSError, AttributeError):
            continue
        if len(numbers) == 2 and int(numbers[1]) == bundle.pid:
            return pid
    raise Failure("the container's process is not there")


@case
def systemd_of_a_user(runtime):
    """Without root it is the user's own manager that makes the scope."""
    with Systemd(runtime, unified=True) as systemd:
        user = pwd.getpwnam("nobody")
        own, folder = f"/run/user/{user.pw_uid}", systemd.folder
        systemd.inside("sh", "-c", f"mkdir -p {own}; chown {user.pw_uid} {own}").expect(status=0)
        systemd.inside(
            "systemd-run", "-q", "--unit", "manager", f"--uid={user.pw_uid}", "-p", "Delegate=yes",
            f"--setenv=XDG_RUNTIME_DIR={own}", f"--setenv=HOME={folder}",
            f"--setenv=SYSTEMD_UNIT_PATH={own}/systemd/transient:/run/units", SYSTEMD, "--user", "--unit=oci.target",
            "--log-target=null").expect(status=0)
        systemd.root, systemd.binary = own + "/state", shutil.copy(runtime.binary, folder)
        # What it may move is below its own group; others it has the system's manager move, by a bus.
        group = f"{GROUPS}/system.slice/manager.service/init.scope/cgroup.procs"
        systemd.prefix = ["sh", "-c", f'echo $$ >{group} && exec "$@"', "sh", "setpriv", "--reuid",
                          str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups", "env",
                          f"XDG_RUNTIME_DIR={own}", f"HOME={folder}", "USER=nobody"]
        want(eventually(lambda: systemd.inside(
            *systemd.prefix, "systemctl", "--user", "is-active", "oci.target").status == 0, 30),
            "the user's manager does not come up")
        bundle = systemd.container()
        subprocess.run(["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", bundle.path], check=True)
        systemd.running(bundle)
        unit = f"box-{bundle.id}.scope"
        shown = systemd.inside(*systemd.prefix, "systemctl", "--user", "show", unit, "-pSlice",
                               "-pActiveState").out
        want_equal(sorted(shown.split()), ["ActiveState=active", "Slice=oci-test.slice"], "unit")
        group = f"{systemd.groups[-1]}/system.slice/manager.service/oci.slice/oci-test.slice/{unit}"
        want(len(read(group, "cgroup.procs").split()) >= 4, "the sandbox is not in its scope")
        bundle.delete("--force").expect(status=0)
        want_gone(systemd, unit)


@case
def systemd_is_not_there(runtime):
    if os.path.exists("/run/systemd/private"):
        raise Skip("systemd runs here")
    bundle = runtime.bundle(script="true").set("linux.cgroupsPath", "a.slice:b:c")
    want(bundle.try_create(globals_=["--systemd-cgroup"]) != 0, "create succeeds")
    want("systemd is not running" in bundle.text(), f"output {bundle.text()!r}")
    want_equal(len(bundle.text().strip().splitlines()), 1, "lines of output")
