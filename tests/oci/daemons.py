"""The real callers of a runtime: dockerd with its containerd and shim, ctr, podman.

dockerd runs in namespaces of its own (pids, mounts, network), so that it ends with the test
whatever happens, and nothing of the host's network or mounts is touched.
"""
import concurrent.futures
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile

from runtime import Failure, Skip, eventually, harness, want, want_equal

CASES = []
FOREVER = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done"
SESSION = None


def case(function):
    CASES.append(function)
    return function


def full(function):
    """Only with --size full."""
    function.full = True
    return case(function)


class Docker:
    """A dockerd whose default runtime is the one under test, and an image made of busybox."""

    def __init__(self, subject):
        for program in ("/usr/sbin/dockerd", "/usr/bin/docker", "/usr/bin/containerd"):
            if not os.path.exists(program):
                raise Skip(f"no {program}")
        self.folder = tempfile.mkdtemp(prefix="oci-docker.", dir="/var/tmp")
        self.socket = os.path.join(self.folder, "docker.sock")
        config = os.path.join(self.folder, "daemon.json")
        with open(config, "w") as f:
            json.dump({"runtimes": {"subject": {"path": subject.binary,
                                                "runtimeArgs": subject.flags}},
                       "default-runtime": "subject", "storage-driver": self.storage_driver(),
                       "data-root": self.folder + "/data", "exec-root": self.folder + "/exec",
                       "pidfile": self.folder + "/pid", "hosts": ["unix://" + self.socket],
                       "bip": "172.31.99.1/24", "ip6tables": False, "shutdown-timeout": 5}, f)
        self.log = open(os.path.join(self.folder, "log"), "w+")
        self.process = subprocess.Popen(
            ["unshare", "-mnpf", "--kill-child", "--mount-proc", "--propagation", "private", "sh",
             "-c", 'busybox ip link set lo up; exec dockerd --config-file "$1"', "sh", config],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True)
        try:
            if not eventually(lambda: self.try_run("version").status == 0, 60):
                raise Failure("dockerd does not come up")
            self.template = subject.template
            self.import_image(self.template, "box")
        except BaseException:
            self.close()
            raise

    def storage_driver(self):
        return "overlay2" if "overlay" in open("/proc/filesystems").read() else "vfs"

    def import_image(self, template, name):
        tar = subprocess.Popen(["tar", "-C", template, "-c", "."], stdout=subprocess.PIPE)
        subprocess.run(["/usr/bin/docker", "-H", "unix://" + self.socket, "import", "--change",
                        "ENV PATH=/bin", "-", name], stdin=tar.stdout, check=True,
                       stdout=subprocess.DEVNULL)
        tar.wait()

    def command(self, *args):
        return ["/usr/bin/docker", "-H", "unix://" + self.socket, *args]

    def try_run(self, *args, data=None, limit=60):
        return harness.execute(self.command(*args), data, limit,
                               env=dict(os.environ, DOCKER_CONFIG=self.folder))

    def __call__(self, *args, **options):
        return self.try_run(*args, **options).expect(status=0).out

    def shell(self, script, *flags, **options):
        """`docker run --rm` of a shell script: its outcome."""
        return self.try_run("run", "--rm", *flags, "box", "/bin/sh", "-c", script, **options)

    def detached(self, name, script=FOREVER, *flags):
        self("run", "-d", "--name", name, *flags, "box", "/bin/sh", "-c", script)
        if "ready" in script:
            self.await_log(name, "ready")
        return name

    def await_log(self, name, pattern, seconds=60):
        if not eventually(lambda: re.search(pattern, self.try_run("logs", name).out), seconds):
            raise Failure(f"logs {self.try_run('logs', name).out!r}, expected {pattern!r}")

    def inspect(self, name, field):
        return self("inspect", "-f", "{{" + field + "}}", name).strip()

    def await_state(self, name, field, value, seconds=60):
        if not eventually(lambda: self.inspect(name, field) == value, seconds):
            raise Failure(f"{field} is {self.inspect(name, field)!r}, expected {value!r}")

    def remove_all(self):
        names = self.try_run("ps", "-aq").out.split()
        if names:
            self.try_run("rm", "-f", *names)

    def processes(self):
        """Everything below dockerd: {pid: name}."""
        return harness.descendants(self.process.pid)

    def close(self):
        self.process.terminate()  # Ends the shell's successor with its namespace.
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def open_session(subject):
    """Starts dockerd for the cases; returns how to end it."""
    global SESSION
    try:
        SESSION = Docker(subject)
    except (Skip, Failure, OSError, subprocess.SubprocessError) as why:
        # The cases without dockerd go on.
        SESSION = why
        return lambda: None
    return SESSION.close


