"""What callers of runc rely on: states, pid-files, exit statuses, terminals, exec, kill, delete."""
import json
import os
import re
import signal
import subprocess

from runtime import (ConsoleSocket, Failure, Skip, eventually, harness, wait_for, want, want_equal)

CASES = []


def case(function):
    CASES.append(function)
    return function


FOREVER = "trap 'exit 0' TERM; echo ready; while :; do sleep 100 & wait; done"
# What a shim looks for in the text of a failed kill, to know that there is nobody to kill.
GONE = re.compile("process already finished|container not running|no such process|does not exist")
# The first is runc's; crun says the second.
UNKNOWN = re.compile("does not exist|No such file or directory")


@case
def states_of_a_life(runtime):
    bundle = runtime.bundle(script="echo ran; exit 7").create()
    state = bundle.state()
    want_equal(state["status"], "created", "status")
    want_equal(state["id"], bundle.id, "id")
    want_equal(state["pid"], bundle.pid, "pid")
    want_equal(state["bundle"], bundle.path, "bundle")
    want(state["ociVersion"].startswith("1."), f"ociVersion {state['ociVersion']}")
    want_equal(bundle.text(), "", "output before start")
    bundle.start()
    want_equal(bundle.wait(), 7, "status of the process in the pid-file")
    want_equal(bundle.status(), "stopped", "status")
    want_equal(bundle.text(), "ran\n", "output")
    bundle.delete().expect(status=0)
    want(bundle.call("state", bundle.id).status != 0, "state of a deleted container succeeds")


@case
def created_for_a_while_costs_nothing(runtime):
    """What is created does not run: its process has no processor time."""
    bundle = runtime.bundle(script="while :; do :; done").create()
    with open(f"/proc/{bundle.pid}/stat") as f:
        text = f.read().rsplit(")", 1)[1].split()
    want(int(text[11]) < 50, f"{text[11]} ticks in user mode before start")


@case
def a_process_that_a_signal_ends(runtime):
    bundle = runtime.bundle(script=FOREVER).create().start()
    bundle.await_text("ready")
    bundle.kill("KILL").expect(status=0)
    want_equal(bundle.wait(), 137, "status")
    want_equal(bundle.status(), "stopped", "status")


@case
def signals_by_name_and_number(runtime):
    for text in ("TERM", "SIGTERM", "15"):
        bundle = runtime.bundle(script=FOREVER).create().start()
        bundle.await_text("ready")
        bundle.kill(text).expect(status=0)
        want_equal(bundle.wait(), 0, f"status after {text}")


@case
def kill_has_a_default(runtime):
    bundle = runtime.bundle(script=FOREVER).create().start()
    bundle.await_text("ready")
    bundle.call("kill", bundle.id).expect(status=0)
    want_equal(bundle.wait(), 0, "status")


@case
def kill_reaches_the_handler_of_init(runtime):
    bundle = runtime.bundle(script="trap 'echo got' USR1; echo ready; while :; do sleep 0.1; done")
    bundle.create().start()
    bundle.await_text("ready")
    bundle.kill("USR1").expect(status=0)
    bundle.await_text("got")


@case
def kill_all(runtime):
    bundle = runtime.bundle(script="sh -c \"trap 'echo child' USR1; echo ready; "
                                   "while :; do sleep 0.1; done\" & trap : USR1; "
                                   "while :; do wait; done").create().start()
    bundle.await_text("ready")
    bundle.kill("USR1", "--all").expect(status=0)
    bundle.await_text("child")


@case
def kill_of_a_created_one(runtime):
    bundle = runtime.bundle(script=FOREVER).create()
    bundle.kill("KILL").expect(status=0)
    want_equal(bundle.wait(), 137, "status")
    want_equal(bundle.status(), "stopped", "status")


@case
def kill_of_the_dead_says_so(runtime):
    bundle = runtime.bundle(script="true").create().start()
    want_equal(bundle.wait(), 0, "status")
    outcome = bundle.kill("KILL")
    want(outcome.status != 0, "kill of a stopped container succeeds")
    want(GONE.search(outcome.err), f"stderr {outcome.err!r}")


@case
def kill_of_the_unknown_says_so(runtime):
    outcome = runtime.call("kill", "nobody", "TERM")
    want(outcome.status != 0 and UNKNOWN.search(outcome.err), f"stderr {outcome.err!r}")


@case
def kill_with_a_bad_signal(runtime):
    bundle = runtime.bundle(script=FOREVER).create()
    want(bundle.kill("SIGFUN").status != 0 or runtime.name == "crun", "SIGFUN is accepted")
    want_equal(bundle.status(), "created", "status")


