"""Sudden death, full disks and broken bundles: a clear error, and `delete --force` cleans up."""
import os
import signal
import subprocess

from lifetimes import FOREVER
from runtime import (Failure, Skip, eventually, harness, want, want_equal)

CASES = []


def case(function):
    CASES.append(function)
    return function


def below(pid):
    return [p for p in list(harness.descendants(pid)) + [pid] if p != os.getpid()]


def kill_nine(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def delete_and_bury(bundle):
    """delete --force, while our other children are buried as a shim does it."""
    with open(bundle.host_path("deleted"), "w") as out:
        process = subprocess.Popen(bundle.runtime.command("delete", "--force", bundle.id),
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    def ended():
        # Looks first: the status of the command is Popen's to take.
        while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)) is not None:
            if dead.si_pid == process.pid:
                return True
            os.waitpid(dead.si_pid, 0)
        return False
    if not eventually(ended, 60):
        process.kill()
        process.wait()
        raise Failure("delete --force does not end")
    with open(bundle.host_path("deleted")) as f:
        want_equal(process.wait(), 0, f"status of delete --force ({f.read()!r})")


def want_clean_end(bundle, what):
    """The container is told to have stopped, and delete --force leaves nothing."""
    processes = {p: n for p, n in harness.descendants(os.getpid()).items()}
    delete_and_bury(bundle)
    want(eventually(lambda: (harness.reap(), not harness.descendants(os.getpid()))[1]),
         f"{what}: {harness.descendants(os.getpid())} of {processes} are left")
    want(bundle.call("state", bundle.id).status != 0, f"{what}: the container is still there")


def each_process_dies(runtime, started):
    """One life for each process that a container has: that one is killed."""
    total, number = 1, 0
    while number < total:
        bundle = runtime.bundle(script=FOREVER)
        bundle.set("linux.cgroupsPath", f"/oci-test/{bundle.id}").create()
        if started:
            bundle.start()
            bundle.await_text("ready")
        processes = sorted(below(bundle.pid))
        total = min(len(processes), 6)
        victim = processes[number]
        name = harness.process_table().get(victim, ("", "?"))[1]
        kill_nine(victim)
        if victim == bundle.pid or (runtime.is_sandbox() and number < 3):
            want(eventually(lambda: bundle.status() == "stopped", 10),
                 f"{bundle.status()} after the death of {name} ({number})")
        want_clean_end(bundle, f"death of {name} ({number})")
        number += 1


@case
def death_of_each_process_when_created(runtime):
    each_process_dies(runtime, False)


@case
def death_of_each_process_when_running(runtime):
    each_process_dies(runtime, True)


def command_dies(runtime, prepare, *command):
    """The command is killed after ever longer moments until it ends by itself."""
    moment = 0.0005
    while True:
        bundle = runtime.bundle(script=FOREVER)
        bundle.set("linux.cgroupsPath", f"/oci-test/{bundle.id}").write()
        prepare(bundle)
        args = [a.format(id=bundle.id, bundle=bundle.path, pid=bundle.pid_file) for a in command]
        with open(bundle.host_path("out"), "w") as out:
            process = subprocess.Popen(runtime.command(*args), stdin=subprocess.DEVNULL, stdout=out,
                                       stderr=out, start_new_session=True)
        try:
            process.wait(moment)
            ended = True
        except subprocess.TimeoutExpired:
            ended = False
            process.kill()
            process.wait()
        want_clean_end(bundle, f"{command[0]} killed after {moment * 1000:.1f} ms")
        bundle.remove()
        runtime.live.remove(bundle)
        if ended:
            return
        moment *= 1.5


@case
def death_of_create(runtime):
    if not runtime.is_sandbox():
        raise Skip("others leave processes and folders behind")
    command_dies(runtime, lambda b: None, "create", "--bundle", "{bundle}", "--pid-file", "{pid}",
                 "{id}")


@case
def death_of_start(runtime):
    if not runtime.is_sandbox():
        raise Skip("others leave processes and folders behind")
    command_dies(runtime, lambda b: b.create(), "start", "{id}")


