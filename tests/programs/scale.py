"""Many processes and threads, and that nothing of them is left: looked at from outside."""
import os
import subprocess

from harness import Failure, Skip, await_line, descendants, eventually, finish, process_table

PYTHON = "/usr/bin/python3"

CASES = []
SECONDS = 150


def case(function):
    CASES.append(function)
    return function


def account(front):
    """What the sandbox has: processes by name; descriptors and memory (KiB) of the sentry."""
    names = sorted(name for pid, name in descendants(front).items()
                   if process_table().get(pid, ("", "", "Z"))[2] not in "ZX")
    sentry = [pid for pid, name in descendants(front).items() if name == "sandbox-sentry"]
    if len(sentry) != 1:
        raise Failure(f"there are {len(sentry)} sentries")
    with open(f"/proc/{sentry[0]}/status") as f:
        status = dict(line.split(":", 1) for line in f.read().splitlines())
    return {"processes": names, "descriptors": len(os.listdir(f"/proc/{sentry[0]}/fd")),
            "threads": int(status["Threads"]), "memory": int(status["VmRSS"].split()[0])}


def rounds(box, what, count, warm_up):
    """The same again after a warm-up may cost no process, descriptor, or memory worth the name."""
    helper = os.path.join(os.path.dirname(os.path.abspath(box.binary)), "helpers", "crowd")
    if not os.path.exists(helper):
        raise Skip(f"no {helper}")
    process = box.start(helper, stdin=subprocess.PIPE)
    try:
        await_line(process)

        def run(times):
            process.stdin.write(f"{what} {times}\n".encode())
            await_line(process, seconds=SECONDS)

        run(warm_up)
        # What has been killed is gone a moment later.
        eventually(lambda: len(account(process.pid)["processes"]) <= 5, 2)
        before = account(process.pid)
        run(count)
        left = before

        def settled():
            nonlocal left
            left = account(process.pid)
            return (left["processes"] == before["processes"] and
                    left["descriptors"] <= before["descriptors"] and
                    left["threads"] <= before["threads"] + 16)  # Idle workers.

        if not eventually(settled):
            raise Failure(f"before {before}, after {left}")
        # What malloc keeps of the worst moment.
        if left["memory"] > before["memory"] + 4096 + count:
            raise Failure(f"before {before}, after {left}")
        process.stdin.close()
        process.stdin = None
        finish(process).expect(status=0)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


@case
def five_thousand_processes_in_a_row(box):
    rounds(box, "fork", 5000, 50)


@case
def five_hundred_programs_in_a_row(box):
    rounds(box, "exec", 500, 10)


@case
def a_thousand_threads_at_once(box):
    rounds(box, "threads", 1000, 50)


@case
def two_hundred_processes_at_once(box):
    rounds(box, "alive", 200, 10)


@case
def killed_children_that_share_memory(box):
    rounds(box, "shared", 500 if box.platform == "systrap" else 100, 10)


@case
def children_killed_at_work(box):
    rounds(box, "kill", 300, 10)


HOLD = r"""
import resource, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen(9)
held = []
def connect():
    if sys.argv[1] == "unix": return socket.socketpair()
    client = socket.create_connection(listener.getsockname())
    return client, listener.accept()[0]
def hold(count):
    for i in range(count):
        a, b = connect()
        a.sendall(b"x" * 1000); b.sendall(b.recv(1000)); assert len(a.recv(1000)) == 1000
        held.append((a, b))
hold(500)
print("warm", flush=True); sys.stdin.readline()
hold(int(sys.argv[2]))
print("held", flush=True); sys.stdin.readline()
"""


def held_connections(box, kind, count):
    """What a connection over which bytes went, and which is idle now, takes of the sentry."""
    process = box.start(PYTHON, "-c", HOLD, kind, str(count), stdin=subprocess.PIPE)
    try:
        await_line(process, "warm", SECONDS)
        before = account(process.pid)["memory"]
        process.stdin.write(b"\n")
        await_line(process, "held", SECONDS)
        each = (account(process.pid)["memory"] - before) / count
        if each > 4:
            raise Failure(f"{each:.2f} KiB for each connection")
        finish(process, b"\n").expect(status=0)
    finally:
        process.kill()
        process.wait()


@case
def an_idle_connection_over_tcp_takes_little(box):
    held_connections(box, "tcp", 4000 if box.platform == "systrap" else 1000)


@case
def an_idle_connection_of_unix_sockets_takes_little(box):
    held_connections(box, "unix", 4000 if box.platform == "systrap" else 1000)
