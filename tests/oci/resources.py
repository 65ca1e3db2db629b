"""linux.resources and cgroupsPath: the host's control groups hold what they are told, and it binds."""
import json
import os

from runtime import Skip, eventually, want, want_equal

CASES = []


def case(function):
    CASES.append(function)
    return function


# name: (field of linux.resources, value, v1 controller, v1 file, v2 file, content)
LIMITS = {
    "cgroup_memory": ("memory", {"limit": 67108864}, "memory", "memory.limit_in_bytes",
                      "memory.max", "67108864"),
    "cgroup_pids": ("pids", {"limit": 50}, "pids", "pids.max", "pids.max", "50"),
    "cgroup_cpu_quota": ("cpu", {"quota": 50000, "period": 100000}, "cpu", "cpu.cfs_quota_us",
                         "cpu.max", "50000"),
    "cgroup_cpu_shares": ("cpu", {"shares": 512}, "cpu", "cpu.shares", "cpu.weight", None),
    "cgroup_cpuset": ("cpu", {"cpus": "0"}, "cpuset", "cpuset.cpus", "cpuset.cpus", "0"),
}


def limit_case(name, row):
    field, value, controller, v1_file, v2_file, content = row

    def run(runtime):
        runtime.need_cgroups()
        bundle = runtime.bundle(script="sleep 100").set(f"linux.resources.{field}", value)
        bundle.set("linux.cgroupsPath", f"/oci-test/{bundle.id}").create()
        folder = bundle.cgroup_of(controller)
        want(folder.endswith(f"/oci-test/{bundle.id}"), f"the group is {folder}")
        file = os.path.join(folder, v1_file)
        v1 = os.path.exists(file)
        with open(file if v1 else os.path.join(folder, v2_file)) as f:
            have = f.read().split()[0]
        if runtime.is_sandbox() and field == "pids":
            # The host's number leaves room for the sandbox's own threads.
            want(int(content) <= int(have) <= 3 * int(content) + 100, f"{file}: {have}")
        else:
            want_equal(have, content or ("512" if v1 else "20"), file)
        bundle.delete("--force").expect(status=0)
        want(not os.path.exists(folder), f"{folder} is left")
    run.__name__ = name
    return run


CASES += [limit_case(*item) for item in LIMITS.items()]


@case
def cgroup_memory_binds(runtime):
    runtime.need_cgroups()
    bundle = runtime.bundle(script="head -c 200m /dev/zero | (tail; echo $? >&2) | wc -c")
    bundle.set("linux.resources.memory", {"limit": 48 << 20, "swap": 48 << 20})
    bundle.set("linux.cgroupsPath", f"/oci-test/{bundle.id}")
    outcome = bundle.run()
    # Of a sandbox all goes, of processes of the host's the one that is too large.
    want(outcome.status == 137 or "137" in outcome.err.split(),
         f"status {outcome.status}, {outcome.err!r}: 200 MiB fit into 48")
    want("209715200" not in outcome.out, "200 MiB fit into 48")


@case
def cgroup_pids_binds(runtime):
    runtime.need_cgroups()
    # A shell that cannot fork says so and ends.
    bundle = runtime.bundle(script="for i in $(seq 60); do sleep 100 & done; echo all")
    bundle.set("linux.resources.pids", {"limit": 40})
    bundle.set("linux.cgroupsPath", f"/oci-test/{bundle.id}").run().expect(
        status=2, err_has="can't fork")


def own_group(bundle, controller):
    """In this hierarchy or in v2: (folder, whether it is v1)."""
    folder = bundle.cgroup_of(controller)
    return folder, not os.path.exists(os.path.join(folder, "cgroup.controllers"))


@case
def cgroup_blkio_throttle(runtime):
    """Bytes a second of a disk; a number of 0 is no limit."""
    runtime.need_cgroups()
    disks = [n for n in sorted(os.listdir("/sys/block")) if n.startswith(("vd", "sd", "nvme"))]
    if not disks:
        raise Skip("no disk")
    with open(f"/sys/block/{disks[0]}/dev") as f:
        major, minor = map(int, f.read().split(":"))
    bundle = runtime.bundle(script="sleep 100")
    bundle.set("linux.resources.blockIO", {
        "throttleReadBpsDevice": [{"major": major, "minor": minor, "rate": 1048576}],
        "throttleWriteIOPSDevice": [{"major": major, "minor": minor, "rate": 77}]})
    bundle.set("linux.cgroupsPath", f"/oci-test/{bundle.id}").create()
    folder, v1 = own_group(bundle, "blkio")
    rows = ([("blkio.throttle.read_bps_device", f"{major}:{minor} 1048576"),
             ("blkio.throttle.write_iops_device", f"{major}:{minor} 77")] if v1 else
            [("io.max", "rbps=1048576"), ("io.max", "wiops=77")])
    for file, text in rows:
        with open(os.path.join(folder, file)) as f:
            want(text in f.read(), f"{file} without {text}")