def docker_or_why():
    if isinstance(SESSION, Exception):
        raise SESSION


def docker_case(function):
    def run(subject):
        docker_or_why()
        try:
            function(SESSION)
        finally:
            SESSION.remove_all()
    run.__name__ = "docker_" + function.__name__
    CASES.append(run)
    return run


def full_docker_case(function):
    run = docker_case(function)
    run.full = True
    return run


@docker_case
def run(docker):
    docker.shell("echo out; echo err >&2; exit 7").expect(status=7, out="out\n", err_has="err")
    docker.shell("cat; echo end", "-i", data=b"in\n").expect(status=0, out="in\nend\n")


@docker_case
def run_errors(docker):
    docker.try_run("run", "--rm", "box", "nosuch").expect(status=127)
    docker.try_run("run", "--rm", "box", "/etc").expect(status=126)


@docker_case
def detached_logs_stop(docker):
    docker.detached("one")
    want_equal(docker("logs", "one"), "ready\n", "logs")
    docker("stop", "-t", "10", "one")
    want_equal(docker.inspect("one", ".State.ExitCode"), "3", "status")
    docker("start", "one")
    docker.await_state("one", ".State.Running", "true")
    docker("kill", "one")
    want_equal(docker.inspect("one", ".State.ExitCode"), "137", "status after kill")
    docker("rm", "one")


@docker_case
def exec_(docker):
    docker.detached("one")
    docker.try_run("exec", "one", "sh", "-c", "hostname; exit 4").expect(
        status=4, out=docker.inspect("one", ".Config.Hostname") + "\n")
    docker.try_run("exec", "-i", "one", "cat", data=b"through").expect(status=0, out="through")
    docker.try_run("exec", "-u", "5:6", "-w", "/data", "-e", "A=b", "one", "sh", "-c",
                   "id -u; id -g; pwd; echo $A").expect(status=0, out="5\n6\n/data\nb\n")
    want(docker.try_run("exec", "one", "nosuch").status in (126, 127), "a missing program")
    docker("exec", "-d", "one", "sh", "-c", "echo made >/tmp/made")
    want(eventually(lambda: docker.try_run("exec", "one", "cat", "/tmp/made").out == "made\n", 10),
         "exec -d did nothing")


def on_terminal(docker, *args):
    """A docker command on a terminal of 24 by 80, as script(1) makes one."""
    command = " ".join("'" + a.replace("'", "'\\''") + "'" for a in docker.command(*args))
    script = f"stty rows 24 cols 80; {command}"
    return harness.execute(["script", "-qec", script, "/dev/null"], b"", 60)


@docker_case
def run_on_a_terminal(docker):
    out = on_terminal(docker, "run", "--rm", "-it", "box", "sh", "-c",
                      "test -t 0 && tty; echo $TERM")
    want("/dev/pts/0" in out.out or "/dev/console" in out.out, f"output {out.out!r}")
    want("xterm" in out.out, f"output {out.out!r}")


@docker_case
def exec_on_a_terminal(docker):
    docker.detached("one")
    out = on_terminal(docker, "exec", "-it", "one", "sh", "-c", "test -t 1 && echo yes-a-tty")
    want("yes-a-tty" in out.out, f"output {out.out!r}")


