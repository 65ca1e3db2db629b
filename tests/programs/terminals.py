"""Terminals: job control on the caller's own, on pseudo-terminals inside, and what programs make of them."""
import os
import shutil
import time

import harness
from harness import Failure, Skip, eventually
from life import BASH, Terminal

CASES = []
PROMPT = r"[$#] "


def case(function):
    CASES.append(function)
    return function


def need(*programs):
    for program in programs:
        if shutil.which(program) is None:
            raise Skip(f"no {program}")


def running(terminal, name, seconds=60):
    """Waits until a job says so itself, perhaps in the middle of what the shell prints."""
    terminal.expect(name, seconds)


def press_until(terminal, key, pattern):
    """For a shell that is just about to put a running job into the foreground: nothing says when."""
    for _ in range(40):
        terminal.send(key)
        try:
            return terminal.expect(pattern, 0.3)
        except Failure:
            continue
    return terminal.expect(pattern, 0.3)


# One process, so that nobody judges how another died, and silent until it is continued. It waits for
# the signal: a handler that ran just before it slept would not keep it from sleeping.
JOB = """/usr/bin/python3 -uc 'import signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCONT}); signal.signal(signal.SIGINT, signal.SIG_DFL)
print("star" + "ted")
while signal.sigwait({signal.SIGCONT}): print("went" + " on")'"""


def work_with_jobs(terminal):
    """What people do to jobs; the shell is at its first prompt."""
    terminal.send("PS2=\n")
    terminal.send(JOB + "\n")
    running(terminal, "started")
    terminal.send("\x1a")
    terminal.expect(r"\[1\]\+  Stopped +/usr")
    terminal.send("jobs\n")
    terminal.expect(r"\[1\]\+  Stopped")
    terminal.send("bg\n")
    running(terminal, "went on")
    terminal.send("jobs\n")
    terminal.expect(r"\[1\]\+  Running")
    terminal.send("echo here-$((1+1))\n")
    terminal.expect(r"here-2\r\n[^\n]*" + PROMPT)
    terminal.send("fg\n")
    terminal.expect(r"went. \+ . on.\)'\r\n")  # ^Z throws away what nobody has read.
    press_until(terminal, "\x1a", r"\[1\]\+  Stopped +/usr")
    terminal.send("fg\n")
    running(terminal, "went on")
    terminal.send("\x03")
    terminal.send("echo status-$?\n")
    terminal.expect(r"status-130\r\n")
    terminal.send(JOB + " &\n")
    running(terminal, "started")
    terminal.send("kill %1; wait %1; echo ended-$?\n")
    terminal.expect(r"ended-143\r\n")
    terminal.send("cat &\n")
    # Reading in the background stops it. The shell tells at one of the next lines.
    press_until(terminal, "\n", r"\[1\]\+  Stopped +cat")
    terminal.send("fg\n")
    terminal.expect(r"fg\r\n.*cat\r\n")
    terminal.send("back\n")
    terminal.expect(r"back\r\nback\r\n")
    terminal.send("\x04")
    terminal.send("exit 6\n")


@case
def jobs_on_the_callers_terminal(box):
    terminal = Terminal(box.command(*BASH))
    terminal.expect(PROMPT)
    work_with_jobs(terminal)
    status = terminal.end()
    if status != 6:
        raise Failure(f"status {status}, expected 6, after {terminal.text[-300:]!r}")


@case
def jobs_on_a_terminal_inside(box):
    need("script")
    terminal = Terminal(box.command("script", "-qec", " ".join(BASH), "/dev/null"))
    terminal.expect(PROMPT)
    work_with_jobs(terminal)
    status = terminal.end()
    if status != 6:
        raise Failure(f"status {status}, expected 6, after {terminal.text[-300:]!r}")


@case
def window_size_goes_through_two_terminals(box):
    need("script")
    terminal = Terminal(box.command("script", "-qec", " ".join(BASH), "/dev/null"), 31, 90)
    terminal.expect(PROMPT)
    terminal.send("stty size\n")
    terminal.expect(r"31 90\r\n")
    terminal.send("trap 'echo winch' WINCH; echo set-$((1+1))\n")
    terminal.expect(r"set-2\r\n")
    terminal.resize(44, 111)
    press_until(terminal, "\n", r"winch\r\n")  # bash acts on it at its next line.
    terminal.send("stty size\n")
    terminal.expect(r"44 111\r\n")
    terminal.send("exit 0\n")
    terminal.end()


@case
def suspending_what_has_no_shell(box):
    # An orphaned process group cannot be stopped from the terminal (POSIX); the front-end is not
    # stopped either.
    terminal = Terminal(box.command("/bin/sh", "-c", "echo ready; exec cat"))
    terminal.expect("ready\r\n")
    terminal.send("\x1a")
    terminal.expect(r"\^Z")
    terminal.send("still\n")
    terminal.expect(r"still\r\nstill\r\n")
    terminal.send("\x04")
    status = terminal.end()
    if status != 0:
        raise Failure(f"status {status}, expected 0, after {terminal.text[-300:]!r}")


@case
def timed_reads_of_the_callers_terminal(box):
    terminal = Terminal(box.command(
        "/bin/bash", "-c", "stty -icanon -echo min 0 time 1; echo none-$(dd bs=9 count=1 2>/dev/null | wc -c); "
        "stty min 3 time 0; echo ready; echo got-$(dd bs=9 count=1 2>/dev/null)"))
    terminal.expect(r"none-0\r\n")
    terminal.expect(r"ready\r\n")
    terminal.send("ab")
    time.sleep(0.2)
    terminal.send("c")
    terminal.expect(r"got-abc\r\n")
    terminal.end()


@case
def the_callers_terminal_goes(box):
    terminal = Terminal(box.command(*BASH))
    terminal.expect(PROMPT)
    terminal.send("sleep 1000\n")
    terminal.expect("sleep 1000\r\n")
    os.close(terminal.fd)
    if not eventually(lambda: os.waitpid(terminal.pid, os.WNOHANG)[0]):
        os.kill(terminal.pid, 9)
        os.waitpid(terminal.pid, 0)
        raise Failure("goes on without its terminal")


@case
def its_name_is_console(box):
    terminal = Terminal(box.command("/bin/bash", "-c", "tty; tty < /dev/tty; ps -o tty= -p $$; echo end"))
    terminal.expect(r"/dev/console\r\n/dev/tty\r\n(console|\?) *\r\nend")
    terminal.end()


TMUX = r"""
set -e
export TERM=screen HOME=$PWD; unset TMUX
tmux -L t -f /dev/null new-session -d -x 80 -y 24 'bash --norc --noprofile'
tmux -L t send-keys 'echo A$((1+1))B' Enter
for i in $(seq 100); do tmux -L t capture-pane -p | grep -q '^A2B' && break; sleep 0.1; done
tmux -L t capture-pane -p | grep '^A2B'
tmux -L t kill-server
"""


@case
def tmux_session(box):
    need("tmux")
    box.bash("cd $(mktemp -d);" + TMUX).expect(status=0, out="A2B\n")


@case
def many_terminals_leave_nothing(box):
    script = ("import os\n"
              "for i in range(6000):\n"
              "    a, b = os.openpty()\n"
              "    if i % 3: os.write(a, b'x\\n')\n"
              "    os.close(a if i % 2 else b); os.close(b if i % 2 else a)\n"
              "print(sorted(os.listdir('/dev/pts')), len(os.listdir('/proc/self/fd')))\n")
    box.do("/usr/bin/python3", "-c", script).expect(status=0, out="['ptmx'] 4\n")
