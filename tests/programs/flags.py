"""The command line: flags, statuses, bad input. A case is a function that takes the Sandbox."""
import json
import os
import shutil

from harness import Failure, Folder, Skip, eventually, finish, popen

CASES = []


def case(function):
    CASES.append(function)
    return function


def one_line(outcome, status, *words):
    """Bad input: one clear line on stderr, nothing on stdout, the right status."""
    outcome.expect(status=status, out="")
    lines = outcome.err.splitlines()
    if len(lines) != 1:
        raise Failure(f"stderr has {len(lines)} lines instead of one: {outcome.err!r}")
    for word in words:
        if word.lower() not in lines[0].lower():
            raise Failure(f"stderr {lines[0]!r} does not name {word!r}")


@case
def stdin_passes_through(box):
    data = "0123456789abcdef" * 65536
    box.do("cat", data=data).expect(status=0, out=data, err="")


@case
def stdin_is_left_for_the_next(box):
    # What the program does not read stays in the file for whoever comes after.
    with Folder() as name:
        with open(f"{name}/in", "w") as f:
            f.write("one\ntwo\n")
        with open(f"{name}/in") as f:
            command = box.command("head", "-c", "4")
            process = popen(["/bin/sh", "-c", '"$@"; cat', "sh", *command], stdin=f)
            finish(process).expect(status=0, out="one\ntwo\n")


@case
def stdout_and_stderr_stay_apart(box):
    box.bash("echo out; echo err >&2").expect(status=0, out="out\n", err="err\n")


@case
def closed_stdin(box):
    box.bash("cat; echo end").expect(status=0, out="end\n")


@case
def arguments_arrive_as_they_are(box):
    box.do("printf", "%s|", "a b", "", "*", "-x", "--", "é", "'\"").expect(
        status=0, out="a b||*|-x|--|é|'\"|")


@case
def double_dash_ends_the_flags(box):
    box.do("--", "echo", "--platform=none").expect(status=0, out="--platform=none\n")


@case
def environment_flag(box):
    box.bash("echo $FIRST-$SECOND", "--env", "FIRST=1 2", "--env=SECOND=x=y").expect(
        status=0, out="1 2-x=y\n")


@case
def cwd_flag(box):
    box.bash("pwd; echo $PWD", "--cwd", "/usr/share").expect(status=0, out="/usr/share\n/usr/share\n")


@case
def user_flag(box):
    box.bash("id -u; id -g; touch /etc/x 2>/dev/null; echo $?", "--user", "65534:65533").expect(
        status=0, out="65534\n65533\n1\n")
    box.bash("id -u", "--user=1234").expect(status=0, out="1234\n")


@case
def groups_and_nice_value_of_the_caller(box):
    if os.geteuid() != 0:
        return
    def caller():
        os.setgroups([0, 7, 4242])
        os.nice(3)
    script = "id -G; nice; setpriv --clear-groups nice -n 2 bash -c 'id -G; nice'"
    own = os.nice(0)
    box.bash(script, preexec_fn=caller).expect(
        status=0, out=f"0 7 4242\n{own + 3}\n0\n{own + 5}\n")
    # Another user's groups are nobody's business.
    box.bash("id -G", "--user", "65534:65533", preexec_fn=caller).expect(status=0, out="65533\n")


@case
def root_by_default(box):
    if os.geteuid() == 0:
        box.bash("id -u; id -g").expect(status=0, out="0\n0\n")


@case
def volume_read_write(box):
    with Folder() as name:
        with open(f"{name}/in", "w") as f:
            f.write("from the host\n")
        box.bash("cat /mnt/v/in; echo from inside > /mnt/v/out; mkdir /mnt/v/d; chmod 700 /mnt/v/d",
                 "--volume", f"{name}:/mnt/v").expect(status=0, out="from the host\n")
        with open(f"{name}/out") as f:
            if f.read() != "from inside\n":
                raise Failure("the host does not see what was written to the volume")
        if os.stat(f"{name}/d").st_mode & 0o777 != 0o700:
            raise Failure("the mode of a folder in the volume did not arrive")


