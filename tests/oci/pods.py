"""Pods: several containers in one sandbox, by the annotations of Kubernetes' runtimes."""
import json
import os
import signal

from lifetimes import FOREVER
from runtime import Skip, eventually, want, want_equal

CASES = []
PREFIX = "io.kubernetes.cri."
# The namespaces of a container that has its processes beside those of the sandbox.
SHARED_PIDS = (("network", "ipc", "uts", "pid"), ("mount",))


def case(function):
    def run(runtime):
        if not runtime.is_sandbox():
            raise Skip("others have no sandbox")
        function(runtime)
    run.__name__ = function.__name__
    CASES.append(run)
    return run


def sandbox(runtime, annotations=None, script=FOREVER):
    """The container that a pod begins with, running."""
    bundle = runtime.bundle(script=script)
    bundle.set("hostname", "the-pod").set("linux.cgroupsPath", f"/oci-test/{bundle.id}")
    bundle.set("annotations", {PREFIX + "container-type": "sandbox",
                               PREFIX + "sandbox-id": bundle.id, **(annotations or {})})
    bundle.create().start()
    bundle.await_text("ready")
    return bundle


def member(pod, script, shared=("network", "ipc", "uts"), own=("pid", "mount"), prefix=PREFIX):
    """A bundle for a further container of it."""
    bundle = pod.runtime.bundle(script=script)
    files = {"network": "net"}
    spaces = [{"type": t, "path": f"/proc/{pod.pid}/ns/{files.get(t, t)}"} for t in shared]
    bundle.set("linux.namespaces", spaces + [{"type": t} for t in own])
    bundle.set("linux.cgroupsPath", f"/oci-test/{bundle.id}")
    names = ("container-type", "sandbox-id") if prefix == PREFIX else ("ContainerType", "SandboxID")
    bundle.set("annotations", {prefix + names[0]: "container", prefix + names[1]: pod.id})
    return bundle


@case
def pod_of_three(runtime):
    """Own roots, own first processes, own exit statuses; one sandbox."""
    pod = sandbox(runtime)
    bundles = [member(pod, f"echo $$; hostname; cat /data/file; ls /data; exit {n}")
               for n in (3, 4)]
    for n, bundle in enumerate(bundles):
        with open(os.path.join(bundle.rootfs, "data", f"only{n}"), "w"):
            pass
        bundle.create()
        want_equal(bundle.status(), "created", "status")
        want_equal(bundle.text(), "", "output before start")
    for n, bundle in enumerate(bundles):
        bundle.start()
        want_equal(bundle.wait(), n + 3, "status")
        want_equal(bundle.text(), f"1\nthe-pod\ncontent\nfile\nonly{n}\n", "output")
        want_equal(bundle.status(), "stopped", "status")
        bundle.delete().expect(status=0)
    want_equal(pod.status(), "running", "the sandbox's status")
    # As often as one likes.
    for n in range(5):
        again = member(pod, f"exit {n}").create().start()
        want_equal(again.wait(), n, "status")


@case
def pod_of_cri_o(runtime):
    pod = sandbox(runtime)
    bundle = member(pod, "hostname; exit 6", prefix="io.kubernetes.cri-o.").create().start()
    want_equal((bundle.wait(), bundle.text()), (6, "the-pod\n"), "status and output")


@case
def pod_shares_the_network(runtime):
    pod = sandbox(runtime)
    server = member(pod, "echo ready; while :; do echo hello | nc -l -p 7000; done").create().start()
    server.await_text("ready")
    client = member(pod, "for i in $(seq 100); do nc 127.0.0.1 7000 </dev/null && exit; sleep 0.1; "
                         "done; exit 9").create().start()
    want_equal((client.wait(), client.text().split()[-1:]), (0, ["hello"]), "status and output")
    outcome = member(pod, "true", own=("pid", "mount", "network"), shared=())
    want(outcome.try_create() != 0, "a network of its own is accepted")
    want("network" in outcome.text(), f"output {outcome.text()!r}")