@case
def start_twice(runtime):
    bundle = runtime.bundle(script=FOREVER).create().start()
    want(bundle.call("start", bundle.id).status != 0, "the second start succeeds")
    want_equal(bundle.status(), "running", "status")


@case
def create_twice(runtime):
    bundle = runtime.bundle(script=FOREVER).create().start()
    bundle.await_text("ready")
    pid = bundle.pid
    want(bundle.try_create() != 0, "the second create succeeds")
    want_equal(bundle.state()["pid"], pid, "pid")
    want_equal(bundle.status(), "running", "status")


@case
def bad_ids(runtime):
    bundle = runtime.bundle(script="true").write()
    for name in ("", "../x", "a/b", *([] if runtime.name == "crun" else ["x y"])):
        outcome = runtime.call("create", "--bundle", bundle.path, name)
        if outcome.status == 0:
            runtime.call("delete", "--force", name)
            raise Failure(f"{name!r} is accepted")


@case
def delete_of_a_running_one(runtime):
    bundle = runtime.bundle(script=FOREVER).create().start()
    bundle.await_text("ready")
    want(bundle.delete().status != 0, "delete succeeds")
    want_equal(bundle.status(), "running", "status")
    bundle.delete("--force").expect(status=0)
    want_equal(bundle.wait(), 137, "status of the process")
    want(bundle.call("state", bundle.id).status != 0, "the container is still there")


@case
def delete_of_a_created_one(runtime):
    """runc kills what never started."""
    bundle = runtime.bundle(script=FOREVER).create()
    bundle.delete("--force").expect(status=0)
    want_equal(bundle.wait(), 137, "status of the process")


@case
def delete_of_the_unknown(runtime):
    outcome = runtime.call("delete", "nobody")
    want(outcome.status != 0 and UNKNOWN.search(outcome.err), f"stderr {outcome.err!r}")
    runtime.call("delete", "--force", "nobody").expect(status=0)


@case
def run_in_the_foreground(runtime):
    runtime.bundle(script="echo out; echo err >&2; exit 3").run().expect(
        status=3, out="out\n", err_has="err\n")


@case
def run_leaves_no_container(runtime):
    bundle = runtime.bundle(script="true")
    bundle.run().expect(status=0)
    want(bundle.call("state", bundle.id).status != 0, "the container is still there")


@case
def run_tells_the_signal(runtime):
    # A process kills itself in vain where it is the first of its namespace.
    runtime.bundle(script="kill -9 $$; echo alive").run().expect(status=0, out="alive\n")
    runtime.bundle(script="sh -c 'kill -9 $$'; exit $?").run().expect(status=137)
    bundle = runtime.bundle(script="echo ready; while :; do sleep 0.1; done").write()
    process = harness.popen(runtime.command("run", "--bundle", bundle.path, bundle.id),
                            stdin=subprocess.DEVNULL)
    harness.await_line(process)
    bundle.kill("KILL").expect(status=0)
    harness.finish(process).expect(status=137)


@case
def run_detached(runtime):
    bundle = runtime.bundle(script=FOREVER).write()
    with open(os.path.join(bundle.path, "out"), "w") as out:
        process = subprocess.Popen(
            runtime.command("run", "--detach", "--bundle", bundle.path, "--pid-file",
                            bundle.pid_file, bundle.id), stdin=subprocess.DEVNULL, stdout=out,
            stderr=out, start_new_session=True)
    want_equal(process.wait(60), 0, "status of run")
    want_equal(bundle.status(), "running", "status")
    bundle.kill("KILL").expect(status=0)
    want_equal(bundle.wait(), 137, "status")


@case
def run_passes_signals_on(runtime):
    bundle = runtime.bundle(script="trap 'echo got; exit 5' TERM; echo ready; "
                                   "while :; do sleep 0.1; done").write()
    process = harness.popen(runtime.command("run", "--bundle", bundle.path, bundle.id),
                            stdin=subprocess.DEVNULL)
    harness.await_line(process)
    process.send_signal(signal.SIGTERM)
    harness.finish(process).expect(status=5, out="got\n")


@case
def output_is_complete(runtime):
    """Descriptors go straight to the program: a reader sees the end when the program ends."""
    outcome = runtime.bundle(script="head -c 3000000 /dev/zero | sed 's/\\x00/x/g'").run()
    want_equal((outcome.status, len(outcome.out)), (0, 3000000), "status and size")
    outcome = runtime.bundle(script="seq 100000").run().expect(status=0)
    want_equal(len(outcome.out.split()), 100000, "lines")


