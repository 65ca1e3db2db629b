"""Beginning and end: terminals, signals from outside, sudden death, ordinary users, the host."""
import fcntl
import hashlib
import os
import pty
import pwd
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time

from harness import (Failure, Folder, Skip, await_line, descendants, eventually, execute, finish,
                     process_table)

CASES = []


def case(function):
    CASES.append(function)
    return function


class Terminal:
    """A program on a pseudo-terminal, as a person has it."""

    def __init__(self, command, rows=24, columns=80):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, dict(os.environ, TERM="dumb", PS1="$ "))
        self.resize(rows, columns)
        self.text = ""

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, text):
        os.write(self.fd, text.encode())

    def expect(self, pattern, seconds=60):
        end = time.monotonic() + seconds
        while True:
            match = re.search(pattern, self.text)
            if match:
                self.text = self.text[match.end():]
                return match
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise Failure(f"the terminal shows {self.text[-300:]!r}, expected {pattern!r}")
            try:
                chunk = os.read(self.fd, 4096)
            except OSError:
                chunk = b""
            if not chunk:
                raise Failure(f"the terminal ended after {self.text[-300:]!r}, expected {pattern!r}")
            self.text += chunk.decode(errors="replace")

    def end(self, seconds=30):
        """The exit status; the terminal is closed."""
        status = []

        def gone():
            while select.select([self.fd], [], [], 0)[0]:
                try:
                    chunk = os.read(self.fd, 4096)
                except OSError:
                    break
                if not chunk:
                    break
                self.text += chunk.decode(errors="replace")
            pid, raw = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                status.append(os.waitstatus_to_exitcode(raw))
            return bool(pid)

        done = eventually(gone, seconds)
        os.close(self.fd)
        if not done:
            raise Failure(f"does not end within {seconds} s")
        return status[0]


BASH = ("/bin/bash", "--norc", "--noprofile", "--noediting")


@case
def interactive_bash(box):
    terminal = Terminal(box.command(*BASH), rows=33, columns=101)
    terminal.send("echo A$((1+1))B; tty\n")
    terminal.expect(r"A2B\r\n/dev/(pts/\d+|tty|console)\r\n")
    terminal.send("stty size\n")
    terminal.expect(r"33 101\r\n")
    terminal.resize(40, 120)
    terminal.send("stty size\n")
    terminal.expect(r"40 120\r\n")
    terminal.send("sleep 100; echo status-$?\n")
    terminal.expect(r"sleep 100; echo")
    time.sleep(0.3)  # Until the shell waits for its child; nothing visible says so.
    began = time.monotonic()
    terminal.send("\x03")
    terminal.send("echo still-$((40+2))\n")
    terminal.expect(r"still-42\r\n")
    if time.monotonic() - began > 60:
        raise Failure("^C does not end the sleep")
    terminal.send("cat\nline\n")
    terminal.expect(r"line\r\n.*line\r\n")
    terminal.send("\x04")
    terminal.send("exit 5\n")
    status = terminal.end()
    if status != 5:
        raise Failure(f"status {status}, expected 5")


@case
def control_d_ends_the_shell(box):
    terminal = Terminal(box.command(*BASH))
    terminal.send("echo ready-$((1+1)); (exit 3)\n")
    terminal.expect(r"ready-2\r\n")
    terminal.send("\x04")
    status = terminal.end()
    if status != 3:
        raise Failure(f"status {status}, expected 3")


# Loops without $(seq …) below: bash 5.2 now and then calls it a syntax error, natively too, when a
# trap runs while it expands one.
@case
def window_change_signal(box):
    terminal = Terminal(box.command("/bin/bash", "-c",
                                    "trap 'echo winch; exit 4' WINCH; echo ready-$((1+1)); "
                                    "for ((i = 0; i < 300; i++)); do sleep 0.02; done"))
    terminal.expect("ready-2")
    terminal.resize(50, 132)
    terminal.expect("winch")
    status = terminal.end()
    if status != 4:
        raise Failure(f"status {status}, expected 4")


@case
def signals_pass_through(box):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        process = box.start("/bin/bash", "-c",
                            f"trap 'echo got; exit 5' {int(number)}; echo ready; "
                            "for ((i = 0; i < 500; i++)); do sleep 0.01; done")
        await_line(process)
        process.send_signal(number)
        finish(process).expect(status=5, out="got\n")


@case
def terminate_without_a_trap(box):
    process = box.start("/bin/bash", "-c", "echo ready; exec sleep 100")
    await_line(process)
    process.send_signal(signal.SIGTERM)
    finish(process).expect(status=143)


def roles(front):
    """{role: [pids]} below and with the front-end."""
    found = {"sandbox": [front]}
    for pid, name in descendants(front).items():
        found.setdefault(name, []).append(pid)
    return found