@case
def pod_ipc(runtime):
    """A queue of one is seen by those that share the namespace, and by nobody else."""
    pod = sandbox(runtime)
    show = "ls /dev/mqueue; echo listed"
    maker = member(pod, "touch /dev/mqueue/q; echo made; sleep 1000")
    maker.mount("/dev/mqueue", "mqueue", "mqueue").create().start()
    maker.await_text("made")
    for shared, own, seen in ((("network", "ipc"), ("pid", "mount"), "q\nlisted\n"),
                              (("network",), ("ipc", "pid", "mount"), "listed\n")):
        one = member(pod, show, shared, own).mount("/dev/mqueue", "mqueue", "mqueue")
        one.create().start()
        want_equal((one.wait(), one.text()), (0, seen), f"status and output with {shared}")


@case
def pod_pids(runtime):
    """A pid namespace each, or the sandbox's by its path."""
    pod = sandbox(runtime)
    own = member(pod, "ls -d /proc/[0-9]* | wc -l; cat /proc/1/cmdline | tr '\\0' ' ' | "
                      "grep -c cmdline").create().start()
    want_equal(own.wait(), 0, "status")
    want(int(own.text().split()[0]) <= 4 and own.text().split()[1] == "1", f"sees {own.text()!r}")
    shared = member(pod, "test $$ != 1 && grep -c ready /proc/1/cmdline; kill -0 1 && echo sent; "
                         "exit 5", ("network", "ipc", "uts", "pid"), ("mount",)).create().start()
    want_equal((shared.wait(), shared.text()), (5, "1\nsent\n"), "status and output")
    want_equal(pod.status(), "running", "the sandbox's status")


@case
def pod_shared_pids_end_with_their_container(runtime):
    pod = sandbox(runtime)
    spaces = ("network", "ipc", "uts", "pid"), ("mount",)
    one = member(pod, "sleep 1234 & echo ready; wait", *spaces).create().start()
    one.await_text("ready")
    show = ["sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -c '1[2]34'"]
    want_equal(pod.exec(*show).out, "1\n", "processes")
    one.delete("--force").expect(status=0)
    want(eventually(lambda: pod.exec(*show).out == "0\n", 10), "they are still there")
    want_equal(pod.status(), "running", "the sandbox's status")


@case
def pod_exec_and_kill(runtime):
    pod = sandbox(runtime)
    one, two = (member(pod, FOREVER).create().start() for _ in range(2))
    for n, bundle in enumerate((one, two)):
        bundle.await_text("ready")
        bundle.exec("sh", "-c", f"echo {n} >/tmp/mine; cat /tmp/mine; exit {n + 7}").expect(
            status=n + 7, out=f"{n}\n")
    one.kill("TERM").expect(status=0)
    want_equal(one.wait(), 0, "status")
    two.exec("cat", "/tmp/mine").expect(status=0, out="1\n")
    want(one.exec("true").status != 0, "exec into the dead one succeeds")
    two.kill("KILL", "--all").expect(status=0)
    want_equal(two.wait(), 137, "status")
    pod.exec("echo", "alive").expect(status=0, out="alive\n")


@case
def pod_hooks_and_mounts(runtime):
    """What a container has elsewhere it has in a pod."""
    pod = sandbox(runtime)
    bundle = member(pod, "cat /mnt/a /tmp/hooked; echo x 2>/dev/null >/proc/sys/kernel/hostname || "
                         "echo masked; ulimit -n; id -u; touch /x 2>/dev/null || echo readonly")
    os.mkdir(bundle.host_path("shared"))
    bundle.host_path("shared/a", "one\n")
    bundle.mount("/mnt", "bind", bundle.host_path("shared"), "rbind", "ro")
    bundle.set("linux.readonlyPaths", ["/proc/sys"]).set("root.readonly", True)
    bundle.mount("/tmp", "tmpfs", "tmpfs")
    bundle.set("process.rlimits", [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99}])
    bundle.set("hooks", {"startContainer": [{"path": "/bin/sh", "env": ["PATH=/bin"],
                                             "args": ["sh", "-c", "echo two >/tmp/hooked"]}]})
    bundle.create().start()
    want_equal((bundle.wait(), bundle.text()), (0, "one\ntwo\nmasked\n77\n0\nreadonly\n"),
               "status and output")


