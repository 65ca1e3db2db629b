"""What callers of runc rely on: states, pid-files, exit statuses, descriptors, kill, delete."""
import os
import re
import signal
import subprocess

from runtime import Failure, Skip, harness, want, want_equal

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