@docker_case
def cp(docker):
    docker.detached("one")
    file = os.path.join(docker.folder, "file")
    with open(file, "w") as f:
        f.write("from the host\n")
    docker("cp", file, "one:/tmp/file")
    want_equal(docker("exec", "one", "cat", "/tmp/file"), "from the host\n", "file inside")
    docker("exec", "one", "sh", "-c", "echo from inside >/tmp/back")
    docker("cp", "one:/tmp/back", file)
    with open(file) as f:
        want_equal(f.read(), "from inside\n", "file outside")


@docker_case
def top(docker):
    docker.detached("one")
    lines = docker("top", "one").splitlines()
    want(len(lines) >= 2 and "PID" in lines[0], f"top {lines}")


@docker_case
def stats(docker):
    docker.detached("one", FOREVER, "--memory", "128m")
    row = json.loads(docker("stats", "--no-stream", "--format", "{{json .}}", "one"))
    want(not row["MemUsage"].startswith("0B") and "128MiB" in row["MemUsage"], f"stats {row}")
    want(int(row["PIDs"]) >= 1, f"stats {row}")


@docker_case
def pause(docker):
    docker.detached("one", "echo ready; i=0; while :; do i=$((i+1)); echo $i >/tmp/n; "
                           "sleep 0.02; done")
    docker("pause", "one")
    want_equal(docker.inspect("one", ".State.Status"), "paused", "status")
    want(docker.try_run("exec", "one", "true").status != 0, "exec into a paused container succeeds")
    docker("unpause", "one")
    docker("exec", "one", "true")


@docker_case
def update(docker):
    docker.detached("one", FOREVER, "--memory", "64m", "--memory-swap", "64m")
    docker("update", "--memory", "96m", "--memory-swap", "96m", "--cpus", "0.5", "one")
    want_equal(docker.inspect("one", ".HostConfig.Memory"), str(96 << 20), "memory")
    row = json.loads(docker("stats", "--no-stream", "--format", "{{json .}}", "one"))
    want("96MiB" in row["MemUsage"], f"stats {row}")


@docker_case
def restart(docker):
    docker.detached("one")
    before = docker.inspect("one", ".State.Pid")
    docker("restart", "-t", "5", "one")
    want(docker.inspect("one", ".State.Pid") != before, "the process is the same")
    docker.await_state("one", ".State.Running", "true")


@docker_case
def restart_policy(docker):
    docker.detached("one", "echo again; exit 1", "--restart", "on-failure:2")
    docker.await_state("one", ".RestartCount", "2")
    docker.await_state("one", ".State.Running", "false")
    want_equal(docker.inspect("one", ".State.ExitCode"), "1", "status")


@docker_case
def healthcheck(docker):
    docker.detached("one", FOREVER, "--health-cmd", "test -e /tmp/well", "--health-interval",
                    "300ms", "--health-retries", "1")
    docker.await_state("one", ".State.Health.Status", "unhealthy")
    docker("exec", "one", "touch", "/tmp/well")
    docker.await_state("one", ".State.Health.Status", "healthy")


@docker_case
def volumes(docker):
    folder = os.path.join(docker.folder, "shared")
    os.makedirs(folder, exist_ok=True)
    docker.shell("echo x >/shared/made", "-v", f"{folder}:/shared").expect(status=0)
    with open(os.path.join(folder, "made")) as f:
        want_equal(f.read(), "x\n", "the host's file")
    docker.shell("touch /shared/y", "-v", f"{folder}:/shared:ro").expect(status=1)
    docker.shell("echo kept >/v/x", "-v", "named:/v").expect(status=0)
    docker.shell("cat /v/x", "-v", "named:/v").expect(status=0, out="kept\n")
    docker("volume", "rm", "named")


@docker_case
def read_only_and_tmpfs(docker):
    outcome = docker.shell("touch /x; touch /t/x && echo tmpfs", "--read-only", "--tmpfs",
                           "/t:size=64k")
    outcome.expect(status=0, out="tmpfs\n", err_has="Read-only file system")


@docker_case
def who_and_what(docker):
    docker.shell("id -u; id -g; id -G; pwd; hostname; echo $A", "-u", "1000:7", "--group-add", "9",
                 "-w", "/data", "-h", "somewhere", "-e", "A=b").expect(
        status=0, out="1000\n7\n7 9\n/data\nsomewhere\nb\n")