@case
def pod_ends_with_its_sandbox(runtime):
    pod = sandbox(runtime)
    running = member(pod, FOREVER).create().start()
    running.await_text("ready")
    created = member(pod, FOREVER).create()
    pod.kill("KILL").expect(status=0)
    want_equal(pod.wait(), 137, "status of the sandbox")
    want_equal(running.wait(), 137, "status of a running container")
    want(created.wait() != 0, "status of a created container")
    late = member(pod, "true")
    want(late.try_create() != 0, "a container is added to a sandbox that has ended")
    want("sandbox" in late.text(), f"output {late.text()!r}")


@case
def pod_death_of_a_monitor(runtime):
    """kill -9 of what stands for one container ends that one alone."""
    pod = sandbox(runtime)
    spaces = ("network", "ipc", "uts", "pid"), ("mount",)
    for arguments in ((), spaces):
        one = member(pod, "sleep 4321; true", *arguments).create().start()
        created = member(pod, FOREVER, *arguments).create()
        for bundle in (one, created):
            os.kill(bundle.pid, signal.SIGKILL)
            want_equal(bundle.wait(), 137, "status")
            want_equal(bundle.status(), "stopped", "status")
            bundle.delete("--force").expect(status=0)
        pod.exec("echo", "alive").expect(status=0, out="alive\n")


@case
def pod_limits(runtime):
    """The annotations of the sandbox limit the pod, and bind what runs in it."""
    runtime.need_cgroups()
    pod = sandbox(runtime, {PREFIX + "sandbox-memory": str(64 << 20),
                            PREFIX + "sandbox-cpu-quota": "50000",
                            PREFIX + "sandbox-cpu-period": "100000",
                            PREFIX + "sandbox-cpu-shares": "512"})
    for controller, v1, v2, value in (
            ("memory", "memory.limit_in_bytes", "memory.max", str(64 << 20)),
            ("cpu", "cpu.cfs_quota_us", "cpu.max", "50000")):
        folder = pod.cgroup_of(controller).removesuffix("/@sandbox")
        file = os.path.join(folder, v1)
        with open(file if os.path.exists(file) else os.path.join(folder, v2)) as f:
            want_equal(f.read().split()[0], value, file)
    eater = member(pod, "head -c 300m /dev/zero | tail | wc -c").create().start()
    eater.wait()
    want("314572800" not in eater.text(), "300 MiB fit into a pod of 64")


@case
def pod_limits_of_one(runtime):
    """A container's own limits bind what runs in it and nobody else, in the pod's group."""
    runtime.need_cgroups()
    pod = sandbox(runtime)
    other = member(pod, FOREVER).create().start()
    for arguments in ((), SHARED_PIDS):
        eater = member(pod, "echo ready; head -c 300m /dev/zero | tail | wc -c", *arguments)
        eater.set("linux.resources.memory", {"limit": 48 << 20, "swap": 48 << 20}).create()
        file = os.path.join(eater.cgroup_of("memory"), "memory.limit_in_bytes")
        if os.path.exists(file):
            want(os.path.dirname(file).startswith(pod.cgroup_of("memory").removesuffix("/@sandbox") + "/"), file)
        eater.start()
        eater.wait()
        want("314572800" not in eater.text(), "300 MiB fit into 48")
        forker = member(pod, "for i in $(seq 60); do sleep 100 & done; echo all", *arguments)
        forker.set("linux.resources.pids", {"limit": 20}).create().start()
        want(forker.wait() != 0, "status")
        want("can't fork" in forker.text(), f"output {forker.text()!r}")
        for bundle in (eater, forker):
            bundle.delete("--force").expect(status=0)
    other.exec("echo", "alive").expect(status=0, out="alive\n")
    want_equal((other.status(), pod.status()), ("running", "running"), "statuses")


