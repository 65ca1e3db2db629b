"""What a container sees of its limits in /sys/fs/cgroup. The sandbox shows cgroup v2 whatever the host has; other
runtimes show the host's, so that their cases are skipped on hosts with v1."""
import json
import os

from runtime import Skip, eventually, want, want_equal

CASES = []
OPTIONS = ("nosuid", "noexec", "nodev", "relatime", "ro")


def case(function):
    CASES.append(function)
    return function


def grouped(runtime, kind="cgroup", options=OPTIONS, **bundle):
    runtime.need_cgroups()
    if not runtime.is_sandbox() and not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        raise Skip("the host has v1")
    made = runtime.bundle(**bundle).mount("/sys/fs/cgroup", kind, "cgroup", *options)
    made.config["linux"]["namespaces"].append({"type": "cgroup"})
    return made.set("linux.cgroupsPath", f"/oci-test/{made.id}")


# name: (field of linux.resources, value, file, text)
TABLE = {
    "shown_memory": ("memory", {"limit": 67108864}, "memory.max", "67108864\n"),
    "shown_memory_in_pages": ("memory", {"limit": 67110000}, "memory.max", "67108864\n"),
    "shown_memory_reservation": ("memory", {"limit": 67108864, "reservation": 33554432},
                                 "memory.low", "33554432\n"),
    "shown_cpu": ("cpu", {"quota": 150000, "period": 100000}, "cpu.max", "150000 100000\n"),
    "shown_cpu_quota": ("cpu", {"quota": 20000}, "cpu.max", "20000 100000\n"),
    "shown_shares": ("cpu", {"shares": 512}, "cpu.weight", "20\n"),
    "shown_cpuset": ("cpu", {"cpus": "0"}, "cpuset.cpus.effective", "0\n"),
    "shown_pids": ("pids", {"limit": 50}, "pids.max", "50\n"),
    "shown_nothing": ("memory", {}, "memory.max", "max\n"),
}


def table_case(name, row):
    field, value, file, text = row

    def run(runtime):
        bundle = grouped(runtime, script=f"cat /sys/fs/cgroup/{file}")
        bundle.set(f"linux.resources.{field}", value)
        bundle.run().expect(status=0, out=text)
    run.__name__ = name
    return run


CASES += [table_case(*item) for item in TABLE.items()]


@case
def cgroup_mount_is_read_only(runtime):
    """As docker asks for it: type cgroup, option ro."""
    bundle = grouped(runtime, script="grep cgroup /proc/self/mountinfo; cat /proc/self/cgroup; "
                                     "mkdir /sys/fs/cgroup/x || echo $? >/sys/fs/cgroup/x")
    outcome = bundle.run()
    want(" - cgroup2 cgroup " in outcome.out, outcome.out)
    want("0::/\n" in outcome.out, outcome.out)
    want_equal(outcome.err.count("Read-only file system"), 2, outcome.err)


@case
def cgroup_mount_is_writable(runtime):
    """Groups below, with a limit of tasks that holds."""
    script = ("cd /sys/fs/cgroup; mkdir init box; echo 0 >init/cgroup.procs; "
              "echo +pids >cgroup.subtree_control; echo 3 >box/pids.max; "
              "echo 0 >box/cgroup.procs; cat /proc/self/cgroup; cat box/pids.max; "
              "(sleep 100 & sleep 100 & sleep 100 & echo all) 2>/dev/null || echo refused; "
              "grep -c . box/pids.events; echo 0 >init/cgroup.procs; echo 1 >box/cgroup.kill; "
              "until rmdir box; do true; done 2>/dev/null; ls -d box; true")
    bundle = grouped(runtime, options=("nosuid",), script=script)
    outcome = bundle.run().expect(status=0)
    want_equal(outcome.out, "0::/box\n3\nrefused\n1\n", "output")


@case
def cgroup_own_limits_cannot_be_raised(runtime):
    if not runtime.is_sandbox():
        raise Skip("where cgroup2 was mounted without nsdelegate it can")
    bundle = grouped(runtime, options=("nosuid",),
                     script="for f in memory.max pids.max cpu.max; do echo max; done | "
                            "while read v; do echo $v >/sys/fs/cgroup/memory.max; done; "
                            "echo max >/sys/fs/cgroup/pids.max; cat /sys/fs/cgroup/pids.max")
    bundle.set("linux.resources.pids", {"limit": 44})
    outcome = bundle.run()
    want_equal(outcome.out, "44\n", "pids.max")
    want("not permitted" in outcome.err, outcome.err)


@case
def cgroup_shows_use(runtime):
    bundle = grouped(runtime, script="cd /sys/fs/cgroup; cat pids.current memory.current; "
                                     "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; "
                                     "head -1 cpu.stat; wc -l <cgroup.procs; true")
    tasks, memory, usage, processes = bundle.run().expect(status=0).out.splitlines()
    want_equal((tasks, processes.strip()), ("2", "2"), "tasks, processes")
    want(0 < int(memory) < 64 << 20, f"memory.current {memory}")
    want(int(usage.split()[1]) > 0, usage)


@case
def update_shows(runtime):
    bundle = grouped(runtime, script="while sleep 0.1; do cd /sys/fs/cgroup; "
                                     "echo $(cat memory.max cpu.max pids.max) .; done")
    bundle.set("linux.resources", {"memory": {"limit": 67108864}, "pids": {"limit": 50}}).create()
    bundle.start()
    bundle.await_text(r"67108864 max 100000 50 \.")
    text = json.dumps({"memory": {"limit": 134217728}, "cpu": {"quota": 70000, "period": 100000},
                       "pids": {"limit": 77}}).encode()
    bundle.call("update", "--resources", "-", bundle.id, data=text).expect(status=0)
    bundle.await_text(r"134217728 70000 100000 77 \.")
    bundle.call("update", "--pids-limit", "66", bundle.id).expect(status=0)
    bundle.await_text(r"134217728 70000 100000 66 \.")


@case
def update_before_start_shows(runtime):
    bundle = grouped(runtime, script="cat /sys/fs/cgroup/memory.max; exec sleep 100").create()
    bundle.call("update", "--memory", "96m", bundle.id).expect(status=0)
    bundle.start()
    want(eventually(lambda: bundle.text() == "100663296\n", 10), bundle.text())


@case
def cgroup_limits_for_java(runtime):
    """A runtime that sizes itself by them: -XshowSettings prints what it has found."""
    if not os.path.exists("/usr/bin/java"):
        raise Skip("no java here")
    bundle = grouped(runtime, script="exec /usr/bin/java -XshowSettings:system -version")
    for folder in ("/usr", "/lib", "/lib64", "/etc"):
        bundle.mount(folder, "bind", folder, "bind", "ro")
    bundle.set("linux.resources", {"memory": {"limit": 256 << 20}, "pids": {"limit": 100},
                                   "cpu": {"quota": 100000, "period": 100000}})
    said = bundle.run(limit=50).expect(status=0).err
    for line in ("Provider: cgroupv2", "Effective CPU Count: 1", "CPU Quota: 100000us",
                 "Memory Limit: 256.00M", "Maximum Processes Limit: 100"):
        want(line in said, f"{line!r} is not in {said!r}")
