"""Terminals over the console socket, and exec as shims and people use it."""
import json
import os
import signal
import subprocess

from lifetimes import FOREVER
from runtime import ConsoleSocket, Skip, eventually, harness, wait_for, want, want_equal

CASES = []


def case(function):
    CASES.append(function)
    return function


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
def pidfd_socket(runtime):
    """A pidfd of the process in the pid-file, for create and for exec."""
    if not runtime.is_sandbox():
        raise Skip("Debian's versions are older than the flag")

    def pid_of(fd):
        with open(f"/proc/self/fdinfo/{fd}") as f:
            return int(next(line for line in f if line.startswith("Pid:")).split()[1])
    bundle = runtime.bundle(script=FOREVER)
    listener = ConsoleSocket(bundle.path)
    bundle.create("--pidfd-socket", listener.path).start()
    bundle.await_text("ready")
    init = listener.receive()
    want_equal(pid_of(init.fd), bundle.pid, "pid")
    listener = ConsoleSocket(bundle.path)
    pid = exec_detached(bundle, "sleep", "100", flags=["--pidfd-socket", listener.path])
    proxy = listener.receive()
    want_equal(pid_of(proxy.fd), pid, "pid of an exec")
    signal.pidfd_send_signal(proxy.fd, signal.SIGKILL)
    want_equal(wait_for(pid), 137, "status of the exec")
    signal.pidfd_send_signal(init.fd, signal.SIGTERM)
    want_equal(bundle.wait(), 0, "status")
    init.close()
    proxy.close()


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