@case
def pod_group_of_one(runtime):
    """All that runs is in the container's own group: after execve and fork, after exec, too."""
    runtime.need_cgroups()
    pod = sandbox(runtime)
    for arguments in ((), SHARED_PIDS):
        one = member(pod, "sh -c 'sleep 100 & exec sleep 200' & echo ready; exec sleep 300",
                     *arguments)
        one.set("linux.resources.cpu", {"shares": 300, "quota": 30000, "period": 100000})
        one.create().start()
        one.await_text("ready")
        pids, inside = [], set()
        folder = one.cgroup_of("cpu")

        def three():  # Each execve still to come brings another pid.
            text = one.call("ps", "--format", "json", one.id).expect(status=0).out
            pids[:] = json.loads(text)
            with open(os.path.join(folder, "cgroup.procs")) as f:
                inside.clear()
                inside.update(int(line) for line in f)
            return len(pids) == 3 and set(pids) <= inside
        want(eventually(three), f"{pids} are not three, or not all in {inside}")
        file = os.path.join(folder, "cpu.cfs_quota_us")
        if os.path.exists(file):
            with open(file) as f:
                want_equal(f.read(), "30000\n", "quota")
            one.call("update", "--cpu-quota", "40000", one.id).expect(status=0)
            with open(file) as f:
                want_equal(f.read(), "40000\n", "quota after update")
        event = json.loads(one.call("events", "--stats", one.id).expect(status=0).out)
        want(event["data"]["pids"]["current"] >= 3, "figures")
        one.delete("--force").expect(status=0)


@case
def pod_update_of_pids(runtime):
    pod = sandbox(runtime)
    for arguments in ((), SHARED_PIDS):
        one = member(pod, "(for i in $(seq 60); do sleep 100 & done; echo all) 2>&1; true",
                     *arguments).create()
        one.call("update", "--pids-limit", "20", one.id).expect(status=0)
        one.start()
        want_equal(one.wait(), 0, "status")
        want("can't fork" in one.text(), f"output {one.text()!r}")


@case
def pod_pause_of_one(runtime):
    """It stands still, the others go on; what it was sent arrives when it does."""
    pod = sandbox(runtime)
    count = "i=0; while :; do i=$((i+1)); echo $i >/tmp/n; done"
    for arguments in ((), SHARED_PIDS):
        one, other = (member(pod, f"trap 'echo got' USR1; echo ready; {count}",
                             *arguments).create().start() for _ in range(2))
        one.await_text("ready")
        other.await_text("ready")

        def number(bundle):
            with open(os.path.join(bundle.rootfs, "tmp", "n")) as f:
                return f.read()
        want(eventually(lambda: os.path.exists(os.path.join(one.rootfs, "tmp", "n")), 10), "a file")
        paused = one.call("pause", one.id)
        if "ptrace" in " ".join(runtime.flags):
            want(paused.status != 0 and "ptrace" in paused.err, f"pause: {paused.err!r}")
            one.delete("--force").expect(status=0)
            other.delete("--force").expect(status=0)
            continue
        paused.expect(status=0)
        want_equal((one.status(), other.status(), pod.status()), ("paused", "running", "running"),
                   "statuses")
        one.kill("USR1").expect(status=0)
        for _ in range(3):
            before, beside = number(one), number(other)
            want(eventually(lambda: number(other) not in (beside, "")), "the other one stands")
            want_equal(number(one), before, "the paused one's number")
        want("got" not in one.text(), "a paused container handles a signal")
        want(one.exec("true").status != 0, "exec into a paused container succeeds")
        one.call("resume", one.id).expect(status=0)
        one.await_text("got")
        before = number(one)
        want(eventually(lambda: number(one) not in (before, "")), "it does not go on")
        one.call("pause", one.id).expect(status=0)
        one.kill("KILL").expect(status=0)
        want_equal(one.wait(), 137, "status")
        other.call("pause", other.id).expect(status=0)
        other.delete("--force").expect(status=0)


