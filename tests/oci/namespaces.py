"""linux.namespaces: what is the container's own, what it joins, what is refused."""
import os
import subprocess

from runtime import Skip, harness, want, want_equal

CASES = []


def case(function):
    CASES.append(function)
    return function


def spaces(bundle, **paths):
    """Of each type its own; with a path that one, None for the caller's."""
    types = ("pid", "network", "ipc", "uts", "mount")
    return bundle.set("linux.namespaces", [
        {"type": t, **({"path": paths[t]} if t in paths else {})}
        for t in (*types, *(p for p in paths if p not in types)) if paths.get(t, "") is not None])


class Netns:
    """A network namespace with an interface `mark0` and an address."""

    def __enter__(self):
        self.process = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", "busybox ip link set lo up; "
             "busybox ip link add mark0 type veth peer name mark1; busybox ip addr add 10.77.0.1/24 dev mark0; "
             "busybox ip link set mark0 up; echo ready; exec sleep 1000"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, bufsize=0,
            start_new_session=True)
        harness.await_line(self.process)
        self.path = f"/proc/{self.process.pid}/ns/net"
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@case
def namespace_network_own(runtime):
    """Loopback and nothing else, and it is up."""
    bundle = runtime.bundle(script="ip -o link | wc -l; ping -c1 -W5 127.0.0.1 >/dev/null && echo up")
    bundle.config["process"]["capabilities"] = {
        name: ["CAP_NET_RAW"] for name in ("bounding", "effective", "permitted")}
    outcome = spaces(bundle).run()
    want_equal(outcome.out.split()[0], "1", "links")
    if runtime.is_sandbox():  # Others leave it to their callers.
        want_equal(outcome.out, "1\nup\n", "output")


@case
def namespace_network_joined(runtime):
    """By its path: its interfaces and addresses, and the pid in the pid-file is in it."""
    with Netns() as netns:
        bundle = spaces(runtime.bundle(script="ip addr show mark0 | grep -o '10.77.0.1/24'; "
                                              "echo ready; read x"), network=netns.path)
        reader, writer = os.pipe()
        bundle.create(stdin=reader).start()
        os.close(reader)
        bundle.await_text("10.77.0.1/24")
        want_equal(os.stat(f"/proc/{bundle.pid}/ns/net").st_ino, os.stat(netns.path).st_ino,
                   "namespace of the container's process")
        os.close(writer)
        bundle.wait()


@case
def namespace_network_of_the_caller(runtime):
    """Without one it is the caller's."""
    with Netns() as netns:
        bundle = spaces(runtime.bundle(script="ip addr show mark0 | grep -o '10.77.0.1/24'"),
                        network=None)
        bundle.write()
        harness.execute(["nsenter", "--net=" + netns.path,
                         *runtime.command("run", "--bundle", bundle.path, bundle.id)]).expect(
            out="10.77.0.1/24\n")


@case
def namespace_network_missing(runtime):
    bundle = spaces(runtime.bundle(script="true"), network="/nonexistent/net")
    want(bundle.try_create() != 0, "create succeeds")
    want("/nonexistent/net" in bundle.text() or not runtime.is_sandbox(), bundle.text())


@case
def namespace_uts_and_ipc_own(runtime):
    """A name that is changed inside stays inside; the host's queues are not seen."""
    bundle = runtime.bundle(script="hostname changed && hostname; cat /proc/sysvipc/shm | wc -l")
    caps = runtime.bundle().config["process"]["capabilities"]
    bundle.set("process.capabilities", {k: [*v, "CAP_SYS_ADMIN"] for k, v in caps.items()})
    before = os.uname().nodename
    made = harness.execute(["ipcmk", "-M", "4096"]).expect(status=0).out.split()[-1]
    try:
        bundle.run().expect(out="changed\n1\n")
    finally:
        harness.execute(["ipcrm", "-m", made]).expect(status=0)
    want_equal(os.uname().nodename, before, "the host's name")


@case
def namespace_network_sysctl(runtime):
    bundle = spaces(runtime.bundle(script="cat /proc/sys/net/ipv4/ip_forward "
                                          "/proc/sys/net/ipv4/ping_group_range"))
    bundle.set("linux.sysctl", {"net.ipv4.ip_forward": "1",
                                "net.ipv4.ping_group_range": "0 7"})
    bundle.run().expect(out="1\n0\t7\n")


@case
def namespace_sysctl_of_the_host(runtime):
    """What would change the host is refused."""
    for name, network in (("vm.swappiness", "own"), ("net.ipv4.ip_forward", None)):
        bundle = spaces(runtime.bundle(script="true"), **({} if network else {"network": network}))
        bundle.set("linux.sysctl", {name: "1"})
        want(bundle.try_create() != 0, f"{name} is accepted")
        want(name in bundle.text() or runtime.name == "crun", bundle.text())


@case
def namespaces_that_cannot_be_joined(runtime):
    if not runtime.is_sandbox():
        raise Skip("others join them")
    for kind in ("pid", "ipc", "uts", "mount", "cgroup", "user", "time"):
        file = "mnt" if kind == "mount" else kind
        bundle = spaces(runtime.bundle(script="true"), **{kind: f"/proc/self/ns/{file}"})
        want(bundle.try_create() != 0, f"{kind} is accepted")
        want("linux.namespaces" in bundle.text(), f"output {bundle.text()!r}")