@case
def death_of_delete(runtime):
    if not runtime.is_sandbox():
        raise Skip("others leave processes and folders behind")
    command_dies(runtime, lambda b: b.create().start(), "delete", "--force", "{id}")


@case
def death_of_exec(runtime):
    """The program of an exec dies with its front-end, or is ended by delete."""
    if runtime.name == "crun":
        raise Skip("crun does not find it without control groups")
    bundle = runtime.bundle(script=FOREVER).create().start()
    bundle.await_text("ready")
    process = harness.popen(runtime.command("exec", bundle.id, "sh", "-c", "echo ready; sleep 100"),
                            stdin=subprocess.DEVNULL)
    harness.await_line(process)
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()
    want_equal(bundle.status(), "running", "status")
    want_clean_end(bundle, "death of exec")


@case
def death_of_run(runtime):
    bundle = runtime.bundle(script="echo ready; sleep 100").write()
    process = harness.popen(runtime.command("run", "--bundle", bundle.path, bundle.id),
                            stdin=subprocess.DEVNULL)
    harness.await_line(process)
    process.kill()
    process.wait()
    want_clean_end(bundle, "death of run")
    process.stdout.close()
    process.stderr.close()


class SmallDisk:
    """A tmpfs with room for so many bytes and names."""

    def __init__(self, folder, size, inodes):
        self.path = os.path.join(folder, "small")
        os.makedirs(self.path, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},nr_inodes={inodes}", "tmpfs",
                        self.path], check=True)

    def __enter__(self):
        return self.path

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.path], check=True)
        os.rmdir(self.path)


@case
def full_disk(runtime):
    """With room for nothing, for a name, for a little: create works or fails with a word."""
    for inodes in (1, 2, 3, 4, 5, 6, 8, 12):
        bundle = runtime.bundle(script="true").write()
        with SmallDisk(runtime.folder, "4k", inodes) as disk:
            outcome = harness.execute(
                runtime.command("run", "--bundle", bundle.path, bundle.id, root=disk + "/state"))
            if outcome.status != 0:
                want(outcome.err.strip(), f"{inodes} names: not a word")
            if outcome.status != 0 and runtime.is_sandbox():
                want("no space" in outcome.err.lower(), f"{inodes} names: stderr {outcome.err!r}")
            runtime.call("delete", "--force", bundle.id, root=disk + "/state")
            left = harness.descendants(os.getpid())
            want(eventually(lambda: (harness.reap(), not harness.descendants(os.getpid()))[1]),
                 f"{inodes} names: {left} are left")


@case
def broken_json(runtime):
    bundle = runtime.bundle(script="true").write()
    with open(os.path.join(bundle.path, "config.json"), "w") as f:
        f.write('{"ociVersion": "1.0.2",\n "process": ')
    outcome = runtime.call("create", "--bundle", bundle.path, bundle.id)
    want(outcome.status != 0 and outcome.err.strip(), f"status {outcome.status}")
    want("panic" not in outcome.err, f"stderr {outcome.err!r}")


@case
def missing_config(runtime):
    bundle = runtime.bundle(script="true")
    outcome = runtime.call("create", "--bundle", bundle.path, bundle.id)
    want(outcome.status != 0 and "config.json" in outcome.err, f"stderr {outcome.err!r}")


@case
def missing_bundle(runtime):
    outcome = runtime.call("create", "--bundle", "/nonexistent", "nobody")
    want(outcome.status != 0, "create succeeds")


@case
def state_that_is_damaged(runtime):
    """A state file cut short is an error, and delete --force removes it."""
    if not runtime.is_sandbox():
        raise Skip("others keep other files")
    for text in ("", "{", "[]", '{"id": 7}', "\0" * 100):
        bundle = runtime.bundle(script="true").create().start()
        want_equal(bundle.wait(), 0, "status")
        folder = os.path.join(runtime.root, bundle.id)
        for name in os.listdir(folder):
            if name.endswith(".json"):
                with open(os.path.join(folder, name), "w") as f:
                    f.write(text)
        bundle.call("state", bundle.id)
        runtime.call("list").expect(status=0)
        want_clean_end(bundle, f"state {text!r}")
        if os.path.exists(folder):
            raise Failure(f"{folder} is left")