def share(pod, *bundles):
    """A folder of the host that each of them has as /mnt."""
    folder = pod.host_path("volume")
    os.makedirs(folder, exist_ok=True)
    os.chmod(folder, 0o777)
    for bundle in bundles:
        bundle.mount("/mnt", "bind", folder, "rbind")
    return folder


@case
def pod_abstract_sockets(runtime):
    """They go with the network; a pid of another pid namespace means nothing."""
    pod = sandbox(runtime)
    server, client = (member(pod, "exec /usr/bin/python3 /data/program").with_python()
                      for _ in range(2))
    with open(server.rootfs + "/data/program", "w") as f:
        f.write("import socket\ns = socket.socket(socket.AF_UNIX)\ns.bind('\\0name')\n"
                "s.listen()\nprint('ready', flush=True)\nc, _ = s.accept()\n"
                "c.send(c.recv(100).upper())\n")
    with open(client.rootfs + "/data/program", "w") as f:
        f.write("import socket, struct\ns = socket.socket(socket.AF_UNIX)\n"
                "s.connect('\\0name')\n"
                "print(struct.unpack('iii', s.getsockopt(socket.SOL_SOCKET, 17, 12)))\n"
                "s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)\ns.send(b'hello')\n"
                "data, control, _, _ = s.recvmsg(100, 1000)\n"
                "print(data.decode(), struct.unpack('iii', control[0][2]))\n")
    server.create().start()
    server.await_text("ready")
    client.create().start()
    want_equal((client.wait(), client.text()), (0, "(0, 0, 0)\nHELLO (0, 0, 0)\n"), "output")
    want_equal(server.wait(), 0, "status of the server")


@case
def pod_locks_in_a_volume(runtime):
    """flock(2) and record locks of one container are seen by the other, and end with it."""
    pod = sandbox(runtime)
    holder, other = (member(pod, "exec /usr/bin/python3 /data/program") for _ in range(2))
    folder = share(pod, holder, other)
    for bundle in (holder, other):
        bundle.with_python()
    for name in ("flock", "record"):
        with open(os.path.join(folder, name), "w"):
            pass
    with open(holder.rootfs + "/data/program", "w") as f:
        f.write("import fcntl, time\na, b = open('/mnt/flock', 'r+'), open('/mnt/record', 'r+')\n"
                "fcntl.flock(a, fcntl.LOCK_EX)\nfcntl.lockf(b, fcntl.LOCK_EX)\n"
                "print('ready', flush=True)\ntime.sleep(1000)\n")
    with open(other.rootfs + "/data/program", "w") as f:
        f.write("import fcntl\na, b = open('/mnt/flock', 'r+'), open('/mnt/record', 'r+')\n"
                "for lock, file in ((fcntl.flock, a), (fcntl.lockf, b)):\n"
                "  try:\n    lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n    print('taken')\n"
                "  except OSError as e:\n    print(e.errno)\n"
                "print('waits', flush=True)\n"
                "fcntl.flock(a, fcntl.LOCK_EX)\nfcntl.lockf(b, fcntl.LOCK_EX)\nprint('has')\n")
    holder.create().start()
    holder.await_text("ready")
    other.create().start()
    other.await_text("waits")
    want_equal(other.text().split(), ["11", "11", "waits"], "output")
    holder.kill("KILL").expect(status=0)
    want_equal(other.wait(), 0, "status")
    want_equal(other.text().split()[-1], "has", "output")


@case
def pod_refusals(runtime):
    pod = sandbox(runtime)
    foreign = member(pod, "true")
    foreign.config["linux"]["namespaces"][1]["path"] = "/proc/1/ns/ipc"
    want(foreign.try_create() != 0 and "ipc" in foreign.text(), f"output {foreign.text()!r}")
    nobody = member(pod, "true")
    nobody.config["annotations"][PREFIX + "sandbox-id"] = "nobody"
    want(nobody.try_create() != 0 and "nobody" in nobody.text(), f"output {nobody.text()!r}")
    missing = member(pod, "true").set("process.args", ["/no/such/program"])
    want(missing.try_create() != 0, "a missing program is accepted")
    want("no such file" in missing.text(), f"output {missing.text()!r}")