@case
def volume_sees_host_changes(box):
    with Folder() as name:
        process = box.start("--volume", f"{name}:/mnt/v", "/bin/bash", "-c",
                            "for i in $(seq 500); do [ -e /mnt/v/new ] && cat /mnt/v/new && exit; "
                            "[ $i = 1 ] && echo ready > /mnt/v/ready; sleep 0.01; done; exit 1")
        eventually(lambda: os.path.exists(f"{name}/ready"))
        with open(f"{name}/new.tmp", "w") as f:
            f.write("late\n")
        os.rename(f"{name}/new.tmp", f"{name}/new")
        finish(process).expect(status=0, out="late\n")


@case
def volume_read_only(box):
    with Folder() as name:
        with open(f"{name}/in", "w") as f:
            f.write("data\n")
        box.bash("cat /mnt/v/in; echo x > /mnt/v/out; rm /mnt/v/in; echo $?",
                 "--volume", f"{name}:/mnt/v:ro").expect(
                     status=0, out="data\n1\n", err_has="Read-only file system")
        if os.listdir(name) != ["in"]:
            raise Failure(f"the read-only volume changed: {os.listdir(name)}")


@case
def volume_cannot_be_left(box):
    with Folder() as name:
        with open(f"{name}/secret", "w") as f:
            f.write("secret\n")
        os.mkdir(f"{name}/shared")
        os.symlink("../secret", f"{name}/shared/relative")
        os.symlink(f"{name}/secret", f"{name}/shared/absolute")
        with Folder() as root:
            # A root without the secret: only an escape from the volume could show it.
            if not os.path.exists("/bin/busybox"):
                raise Skip("no busybox")
            shutil.copy("/bin/busybox", f"{root}/busybox")
            out = box.do("--root", root, "--volume", f"{name}/shared:/v", "/busybox", "sh", "-c",
                         "/busybox cat /v/relative /v/absolute /v/../../secret /v/../secret")
            if "secret\n" in out.out:
                raise Failure(f"a link led out of the volume: {out.out!r}")


@case
def root_flag(box):
    if not os.path.exists("/bin/busybox"):
        raise Skip("no busybox")
    with Folder() as name:
        os.mkdir(f"{name}/bin")
        shutil.copy("/bin/busybox", f"{name}/bin/busybox")
        box.do("--root", name, "/bin/busybox", "sh", "-c",
               "/bin/busybox ls /bin; echo x > /new; /bin/busybox cat /new; /bin/busybox ls /etc/passwd"
               ).expect(out="busybox\nx\n", status=1)
        if os.listdir(name) != ["bin"]:
            raise Failure(f"the root folder changed: {os.listdir(name)}")


@case
def fresh_places(box):
    box.bash("ls -A /tmp | wc -l; touch /tmp/x && stat -c %a /tmp; [ $$ -lt 100 ] && echo small; "
             "ls -d /proc/1 /dev/null /dev/zero /dev/urandom /dev/tty /dev/fd /dev/shm /sys"
             ).expect(status=0, out="0\n1777\nsmall\n/dev/fd\n/dev/null\n/dev/shm\n/dev/tty\n"
                                    "/dev/urandom\n/dev/zero\n/proc/1\n/sys\n")


@case
def only_own_processes_are_visible(box):
    # The shell, ls, and perhaps grep already.
    out = box.bash("ls /proc | grep -c '^[0-9]'").expect(status=0).out
    if out not in ("2\n", "3\n"):
        raise Failure(f"{out.strip()} processes instead of 3")


@case
def strace_flag(box):
    out = box.do("--strace", "cat", "/etc/hostname")
    out.expect(status=0, err_has="openat(")
    for word in ("execve(", '"/etc/hostname"', "exit_group(0"):
        if word not in out.err:
            raise Failure(f"the trace lacks {word!r}")


@case
def strace_shows_errors(box):
    box.do("--strace", "cat", "/nonexistent").expect(status=1, err_has="ENOENT")


@case
def log_flag(box):
    with Folder() as name:
        # An unsupported call (add_key) is worth a line.
        box.do("--debug", "--log", f"{name}/log", "--log-format=json", "perl", "-e",
               "syscall 248, 0, 0, 0, 0, 0").expect(status=0, out="", err="")
        with open(f"{name}/log") as f:
            lines = f.read().splitlines()
        if not lines:
            raise Failure("the debug log is empty")
        for line in lines:
            json.loads(line)


