"""Commands that look at a container or change it: ps, list, pause, events, update; and those
that need none: spec, features, version."""
import json
import os
import re

from lifetimes import FOREVER, UNKNOWN
from runtime import Skip, eventually, harness, want, want_equal

CASES = []


def case(function):
    CASES.append(function)
    return function


@case
def ps_lists_host_pids(runtime):
    bundle = runtime.bundle(script="sleep 100 & " + FOREVER).create().start()
    bundle.await_text("ready")
    pids = json.loads(bundle.call("ps", "--format", "json", bundle.id).expect(status=0).out)
    alive = [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
    # Of a runtime with processes of its own one may end at any moment.
    want(len(alive) >= 2 and len(alive) >= len(pids) - 1, f"pids {pids}, of which {alive} are there")


@case
def ps_lists_no_other_pids(runtime):
    """One for each process of the program: nothing that the runtime needs for itself."""
    if runtime.name == "crun":
        raise Skip("Debian's crun lists nothing where control groups are disabled")
    bundle = runtime.bundle(script="sleep 100 & sleep 100 & echo ready; wait")
    bundle.set("linux.cgroupsPath", f"/oci-test/{bundle.id}").create().start()
    bundle.await_text("ready")

    def pids():
        return json.loads(bundle.call("ps", "--format", "json", bundle.id).expect(status=0).out)
    want(eventually(lambda: len(pids()) == 3, 10), f"pids {pids()} of three processes")
    want(bundle.pid in pids(), f"pids {pids()} without {bundle.pid}")


@case
def list_formats(runtime):
    one = runtime.bundle(script=FOREVER).create()
    two = runtime.bundle(script=FOREVER).create().start()
    rows = json.loads(runtime.call("list", "--format", "json").expect(status=0).out)
    want_equal({r["id"]: r["status"] for r in rows}, {one.id: "created", two.id: "running"}, "list")
    names = runtime.call("list", "-q").expect(status=0).out.split()
    want_equal(sorted(names), sorted([one.id, two.id]), "list -q")
    want(one.id in runtime.call("list").out, "the table does not show it")


@case
def list_of_nothing(runtime):
    out = runtime.call("list", "--format", "json").expect(status=0).out.strip()
    want(json.loads(out) in (None, []), f"list {out!r}")


@case
def pause_and_resume(runtime):
    runtime.need_cgroups()
    bundle = runtime.bundle(script="trap 'echo got' USR1; echo ready; while :; do sleep 0.02; done")
    bundle.set("linux.cgroupsPath", f"/oci-test/{bundle.id}").create().start()
    bundle.await_text("ready")
    bundle.call("pause", bundle.id).expect(status=0)
    want_equal(bundle.status(), "paused", "status")
    bundle.kill("USR1")
    want_equal(bundle.text(), "ready\n", "output of a paused container")
    bundle.call("resume", bundle.id).expect(status=0)
    want_equal(bundle.status(), "running", "status")
    bundle.await_text("got")


@case
def delete_of_a_paused_one(runtime):
    runtime.need_cgroups()
    bundle = runtime.bundle(script=FOREVER)
    bundle.set("linux.cgroupsPath", f"/oci-test/{bundle.id}").create().start()
    bundle.await_text("ready")
    bundle.call("pause", bundle.id).expect(status=0)
    bundle.delete("--force").expect(status=0)
    want_equal(bundle.wait(), 137, "status")


@case
def events_stats(runtime):
    runtime.need_cgroups()
    if runtime.name == "crun":
        raise Skip("crun has no events")
    bundle = runtime.bundle(script=FOREVER)
    bundle.set("linux.cgroupsPath", f"/oci-test/{bundle.id}")
    bundle.set("linux.resources.cpu", {"shares": 99}).create().start()
    bundle.await_text("ready")
    event = json.loads(bundle.call("events", "--stats", bundle.id).expect(status=0).out)
    want_equal((event["type"], event["id"]), ("stats", bundle.id), "event")
    want(event["data"]["memory"]["usage"]["usage"] > 0, "no memory is used")
    want(event["data"]["cpu"]["usage"]["total"] > 0, "no processor time is used")
    want(event["data"]["pids"]["current"] > 0, "no processes")


def want_limit(runtime, text, limit):
    """The host's number leaves room for the sandbox's own threads."""
    want(int(text) == limit or (runtime.is_sandbox() and limit < int(text) <= 3 * limit + 100),
         f"pids.max {text!r} for {limit}")


@case
def update_limits(runtime):
    runtime.need_cgroups()
    bundle = runtime.bundle(script=FOREVER)
    bundle.set("linux.cgroupsPath", f"/oci-test/{bundle.id}").create()
    resources = {"memory": {"limit": 134217728}, "pids": {"limit": 77}}
    text = json.dumps(resources).encode()
    bundle.call("update", "--resources", "-", bundle.id, data=text).expect(status=0)
    with open(os.path.join(bundle.cgroup_of("pids"), "pids.max")) as f:
        want_limit(runtime, f.read(), 77)
    bundle.call("update", "--pids-limit", "66", bundle.id).expect(status=0)
    with open(os.path.join(bundle.cgroup_of("pids"), "pids.max")) as f:
        want_limit(runtime, f.read(), 66)


@case
def update_of_pids_binds(runtime):
    """The new limit holds for what runs, up and down."""
    runtime.need_cgroups()
    forks = ("(for i in $(seq 60); do sleep 100 & done; echo all) 2>/dev/null || echo refused; "
             "kill $(jobs -p) 2>/dev/null; true")
    bundle = runtime.bundle(script=f"while read x; do {forks}; wait; done")
    bundle.set("linux.resources.pids", {"limit": 20})
    bundle.set("linux.cgroupsPath", f"/oci-test/{bundle.id}")
    reader, writer = os.pipe()
    bundle.create(stdin=reader)
    os.close(reader)
    try:
        # Before it runs, too.
        bundle.call("update", "--pids-limit", "300", bundle.id).expect(status=0)
        bundle.start()
        os.write(writer, b"\n")
        bundle.await_text("all\n")
        bundle.call("update", "--pids-limit", "80", bundle.id).expect(status=0)
        os.write(writer, b"\n")
        bundle.await_text("refused\n")
    finally:
        os.close(writer)


@case
def devices_denied(runtime):
    """A group that may open no device, as Docker asks for it in front of its list."""
    runtime.need_cgroups()
    bundle = runtime.bundle(script="echo ran; echo x >/dev/null && echo written")
    bundle.set("linux.resources.devices", [{"allow": False, "access": "rwm"}])
    bundle.set("linux.cgroupsPath", f"/oci-test/{bundle.id}").create().start()
    want_equal(bundle.wait(), 0, "status")
    want("ran\n" in bundle.text(), f"output {bundle.text()!r}")


@case
def exec_while_the_sandbox_stands_still(runtime):
    """Commands to a stopped sentry fail or wait, none of them blocks the container for good."""
    if not runtime.is_sandbox():
        raise Skip("others have no sentry")
    bundle = runtime.bundle(script=FOREVER).create().start()
    bundle.await_text("ready")
    bundle.call("pause", bundle.id).expect(status=0)
    refused = 0
    for _ in range(700):
        if bundle.kill("WINCH").status != 0:
            refused += 1
            break
    want(refused, "the sandbox takes signals without end while it stands still")
    want_equal(bundle.status(), "paused", "status")
    bundle.kill("KILL").expect(status=0)
    want_equal(bundle.wait(), 137, "status")


@case
def wait_tells_the_status(runtime):
    """As one line of JSON."""
    if not runtime.is_sandbox():
        raise Skip("runsc's command")
    bundle = runtime.bundle(script="echo ready; read x; exit 7")
    reader, writer = os.pipe()
    bundle.create(stdin=reader).start()
    os.close(reader)
    bundle.await_text("ready")
    waiting = runtime.popen("wait", bundle.id)

    def asks():
        with open(f"/proc/{waiting.pid}/syscall") as f:
            return f.read().split()[0] in ("45", "47")  # recvfrom, recvmsg
    want(eventually(asks, 20), "wait does not wait")
    os.close(writer)
    outcome = harness.finish(waiting).expect(status=0)
    want_equal(json.loads(outcome.out), {"id": bundle.id, "exitStatus": 7}, "output")
    want(runtime.call("wait", "nobody").status != 0, "wait for nobody succeeds")


@case
def install_and_uninstall(runtime):
    """The entry of Docker's file comes and goes; what others have there stays."""
    if not runtime.is_sandbox():
        raise Skip("runsc's command")
    file = os.path.join(runtime.folder, "daemon.json")
    with open(file, "w") as f:
        json.dump({"debug": True, "runtimes": {"other": {"path": "/x"}}}, f)
    flags = ["--runtime", "boxes", "--config_file", file]
    runtime.call("install", *flags, "--", "--platform=ptrace").expect(status=0)
    with open(file) as f:
        entry = json.load(f)
    want_equal(entry["runtimes"]["boxes"]["path"], os.path.realpath(runtime.binary), "path")
    want_equal((entry["debug"], entry["runtimes"]["other"]), (True, {"path": "/x"}), "the rest")
    runtime.call("uninstall", *flags).expect(status=0)
    with open(file) as f:
        want_equal(json.load(f), {"debug": True, "runtimes": {"other": {"path": "/x"}}}, "file")
    os.unlink(file)


@case
def annotations_choose_safe_flags(runtime):
    """dev.sandbox.flag.NAME: the platform, but nothing that opens the host."""
    if not runtime.is_sandbox():
        raise Skip("the sandbox's own annotations")
    for name, value, good in (("platform", "ptrace", True), ("overlay2", "root:memory", True),
                              ("network", "host", False), ("root", "/x", False),
                              ("platform", "moon", False)):
        bundle = runtime.bundle(script="echo ran")
        bundle.set("annotations", {f"dev.sandbox.flag.{name}": value})
        outcome = bundle.run()
        want_equal(outcome.status == 0, good, f"{name}={value}: success")
        want(good or f"dev.sandbox.flag.{name}" in outcome.err, f"stderr {outcome.err!r}")


@case
def flags_of_the_whole(runtime):
    """Those that callers give in front of every command, and those that do not exist."""
    if not runtime.is_sandbox():
        raise Skip("others have others")
    bundle = runtime.bundle(script="echo ran").write()
    for flags in (["--debug"], ["--rootless=false"], ["--network=none"], ["--host-uds=none"],
                  ["--file-access=shared"], ["--overlay2=none"], ["--strace"]):
        outcome = harness.execute([runtime.binary, *runtime.flags, *flags, "--log",
                                   bundle.log, "--root", runtime.root, "run", "--bundle",
                                   bundle.path, bundle.id])
        outcome.expect(status=0, out="ran\n")
    for flags in (["--platform=moon"], ["--network=moon"], ["--moon"], ["--overlay2=moon"]):
        outcome = harness.execute([runtime.binary, *flags, "--root", runtime.root, "list"])
        want(outcome.status != 0 and "moon" in outcome.err, f"{flags}: stderr {outcome.err!r}")


@case
def version_text(runtime):
    outcome = runtime.call("--version").expect(status=0)
    want(re.match(r"\S+ version \S+\n(commit: .*\n)?(rundir.*\n)?spec: \d+\.\d+\.\d+", outcome.out),
         f"{outcome.out!r}")


@case
def spec_writes_a_config_that_runs(runtime):
    bundle = runtime.bundle(script="true").write()
    os.unlink(os.path.join(bundle.path, "config.json"))
    runtime.call("spec", "--bundle", bundle.path).expect(status=0)
    want(runtime.call("spec", "--bundle", bundle.path).status != 0, "spec overwrites a config.json")
    with open(os.path.join(bundle.path, "config.json")) as f:
        bundle.config = json.load(f)
    bundle.config["process"].update(terminal=False, args=["sh", "-c", "id -u; echo $TERM"])
    bundle.run().expect(status=0, out="0\nxterm\n")


@case
def features_text(runtime):
    if runtime.name == "crun":
        raise Skip("Debian's crun is older than features")
    features = json.loads(runtime.call("features").expect(status=0).out)
    want("poststop" in features["hooks"] and features["linux"]["seccomp"]["enabled"], "features")


@case
def log_as_json(runtime):
    log = os.path.join(runtime.folder, "log.json")
    execute = harness.execute([runtime.binary, *runtime.flags, "--root", runtime.root, "--log", log,
                               "--log-format", "json", "start", "nobody"])
    want(execute.status != 0, "start of nobody succeeds")
    with open(log) as f:
        lines = [json.loads(line) for line in f if line.strip()]
    want(lines and lines[-1]["level"] == "error" and UNKNOWN.search(lines[-1]["msg"]) and
         lines[-1]["time"], f"log {lines}")
    os.unlink(log)