def killing(box, role, index=0):
    process = box.start("/bin/bash", "-c", "sleep 1000 & echo ready; (sleep 1000; true) & wait")
    try:
        await_line(process)
        found = roles(process.pid)
        if role not in found:
            raise Failure(f"no process is called {role}; there are {sorted(found)}")
        everything = [pid for pids in found.values() for pid in pids]
        os.kill(found[role][index], signal.SIGKILL)

        def ended():
            process.poll()
            table = process_table()
            return not [p for p in everything if p in table and table[p][2] not in "ZX"]

        if not eventually(ended):
            table = process_table()
            left = {p: table[p][1] for p in everything if p in table and table[p][2] not in "ZX"}
            raise Failure(f"after the death of {role} there are still {left}")
        if role != "sandbox" and process.wait(timeout=30) == 0:
            raise Failure(f"status 0 after the death of {role}")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


@case
def death_of_the_sentry(box):
    killing(box, "sandbox-sentry")


@case
def death_of_the_gofer(box):
    killing(box, "sandbox-gofer")


@case
def death_of_the_front_end(box):
    killing(box, "sandbox")


@case
def death_of_a_stub_is_one_process_death(box):
    # The application process dies as by SIGKILL; the rest goes on or ends, but nothing hangs.
    if box.platform == "ptrace":
        raise Skip("a tracer inside a call that waits does not see its stub die: to be mended")
    process = box.start("/bin/bash", "-c", "echo ready; exec sleep 1000")
    try:
        await_line(process)
        stubs = roles(process.pid).get("sandbox-stub", [])
        if not stubs:
            raise Skip("stubs have another name")
        for pid in stubs:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            if process.wait(timeout=30) == 0:
                raise Failure("status 0 after the death of its process")
        except subprocess.TimeoutExpired:
            raise Failure("hangs after the death of its process") from None
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


@case
def leftover_processes_inside_end_with_the_first(box):
    box.bash("setsid sleep 1000 & nohup sleep 1000 >/dev/null 2>&1 & echo started; exit 3").expect(
        status=3, out="started\n")


@case
def the_host_does_not_change(box):
    watched = ["/etc/passwd", "/usr/bin/env", "/etc/hostname"]

    def state():
        found = {}
        for path in watched:
            with open(path, "rb") as f:
                st = os.stat(path)
                found[path] = (hashlib.md5(f.read()).hexdigest(), st.st_mode, st.st_mtime_ns, st.st_ctime_ns)
        found["names"] = sorted(os.listdir("/etc")), sorted(os.listdir("/root")), sorted(os.listdir("/"))
        return found

    before = state()
    box.bash("echo x >> /etc/passwd; tail -1 /etc/passwd; rm /usr/bin/env; chmod 0 /etc/hostname; "
             "mkdir /newdir /root/programs-new; mv /etc/default /etc/moved; ls -d /newdir /etc/moved; "
             "touch /programs-new; rm -rf /root/.bashrc; ln -s x /etc/programs-link; ls /usr/bin/env").expect(
                 out="x\n/etc/moved\n/newdir\n", status=2)
    after = state()
    if before != after:
        raise Failure("the host changed: " + ", ".join(k for k in before if before[k] != after[k]))


@case
def two_sandboxes_do_not_meet(box):
    mark = f"/var/mark-{os.getpid()}"  # A name that the host does not have.
    first = box.start("/bin/bash", "-c", f"echo one > {mark}; echo ready; read -t 10 x; cat {mark}",
                      stdin=subprocess.PIPE)
    await_line(first)
    box.bash(f"cat {mark} 2>/dev/null || echo none").expect(status=0, out="none\n")
    box.bash(f"echo two > {mark}; cat {mark}").expect(out="two\n", status=0)
    finish(first, b"go\n").expect(out="one\n", status=0)


@case
def many_at_once(box):
    started = [box.start("/bin/sh", "-c", f"echo {i}; exit {i}") for i in range(8)]
    for i, process in enumerate(started):
        finish(process).expect(status=i, out=f"{i}\n", err="")


def as_nobody(box, *arguments, **options):
    if os.geteuid() != 0:
        raise Skip("not root")
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise Skip("no setpriv")
    nobody = pwd.getpwnam("nobody")
    with Folder() as name:
        # The checkout may lie where others cannot go.
        binary = shutil.copy(box.binary, name)
        command = [binary, *box.command(*arguments)[1:]]
        return execute([setpriv, f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}",
                        "--clear-groups", "--reset-env", *command], cwd="/", **options)


@case
def rootless(box):
    as_nobody(box, "/bin/bash", "-c",
              "echo hello; ls /usr | wc -l | grep -q . && echo listed; echo x > /tmp/f && cat /tmp/f; exit 7").expect(
                  status=7, out="hello\nlisted\nx\n", err="")


@case
def rootless_pipeline(box):
    as_nobody(box, "/bin/bash", "-c", "seq 100 | sort -rn | head -1; cat /proc/self/comm").expect(
        status=0, out="100\ncat\n")


@case
def rootless_cannot_read_what_the_user_cannot(box):
    with Folder() as name:
        path = os.path.join(name, "secret")
        with open(path, "w") as f:
            f.write("secret")
        os.chmod(path, 0o600)
        outcome = as_nobody(box, "cat", path)
        if "secret" in outcome.out or outcome.status == 0:
            raise Failure(f"shows a file of root's: {outcome.out!r}")


@case
def rootless_bad_input(box):
    as_nobody(box, "/nonexistent").expect(status=127, out="")