@docker_case
def capabilities(docker):
    show = "grep CapEff /proc/self/status | cut -f2"
    docker.shell(show, "--cap-drop", "ALL").expect(status=0, out="0000000000000000\n")
    docker.shell(show, "--cap-drop", "ALL", "--cap-add", "KILL").expect(out="0000000000000020\n")
    docker.shell("chown 5 /tmp", "--cap-drop", "CHOWN").expect(status=1)


@docker_case
def security_options(docker):
    docker.shell("grep NoNewPrivs /proc/self/status | cut -f2", "--security-opt",
                 "no-new-privileges").expect(status=0, out="1\n")
    docker.shell("echo fine", "--security-opt", "seccomp=unconfined").expect(status=0, out="fine\n")


@docker_case
def ulimits(docker):
    docker.shell("ulimit -Sn; ulimit -Hn", "--ulimit", "nofile=77:99").expect(out="77\n99\n")


@docker_case
def init(docker):
    if not shutil.which("docker-init"):
        raise Skip("no docker-init (package tini)")
    docker.shell("cat /proc/1/comm", "--init").expect(status=0, out="docker-init\n")


@docker_case
def memory(docker):
    docker.detached("one", "head -c 300m /dev/zero | tail | wc -c", "--memory", "48m",
                    "--memory-swap", "48m")
    docker.await_state("one", ".State.Running", "false", 60)
    want("314572800" not in docker("logs", "one"), "300 MiB fit into 48")


@docker_case
def pids_limit(docker):
    outcome = docker.shell("for i in $(seq 80); do sleep 100 & done; echo all",
                           "--pids-limit", "40")
    outcome.expect(status=2, err_has="can't fork")


@docker_case
def cpus(docker):
    docker.shell("echo fine", "--cpus", "0.5", "--cpu-shares", "100", "--cpuset-cpus", "0").expect(
        status=0, out="fine\n")


@docker_case
def limits_show_inside(docker):
    """In the control groups that docker mounts."""
    docker.shell("cd /sys/fs/cgroup && cat memory.max cpu.max pids.max cpuset.cpus.effective; "
                 "mkdir x 2>/dev/null || echo read-only",
                 "--memory", "64m", "--cpus", "0.5", "--pids-limit", "40", "--cpuset-cpus", "0",
                 ).expect(status=0, out="67108864\n50000 100000\n40\n0\nread-only\n")


@docker_case
def names_and_hosts(docker):
    docker.shell("grep -c box-name /etc/hosts; grep extra /etc/hosts | cut -f1; cat /etc/hostname",
                 "-h", "box-name", "--add-host", "extra:1.2.3.4").expect(
        status=0, out="1\n1.2.3.4\nbox-name\n")


@docker_case
def default_network(docker):
    """The veth that Docker prepared, with its address."""
    outcome = docker.shell("cat /proc/net/dev | grep -c eth0; "
                           "ip addr show eth0 | grep -c 172.31.99.")
    outcome.expect(status=0, out="1\n1\n")


@docker_case
def user_network(docker):
    """As docker compose sets it up: a client reaches a server by its name."""
    docker("network", "create", "net-a")
    try:
        docker.detached("server", "echo ready; while :; do echo hello | nc -l -p 7000; done",
                        "--network", "net-a")
        client = docker.shell("for i in $(seq 50); do nc server 7000 </dev/null && exit; "
                              "sleep 0.1; done; exit 9", "--network", "net-a")
        client.expect(status=0, out="hello\n")
    finally:
        docker.remove_all()
        docker("network", "rm", "net-a")


@docker_case
def published_port(docker):
    docker.detached("server", "echo ready; while :; do echo hello | nc -l -p 7000; done",
                    "-p", "127.0.0.1:7777:7000")
    pid = next(p for p, name in docker.processes().items() if name == "dockerd")
    reach = ["nsenter", "-t", str(pid), "-n", "busybox", "nc", "127.0.0.1", "7777"]
    want(eventually(lambda: harness.execute(reach, limit=5).out == "hello\n", 15),
         "nobody answers at the published port")