@case
def overlay_none_writes_through(box):
    # With `none` writes reach the root folder; the default keeps them in memory.
    if not os.path.exists("/bin/busybox"):
        raise Skip("no busybox")
    with Folder() as name:
        shutil.copy("/bin/busybox", f"{name}/busybox")
        box.do("--overlay2=none", "--root", name, "/busybox", "sh", "-c", "echo x > /new").expect(
            status=0)
        if not os.path.exists(f"{name}/new"):
            raise Failure("--overlay2=none did not write through")


@case
def version_and_help(box):
    box.raw("--version").expect(status=0, out_has="0.")
    box.raw("help").expect(status=0, out_has="do")
    box.raw("--help").expect(status=0, out_has="do")


@case
def help_syscalls_is_the_whole_table(box):
    out = box.raw("help", "syscalls").expect(status=0)
    for word in ("openat", "clone3", "futex", "io_uring_enter", "mseal"):
        if word not in out.out:
            raise Failure(f"help syscalls does not mention {word}")
    if len(out.out.splitlines()) < 380:
        raise Failure(f"only {len(out.out.splitlines())} lines")


@case
def exit_statuses(box):
    for status in (0, 1, 42, 126, 255):
        box.bash(f"exit {status}").expect(status=status, out="", err="")


@case
def death_by_signal(box):
    for number in (1, 2, 9, 11, 15):
        box.bash(f"kill -{number} $$").expect(status=128 + number)


@case
def missing_program(box):
    one_line(box.do("/nonexistent/program"), 127, "/nonexistent/program", "no such file")
    one_line(box.do("nonexistent-program-in-path"), 127, "nonexistent-program-in-path")


@case
def program_without_permission(box):
    one_line(box.do("/etc/passwd"), 126, "/etc/passwd", "permission denied")
    one_line(box.do("/etc"), 126, "/etc")


@case
def bad_elf(box):
    with Folder() as name:
        path = os.path.join(name, "bad")
        with open("/bin/true", "rb") as source, open(path, "wb") as f:
            image = bytearray(source.read(200))
            f.write(image)
        os.chmod(path, 0o755)
        outcome = box.do(path)
        one_line(outcome, 126, "bad")


@case
def unknown_flag(box):
    outcome = box.do("--no-such-flag", "true")
    if outcome.status in (0, "timeout"):
        raise Failure(f"status {outcome.status}")
    one_line(outcome, outcome.status, "--no-such-flag")


@case
def bad_values(box):
    for flag, word in (("--platform=kvm-of-another-world", "platform"), ("--network=bridge", "network"),
                       ("--user=nobody:x:y", "user"), ("--env=NOVALUE", "env"),
                       ("--volume=only-one", "volume"), ("--log-format=xml", "log-format")):
        outcome = box.raw("do", flag, "true")
        if outcome.status == 0:
            raise Failure(f"{flag} was accepted")
        one_line(outcome, outcome.status, word)


@case
def kvm_platform(box):
    outcome = box.raw("do", "--platform=kvm", "true")
    if outcome.status == 0:
        raise Skip("kvm works here")
    one_line(outcome, outcome.status, "kvm")


@case
def missing_root(box):
    outcome = box.do("--root", "/nonexistent/root", "true")
    if outcome.status == 0:
        raise Failure("accepted")
    one_line(outcome, outcome.status, "/nonexistent/root")


@case
def missing_volume(box):
    outcome = box.do("--volume", "/nonexistent/volume:/mnt", "true")
    if outcome.status == 0:
        raise Failure("accepted")
    one_line(outcome, outcome.status, "/nonexistent/volume")


@case
def missing_cwd(box):
    outcome = box.do("--cwd", "/nonexistent/cwd", "true")
    if outcome.status == 0:
        raise Failure("accepted")
    one_line(outcome, outcome.status, "/nonexistent/cwd")


@case
def no_program(box):
    outcome = box.do()
    if outcome.status == 0 or not outcome.err:
        raise Failure(f"status {outcome.status}, stderr {outcome.err!r}")


@case
def unknown_command(box):
    outcome = box.raw("no-such-command")
    if outcome.status == 0:
        raise Failure("accepted")
    one_line(outcome, outcome.status, "no-such-command")