@case
def cgroup_memory_reservation_and_swap(runtime):
    runtime.need_cgroups()
    bundle = runtime.bundle(script="sleep 100")
    bundle.set("linux.resources.memory", {"limit": 64 << 20, "reservation": 32 << 20,
                                          "swap": 80 << 20, "swappiness": 5})
    bundle.set("linux.cgroupsPath", f"/oci-test/{bundle.id}").create()
    folder, v1 = own_group(bundle, "memory")
    rows = ([("memory.soft_limit_in_bytes", 32 << 20), ("memory.memsw.limit_in_bytes", 80 << 20),
             ("memory.swappiness", 5)] if v1 else
            [("memory.low", 32 << 20), ("memory.swap.max", 16 << 20)])
    for file, number in rows:
        with open(os.path.join(folder, file)) as f:
            want_equal(f.read(), f"{number}\n", file)


@case
def cgroup_default_path(runtime):
    """Without a path it is a group of the container's own."""
    runtime.need_cgroups()
    bundle = runtime.bundle(script="sleep 100").set("linux.resources.pids", {"limit": 50}).create()
    folder = bundle.cgroup_of("pids")
    want(folder.endswith("/" + bundle.id), f"the group is {folder}")
    bundle.delete("--force").expect(status=0)
    want(not os.path.exists(folder), f"{folder} is left")


@case
def cgroup_holds_everything(runtime):
    """What the caller's statistics read is the group of the process in the pid-file."""
    runtime.need_cgroups()
    bundle = runtime.bundle(script="sleep 100 & echo ready; wait")
    bundle.set("linux.cgroupsPath", f"/oci-test/{bundle.id}")
    bundle.set("linux.resources.memory", {"limit": 64 << 20}).create().start()
    bundle.await_text("ready")
    with open(os.path.join(bundle.cgroup_of("memory"), "cgroup.procs")) as f:
        inside = {int(line) for line in f}
    pids = json.loads(bundle.call("ps", "--format", "json", bundle.id).expect(status=0).out)
    want(bundle.pid in inside, "the container's process is not in its group")
    want(eventually(lambda: all(p in inside or not os.path.exists(f"/proc/{p}") for p in pids), 5),
         f"{pids} are not in {inside}")


@case
def cgroup_oom_is_reported(runtime):
    """events tells of it, and the kernel's counter that shims read has counted."""
    runtime.need_cgroups()
    if runtime.name == "crun":
        raise Skip("crun has no events")
    # The shell that waits stays below the limit.
    bundle = runtime.bundle(script="echo ready; read x; (head -c 200m /dev/zero | tail >/dev/null); "
                                   "echo over; sleep 100")
    bundle.set("linux.resources.memory", {"limit": 48 << 20, "swap": 48 << 20})
    bundle.set("linux.cgroupsPath", f"/oci-test/{bundle.id}")
    reader, writer = os.pipe()
    try:
        bundle.create(stdin=reader).start()
        bundle.await_text("ready")
        folder, v1 = own_group(bundle, "memory")
        events = runtime.popen("events", bundle.id)
        # It watches from its first line on.
        seen = runtime.first_lines(events, lambda: os.write(writer, b"\n"), '"type":"oom"')
        want('"type":"oom"' in seen, f"events {seen!r}")
        with open(os.path.join(folder, "memory.oom_control" if v1 else "memory.events")) as f:
            count = dict(line.split() for line in f)["oom_kill"]
        want(int(count) > 0, f"oom_kill {count}")
    finally:
        os.close(reader)
        os.close(writer)


@case
def cgroup_with_processes(runtime):
    """A group in which somebody is already is refused: it would be killed with the container."""
    if not runtime.is_sandbox():
        raise Skip("others warn at most")
    one = runtime.bundle(script="sleep 100")
    one.set("linux.cgroupsPath", f"/oci-test/{one.id}")
    one.set("linux.resources.pids", {"limit": 50}).create()
    two = runtime.bundle(script="true").set("linux.cgroupsPath", f"/oci-test/{one.id}")
    two.set("linux.resources.pids", {"limit": 50})
    want(two.try_create() != 0 and "cgroupsPath" in two.text(), f"output {two.text()!r}")
    want_equal(one.status(), "created", "status")


# What the host cannot do is said by the name of the field.
IMPOSSIBLE = {
    "cgroup_refused_kernel_memory": ("memory", {"kernel": 1 << 20}, "memory.kernel"),
    "cgroup_refused_memory": ("memory", {"limit": "much"}, "memory.limit"),
    "cgroup_refused_cpus": ("cpu", {"cpus": "4096"}, "cpu.cpus"),
    "cgroup_refused_hugepages": ("hugepageLimits", [{"pageSize": "3MB", "limit": 0}], "hugepage"),
    "cgroup_refused_rdma": ("rdma", {"none0": {"hcaHandles": 3}}, "rdma"),
    "cgroup_refused_unified": ("unified", {"no.such": "1"}, "unified"),
}


def impossible_case(name, row):
    field, value, word = row

    def run(runtime):
        if not runtime.is_sandbox():
            raise Skip("others say it in other words, or not")
        bundle = runtime.bundle(script="true").set(f"linux.resources.{field}", value)
        bundle.set("linux.cgroupsPath", f"/oci-test/{bundle.id}")
        want(bundle.try_create() != 0, "create succeeds")
        want(word in bundle.text(), f"output {bundle.text()!r}")
    run.__name__ = name
    return run


CASES += [impossible_case(*item) for item in IMPOSSIBLE.items()]