@docker_case
def sudden_deaths(docker):
    """kill -9 of the shim, of the container's process or of the sandbox's: docker cleans up."""
    group = "/sys/fs/cgroup/pids/docker"

    def below(pid):
        return {p for p in harness.descendants(pid)} | {pid}
    for victim in ("shim", "monitor", "first", "last"):
        docker.detached("one", FOREVER)
        before = {p: n for p, n in docker.processes().items() if n == "containerd-shim"}
        shim = max(before)
        parts = sorted(below(shim) - {shim})
        os.kill({"shim": shim, "monitor": parts[0], "first": parts[1], "last": parts[-1]}[victim],
                signal.SIGKILL)
        want(eventually(lambda: docker.inspect("one", ".State.Running") == "false" or
                        victim in ("shim", "last"), 20), f"it runs after the death of {victim}")
        docker("rm", "-f", "one")
        want(eventually(lambda: not [p for p in parts if p in docker.processes()], 20),
             f"processes are left after the death of {victim}: {docker.processes()}")
        left = os.listdir(group) if os.path.isdir(group) else []
        want(not [n for n in left if os.path.isdir(f"{group}/{n}")], f"control groups {left}")
        files = os.listdir(docker.folder + "/exec/runtime-runc/moby")
        want_equal(files, [], f"state after the death of {victim}")
    docker.shell("echo fine").expect(status=0, out="fine\n")


@docker_case
def ten_in_parallel(docker):
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        got = list(pool.map(lambda n: docker.shell(f"echo {n}").out, range(10)))
    want_equal(got, [f"{n}\n" for n in range(10)], "output")


@full_docker_case
def fifty_in_parallel(docker):
    names = [f"many{n}" for n in range(50)]
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        list(pool.map(lambda n: docker.try_run("run", "-d", "--name", n, "box", "/bin/sh", "-c",
                                               FOREVER, limit=200).expect(status=0), names))
    want_equal(len(docker("ps", "-q").split()), 50, "running containers")
    docker("rm", "-f", *names, limit=200)


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


@full_docker_case
def five_hundred_in_a_row(docker):
    """Nothing is left of them: no process, mount, control group or open file."""
    docker.shell("true").expect(status=0)
    pid = next(p for p, name in docker.processes().items() if name == "dockerd")

    def weigh():
        with open(f"/proc/{pid}/mountinfo") as f:
            mounts = len(f.readlines())
        groups = sum(1 for _ in os.walk("/sys/fs/cgroup/pids/docker"))
        return {"processes": len(docker.processes()), "mounts": mounts, "control groups": groups,
                "files": os.listdir(docker.folder + "/exec/runtime-runc/moby")}
    before = weigh()
    for n in range(500):
        docker.shell(f"exit {n % 100}").expect(status=n % 100)
    want(eventually(lambda: weigh() == before, 10), f"before {before}, after {weigh()}")


# containerd's own client, on the containerd that dockerd started.
def ctr(docker, subject, *args, limit=60):
    return harness.execute(["ctr", "-a", docker.folder + "/exec/containerd/containerd.sock", "-n",
                            "test", *args], limit=limit)