@case
def input_over_a_pipe(runtime):
    bundle = runtime.bundle(script="cat; echo over")
    reader, writer = os.pipe()
    bundle.create(stdin=reader).start()
    os.close(reader)
    os.write(writer, b"line\n")
    bundle.await_text("line\n")
    os.close(writer)
    bundle.await_text("over\n")
    want_equal(bundle.wait(), 0, "status")


@case
def preserved_descriptors(runtime):
    bundle = runtime.bundle(script="cat <&3")
    reader, writer = os.pipe()
    os.write(writer, b"through 3\n")
    os.close(writer)
    saved = os.dup(3) if reader != 3 else None
    os.dup2(reader, 3)
    os.set_inheritable(3, True)
    try:
        bundle.create("--preserve-fds", "1", pass_fds=(3,)).start()
    finally:
        os.close(3)
        if saved is not None:
            os.dup2(saved, 3)
            os.close(saved)
            os.close(reader)
    bundle.await_text("through 3")


@case
def preserved_descriptors_must_be_open(runtime):
    if runtime.name == "crun":
        raise Skip("crun does not look")
    bundle = runtime.bundle(script="true")
    want(bundle.try_create("--preserve-fds", "20") != 0, "create succeeds")
    want("preserved-fd" in bundle.text(), f"output {bundle.text()!r}")
    want(bundle.call("state", bundle.id).status != 0, "the container exists")


@case
def no_other_descriptors(runtime):
    runtime.bundle("/bin/ls", "/proc/self/fd").run().expect(out="0\n1\n2\n3\n")


def start_on_terminal(runtime, script, rows=None):
    bundle = runtime.bundle(script=script).set("process.terminal", True)
    if rows:
        bundle.set("process.consoleSize", {"height": rows[0], "width": rows[1]})
    listener = ConsoleSocket(bundle.path)
    bundle.create("--console-socket", listener.path)
    console = listener.receive()
    bundle.start()
    return bundle, console


@case
def terminal_over_the_console_socket(runtime):
    bundle, console = start_on_terminal(
        runtime, "tty; test -t 0 && test -t 1 && test -t 2 && echo all; read x; echo got-$x",
        (31, 77))
    console.expect(r"/dev/(pts/\d+|console)\r\n")
    console.expect("all")
    console.send("word\n")
    console.expect("got-word")
    want_equal(bundle.wait(), 0, "status")
    console.close()


@case
def terminal_size(runtime):
    bundle, console = start_on_terminal(runtime, "read x; stty size; read x", (31, 77))
    console.send("\n")
    console.expect("31 77")
    console.close()


@case
def terminal_interrupt(runtime):
    bundle, console = start_on_terminal(
        runtime, "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.1; done")
    console.expect("ready")
    console.send("\x03")
    console.expect("caught")
    want_equal(bundle.wait(), 9, "status")
    console.close()


@case
def terminal_hangup(runtime):
    """Closing the master ends a shell that reads."""
    bundle, console = start_on_terminal(runtime, "echo ready; cat; exit 4")
    console.expect("ready")
    console.close()
    status = bundle.wait()
    want(status in (4, 129), f"status {status}")


@case
def terminal_without_a_socket(runtime):
    bundle = runtime.bundle(script="true").set("process.terminal", True)
    want(bundle.try_create() != 0, "a terminal without a console socket is accepted")


@case
def exec_runs_in_the_container(runtime):
    bundle = runtime.bundle(script=FOREVER).create().start()
    bundle.await_text("ready")
    bundle.exec("sh", "-c", "hostname; cat /proc/1/comm; exit 6").expect(status=6, out="box\nsh\n")
    bundle.exec("cat", data=b"input").expect(status=0, out="input")


@case
def exec_options(runtime):
    if runtime.name == "crun":
        raise Skip("Debian's crun drops PATH when --env is given")
    bundle = runtime.bundle(script=FOREVER).create().start()
    bundle.await_text("ready")
    bundle.exec("sh", "-c", "pwd; id -u; id -g; echo $A",
                flags=["--cwd", "/data", "--user", "5:6", "--env", "A=b"]).expect(
        status=0, out="/data\n5\n6\nb\n")


@case
def exec_process_file(runtime):
    bundle = runtime.bundle(script=FOREVER).create().start()
    bundle.await_text("ready")
    process = {"user": {"uid": 3, "gid": 4, "additionalGids": [9]}, "cwd": "/data",
               "args": ["sh", "-c", "pwd; id -G; echo $B; exit 8"], "env": ["PATH=/bin", "B=c"]}
    file = bundle.host_path("process.json", json.dumps(process))
    bundle.exec(flags=["--process", file]).expect(status=8, out="/data\n4 9\nc\n")


