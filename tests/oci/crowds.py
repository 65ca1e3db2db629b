"""Many containers, side by side and one after the other: nothing of them stays."""
import concurrent.futures
import os

from runtime import eventually, harness, want, want_equal

CASES = []


def case(function):
    CASES.append(function)
    return function


def full(function):
    """Only with --size full."""
    function.full = True
    return case(function)


def weigh(runtime):
    """What is there of the runtime's: processes, mounts, control groups, state, open files."""
    with open("/proc/self/mountinfo") as f:
        mounts = sum(runtime.folder in line for line in f)
    groups = [g for g, _, _ in os.walk("/sys/fs/cgroup") if f"/c{os.getpid()}-" in g]
    state = os.listdir(runtime.root) if os.path.isdir(runtime.root) else []
    return {"processes": len(harness.descendants(os.getpid())), "mounts": mounts,
            "control groups": len(groups), "state": [s for s in state if not s.startswith(".")],
            "files": len(os.listdir("/proc/self/fd"))}


def anonymous_memory():
    """MiB in use on the machine, which others use as well: told, not asserted."""
    with open("/proc/meminfo") as f:
        rows = dict(line.split(":") for line in f)
    return sum(int(rows[name].split()[0]) for name in ("AnonPages", "Shmem", "SUnreclaim")) // 1024


def want_as_before(runtime, before):
    want(eventually(lambda: (harness.reap(), weigh(runtime) == before)[1], 20),
         f"before {before}, after {weigh(runtime)}")


def live_side_by_side(runtime, count):
    """All of them run at the same time, and each ends in its own way."""
    before = weigh(runtime)
    bundles = [runtime.bundle(script=f"echo ready; read x; exit {n}") for n in range(count)]
    for bundle in bundles:
        bundle.set("linux.cgroupsPath", f"/oci-test/{bundle.id}")
    pipes = [os.pipe() for _ in bundles]
    # Each listens to its own line, and has that of nobody else.
    try:
        with concurrent.futures.ThreadPoolExecutor(10) as pool:
            list(pool.map(lambda b: b[0].create(stdin=b[1][0]).start(), zip(bundles, pipes)))
        for bundle in bundles:
            bundle.await_text("ready", 60)
        for _, writer in pipes:
            os.write(writer, b"\n")
        want_equal([bundle.wait(60) for bundle in bundles], list(range(count)), "statuses")
    finally:
        for reader, writer in pipes:
            os.close(reader)
            os.close(writer)
    for bundle in bundles:
        bundle.delete("--force").expect(status=0)
        bundle.remove()
        runtime.live.remove(bundle)
    want_as_before(runtime, before)


def live_in_a_row(runtime, count):
    def live(n):
        bundle = runtime.bundle(script=f"exit {n % 100}")
        bundle.set("linux.cgroupsPath", f"/oci-test/{bundle.id}")
        bundle.run().expect(status=n % 100)
        bundle.remove()
        runtime.live.remove(bundle)
    live(0)
    before, memory = weigh(runtime), anonymous_memory()
    for n in range(count):
        live(n)
    want_as_before(runtime, before)
    print(f"{count} in a row: {memory} MiB in use on the machine before, {anonymous_memory()} after")


@case
def twelve_side_by_side(runtime):
    runtime.need_cgroups()
    live_side_by_side(runtime, 12)


@case
def forty_in_a_row(runtime):
    runtime.need_cgroups()
    live_in_a_row(runtime, 40)


@full
def fifty_side_by_side(runtime):
    runtime.need_cgroups()
    live_side_by_side(runtime, 50)


@full
def five_hundred_in_a_row(runtime):
    runtime.need_cgroups()
    live_in_a_row(runtime, 500)