@case
def ctr_run(subject):
    docker_or_why()
    if subject.flags:
        raise Skip("ctr gives the runtime no flags")
    flags = ["--rm", "--rootfs", "--runtime", "io.containerd.runc.v2", "--runc-binary",
             subject.binary]
    bundle = subject.bundle()
    ctr(SESSION, subject, "run", *flags, bundle.rootfs, "c1", "/bin/sh", "-c",
        "echo hello; exit 5").expect(status=5, out="hello\n")
    ctr(SESSION, subject, "run", "-d", *flags[1:], bundle.rootfs, "c2", "/bin/sh", "-c",
        FOREVER).expect(status=0)
    ctr(SESSION, subject, "task", "exec", "--exec-id", "e1", "c2", "/bin/echo", "inside").expect(
        status=0, out="inside\n")
    want("RUNNING" in ctr(SESSION, subject, "task", "ls").out, "the task does not run")
    ctr(SESSION, subject, "task", "pause", "c2").expect(status=0)
    want("PAUSED" in ctr(SESSION, subject, "task", "ls").out, "the task is not paused")
    ctr(SESSION, subject, "task", "resume", "c2").expect(status=0)
    ctr(SESSION, subject, "task", "metrics", "c2").expect(status=0)
    ctr(SESSION, subject, "task", "kill", "-s", "SIGKILL", "c2").expect(status=0)
    want(eventually(lambda: "STOPPED" in ctr(SESSION, subject, "task", "ls").out, 10),
         "still there")
    ctr(SESSION, subject, "task", "delete", "c2").expect(status=None)
    ctr(SESSION, subject, "container", "delete", "c2").expect(status=0)


class Podman:
    def __init__(self, subject, user=None):
        if not os.path.exists("/usr/bin/podman"):
            raise Skip("no podman")
        self.folder = tempfile.mkdtemp(prefix="oci-podman.", dir="/var/tmp")
        os.chmod(self.folder, 0o755)
        self.subject, self.user, self.binary = subject, user, subject.binary
        if user:
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            # The checkout may be where only root gets.
            os.mkdir(self.folder + "/bin")
            self.binary = shutil.copy(subject.binary, self.folder + "/bin")

    def __call__(self, *args, limit=60):
        flags = []
        for flag in self.subject.flags:
            flags += ["--runtime-flag", flag.lstrip("-")]
        command = ["podman", "--root", self.folder + "/root", "--runroot", self.folder + "/run",
                   "--tmpdir", self.folder + "/tmp", "--storage-driver", "vfs", "--cgroup-manager",
                   "cgroupfs", "--events-backend", "file", "--runtime", self.binary, *flags, *args]
        env = dict(os.environ, XDG_RUNTIME_DIR=self.folder, HOME=self.folder)
        if self.user:
            command = ["setpriv", "--reuid", str(self.user.pw_uid), "--regid",
                       str(self.user.pw_gid), "--clear-groups", *command]
            env["USER"] = self.user.pw_name
        return harness.execute(command, limit=limit, env=env, cwd=self.folder)

    def close(self):
        self("rm", "-fa")
        # Keeps a rootless caller's user namespace, for ever.
        for folder, _, files in os.walk(self.folder):
            if "pause.pid" in files:
                with open(os.path.join(folder, "pause.pid")) as f:
                    os.kill(int(f.read()), signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


def podman_session(subject, user=None):
    podman = Podman(subject, user)
    bundle = subject.bundle()
    if user:
        subprocess.run(["chown", "-R", f"{user.pw_uid}:{user.pw_gid}", bundle.rootfs], check=True)
    # Podman asks for more than this host's hard limit when it is root.
    flags = ["--network", "none", "--ulimit", "nofile=512:512", "--ulimit", "nproc=4096:4096",
             "--rootfs", bundle.rootfs]
    try:
        podman("run", "--rm", *flags, "/bin/sh", "-c", "echo out; exit 6").expect(
            status=6, out="out\n")
        podman("run", "-d", "--name", "a", *flags, "/bin/sh", "-c", FOREVER).expect(status=0)
        want(eventually(lambda: "ready" in podman("logs", "a").out, 15), "no output in the log")
        podman("exec", "a", "/bin/sh", "-c", "echo inside; exit 3").expect(status=3, out="inside\n")
        podman("top", "a").expect(status=None)
        podman("stop", "-t", "10", "a").expect(status=0)
        want_equal(podman("inspect", "-f", "{{.State.ExitCode}}", "a").out, "3\n", "status")
        podman("rm", "a").expect(status=0)
    finally:
        podman.close()


@case
def podman_rootful(subject):
    podman_session(subject)


@case
def podman_rootless(subject):
    try:
        user = pwd.getpwnam("nobody")
    except KeyError:
        raise Skip("no user nobody") from None
    podman_session(subject, user)