def exec_detached(bundle, *args, flags=()):
    """As the shim does it: the pid of a child of ours that ends as the program does."""
    pid_file = bundle.host_path("exec.pid")
    with open(bundle.host_path("exec.out"), "w") as out:
        process = subprocess.Popen(
            bundle.runtime.command("exec", "--detach", "--pid-file", pid_file, *flags, bundle.id,
                                   *args), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True)
    status = process.wait(60)
    with open(bundle.host_path("exec.out")) as f:
        want_equal(status, 0, f"exec --detach ({f.read()!r})")
    with open(pid_file) as f:
        return int(f.read())


@case
def exec_detached_status(runtime):
    bundle = runtime.bundle(script=FOREVER).create().start()
    bundle.await_text("ready")
    pid = exec_detached(bundle, "sh", "-c", "echo out; exit 12")
    want_equal(wait_for(pid), 12, "status of the process in the pid-file")
    with open(bundle.host_path("exec.out")) as f:
        want_equal(f.read(), "out\n", "output")


@case
def exec_detached_signals(runtime):
    """The shim kills an exec by the pid of its pid-file."""
    bundle = runtime.bundle(script=FOREVER).create().start()
    bundle.await_text("ready")
    pid = exec_detached(bundle, "sleep", "100")
    os.kill(pid, signal.SIGKILL)
    want_equal(wait_for(pid), 137, "status")
    count = bundle.exec("sh", "-c", "ps -o args | grep -c '^sleep 10[0]$'; true")
    want(eventually(lambda: bundle.exec(
        "sh", "-c", "ps -o args | grep '^sleep 100$' | wc -l").out == "1\n", 10),
        f"the program outlives its pid: {count.out!r}")


@case
def exec_on_a_terminal(runtime):
    bundle = runtime.bundle(script=FOREVER).create().start()
    bundle.await_text("ready")
    listener = ConsoleSocket(bundle.path)
    pid = exec_detached(bundle, "sh", "-c", "tty; read x; echo got-$x; exit 3",
                        flags=["--tty", "--console-socket", listener.path])
    console = listener.receive()
    console.expect(r"/dev/(pts/\d+|console)\r\n")
    console.send("abc\n")
    console.expect("got-abc")
    want_equal(wait_for(pid), 3, "status")
    console.close()


@case
def exec_of_a_missing_program(runtime):
    bundle = runtime.bundle(script=FOREVER).create().start()
    bundle.await_text("ready")
    outcome = bundle.exec("/no/such/program")
    want(outcome.status != 0, "status 0")
    want("no such file or directory" in outcome.err.lower(), f"stderr {outcome.err!r}")
    want_equal(bundle.status(), "running", "status")


@case
def exec_into_the_dead(runtime):
    bundle = runtime.bundle(script="true").create().start()
    want_equal(bundle.wait(), 0, "status")
    want(bundle.exec("true").status != 0, "exec into a stopped container succeeds")
    want(runtime.call("exec", "nobody", "true").status != 0, "exec into nobody succeeds")


@case
def exec_ends_with_the_container(runtime):
    bundle = runtime.bundle(script=FOREVER).create().start()
    bundle.await_text("ready")
    pid = exec_detached(bundle, "sleep", "100")
    bundle.kill("KILL").expect(status=0)
    want_equal(wait_for(pid), 137, "status of the exec")
    want_equal(bundle.wait(), 137, "status")


@case
def many_execs(runtime):
    bundle = runtime.bundle(script=FOREVER).create().start()
    bundle.await_text("ready")
    crowd = [harness.popen(runtime.command("exec", bundle.id, "sh", "-c", f"exit {n}"),
                           stdin=subprocess.DEVNULL) for n in range(10)]
    want_equal([harness.finish(one).status for one in crowd], list(range(10)), "statuses")


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


@case
def sequential_lives(runtime):
    """Nothing grows from one container to the next."""
    for _ in range(20):
        bundle = runtime.bundle(script="exit 2").create().start()
        want_equal(bundle.wait(), 2, "status")
        bundle.delete().expect(status=0)


@case
def parallel_lives(runtime):
    bundles = [runtime.bundle(script=f"exit {n}").write() for n in range(10)]
    crowd = [harness.popen(runtime.command("run", "--bundle", b.path, b.id),
                           stdin=subprocess.DEVNULL) for b in bundles]
    want_equal([harness.finish(one, limit=60).status for one in crowd], list(range(10)), "statuses")
