"""Each field of config.json: a case fails when the field is ignored."""
import os
import socket
import stat
import subprocess

from runtime import Failure, Skip, eventually, harness, want, want_equal

CASES = []


def case(function):
    CASES.append(function)
    return function


# name: (field, value, script, output). The output differs from that of the default config.
TABLE = {
    "process_env": ("process.env", ["PATH=/bin", "COLOUR=blue"], "echo $COLOUR", "blue\n"),
    "process_cwd": ("process.cwd", "/data", "pwd", "/data\n"),
    "process_uid": ("process.user", {"uid": 1000, "gid": 7}, "id -u; id -g", "1000\n7\n"),
    "process_additional_gids": ("process.user", {"uid": 1, "gid": 2, "additionalGids": [5, 6]},
                                "id -G", "2 5 6\n"),
    "process_umask": ("process.user", {"uid": 0, "gid": 0, "umask": 0o27},
                      "umask; touch /tmp/f; stat -c %a /tmp/f", "0027\n640\n"),
    "process_umask_default": ("process.user", {"uid": 0, "gid": 0}, "umask", "0022\n"),
    "process_capabilities": (
        "process.capabilities",
        {"bounding": ["CAP_CHOWN", "CAP_KILL"], "permitted": ["CAP_KILL"],
         "effective": ["CAP_KILL"]},
        "grep ^Cap /proc/self/status | cut -f2",
        # Root's execve(2) takes all that is in the bounding set.
        "0000000000000000\n0000000000000021\n0000000000000021\n0000000000000021\n"
        "0000000000000000\n"),
    "process_capabilities_ambient": (
        "process",
        {"args": ["/bin/sh", "-c", "grep CapEff /proc/self/status | cut -f2"], "cwd": "/",
         "user": {"uid": 1000, "gid": 1000}, "env": ["PATH=/bin"],
         "capabilities": {name: ["CAP_KILL"] for name in
                          ("bounding", "permitted", "effective", "inheritable", "ambient")}},
        None, "0000000000000020\n"),
    "process_capabilities_none": (
        "process.capabilities", {}, "chown 5 /tmp 2>/dev/null && echo can || echo cannot",
        "cannot\n"),
    "process_rlimits": (
        "process.rlimits", [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99},
                            {"type": "RLIMIT_CORE", "soft": 0, "hard": 512}],
        "ulimit -Sn; ulimit -Hn; ulimit -Hc", "77\n99\n1\n"),
    "process_no_new_privileges": ("process.noNewPrivileges", True,
                                  "grep NoNewPrivs /proc/self/status | cut -f2", "1\n"),
    "process_oom_score_adj": ("process.oomScoreAdj", 345, "cat /proc/self/oom_score_adj", "345\n"),
    "root_readonly": ("root.readonly", True,
                      "touch /data/x 2>/dev/null && echo can || echo cannot", "cannot\n"),
    "hostname": ("hostname", "somewhere", "hostname; cat /proc/sys/kernel/hostname",
                 "somewhere\nsomewhere\n"),
    "linux_masked_paths": ("linux.maskedPaths", ["/data/file", "/etc", "/nonexistent"],
                           "cat /data/file; ls /etc", ""),
    "linux_readonly_paths": ("linux.readonlyPaths", ["/data", "/nonexistent"],
                             "echo x 2>/dev/null >/data/file || echo cannot; cat /data/file",
                             "cannot\ncontent\n"),
    "linux_sysctl": ("linux.sysctl", {"kernel.shm_rmid_forced": "1"},
                     "cat /proc/sys/kernel/shm_rmid_forced", "1\n"),
    "linux_devices": (
        "linux.devices", [{"path": "/dev/hole", "type": "c", "major": 1, "minor": 3,
                           "fileMode": 0o640, "uid": 3, "gid": 4}],
        "stat -c '%F %t:%T %a %u:%g' /dev/hole; echo x >/dev/hole && echo written",
        "character special file 1:3 640 3:4\nwritten\n"),
    "linux_devices_default": (
        "annotations", {}, "for d in null zero full random urandom tty; do stat -c %t:%T /dev/$d; "
        "done; readlink /dev/fd; readlink /dev/stdout; readlink /dev/ptmx",
        "1:3\n1:5\n1:7\n1:8\n1:9\n5:0\n/proc/self/fd\n/proc/self/fd/1\npts/ptmx\n"),
    "linux_namespaces_pid": ("annotations", {}, "echo $$", "1\n"),
    "linux_seccomp_errno": (
        "linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]},
        "mkdir /tmp/d 2>&1", "mkdir: can't create directory '/tmp/d': No space left on device\n"),
    "linux_seccomp_default": (
        "linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["sethostname"], "action": "SCMP_ACT_ERRNO"}]},
        "grep ^Seccomp: /proc/self/status | cut -f2", "2\n"),
    "linux_seccomp_args": (
        "linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
             "args": [{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}]}]},
        "trap 'echo got' USR2; kill -12 $$; kill -10 $$ 2>/dev/null || echo refused",
        "got\nrefused\n"),
}

SHOW = ("awk '$5 == \"%s\" {r = \"none\"; for (i = 7; $i != \"-\"; i++) { sub(/:.*/, \"\", $i); "
        "r = $i } print r}' /proc/self/mountinfo")
TABLE["linux_rootfs_propagation"] = ("linux.rootfsPropagation", "shared", SHOW % "/", "shared\n")
TABLE["linux_rootfs_propagation_default"] = ("annotations", {}, SHOW % "/", "none\n")

# name: (destination, type, source, options, script, output)
MOUNTS = {
    "mount_tmpfs_size": ("/mnt", "tmpfs", "tmpfs", ["size=64k"],
                         "head -c 100k /dev/zero >/mnt/x 2>/dev/null; stat -c %s /mnt/x",
                         "65536\n"),
    "mount_tmpfs_mode": ("/mnt/new", "tmpfs", "tmpfs", ["mode=700", "uid=3", "gid=4"],
                         "stat -c '%a %u:%g' /mnt/new", "700 3:4\n"),
    "mount_ro": ("/mnt", "tmpfs", "tmpfs", ["ro"],
                 "touch /mnt/x 2>/dev/null && echo can || echo cannot", "cannot\n"),
    "mount_noexec": ("/mnt", "tmpfs", "tmpfs", ["noexec"],
                     "cp /bin/busybox /mnt/; /mnt/busybox true 2>/dev/null || echo $?", "126\n"),
    "mount_options_show": ("/mnt", "tmpfs", "tmpfs", ["nosuid", "nodev", "noexec"],
                           "grep ' /mnt ' /proc/mounts | cut -d' ' -f1-4 | cut -d, -f1-4",
                           "tmpfs /mnt tmpfs rw,nosuid,nodev,noexec\n"),
    "mount_destination_is_made": ("/new/place", "tmpfs", "tmpfs", [], "stat -c %F /new/place",
                                  "directory\n"),
    "mount_proc_elsewhere": ("/mnt", "proc", "proc", [], "cat /mnt/1/comm; true", "sh\n"),
    "mount_sysfs": ("/mnt", "sysfs", "sysfs", ["ro"], "ls -d /mnt/class /mnt/kernel",
                    "/mnt/class\n/mnt/kernel\n"),
    "mount_shared": ("/mnt", "tmpfs", "tmpfs", ["shared"], SHOW % "/mnt", "shared\n"),
    "mount_unbindable": ("/mnt", "tmpfs", "tmpfs", ["unbindable"], SHOW % "/mnt", "unbindable\n"),
    "mount_private_again": ("/mnt", "tmpfs", "tmpfs", ["shared", "rprivate"], SHOW % "/mnt",
                            "none\n"),
    "mount_tmpcopyup": ("/data", "tmpfs", "tmpfs", ["tmpcopyup", "size=1m"],
                        "cat /data/file; echo new >/data/file; cat /data/file; touch /data/x && "
                        "ls /data; grep ' /data ' /proc/mounts | cut -d' ' -f3",
                        "content\nnew\nfile\nx\ntmpfs\n"),
    "mount_mqueue": ("/dev/mqueue", "mqueue", "mqueue", [],
                     "grep -c ' /dev/mqueue mqueue ' /proc/mounts", "1\n"),
}


# What Debian's versions of the peers leave undone.
UNDONE = {"runc": ["linux_rootfs_propagation"], "crun": ["mount_shared", "mount_unbindable"]}


def want_done(runtime, name):
    if name in UNDONE.get(runtime.name, []):
        raise Skip(f"Debian's {runtime.name} does nothing about it")


def table_case(name, row):
    field, value, script, output = row

    def run(runtime):
        want_done(runtime, name)
        bundle = runtime.bundle(script=script).set(field, value)
        bundle.run().expect(out=output)
    run.__name__ = name
    return run


def mount_case(name, row):
    destination, kind, source, options, script, output = row

    def run(runtime):
        want_done(runtime, name)
        runtime.bundle(script=script).mount(destination, kind, source, *options).run().expect(
            out=output)
    run.__name__ = name
    return run


CASES += [table_case(*item) for item in TABLE.items()]
CASES += [mount_case(*item) for item in MOUNTS.items()]


@case
def process_args(runtime):
    runtime.bundle("/bin/printf", "%s|", "a b", "", "c").run().expect(status=0, out="a b||c|")


@case
def process_args_by_path(runtime):
    """A name without a slash is looked for in the container's PATH."""
    runtime.bundle("echo", "found").run().expect(status=0, out="found\n")


@case
def process_args_missing_program(runtime):
    bundle = runtime.bundle("/no/such/program")
    outcome = bundle.run()
    want(outcome.status != 0, "a missing program has status 0")
    want("no such file or directory" in outcome.err.lower(), f"stderr {outcome.err!r}")


@case
def process_keeps_stdin(runtime):
    runtime.bundle(script="cat; echo end").run(data=b"some\ninput\n").expect(
        status=0, out="some\ninput\nend\n")


@case
def process_seccomp_kill(runtime):
    bundle = runtime.bundle(script="mkdir /tmp/d; echo after")
    bundle.set("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}]})
    outcome = bundle.run()
    want("after" in outcome.out or outcome.status == 159, f"status {outcome.status}")
    want("d" not in os.listdir(os.path.join(bundle.rootfs, "tmp")), "mkdir worked")


@case
def root_absolute(runtime):
    bundle = runtime.bundle(script="cat /data/file")
    bundle.set("root.path", bundle.rootfs).run().expect(status=0, out="content\n")


@case
def root_writes_reach_the_host(runtime):
    """A container's root is what `docker cp` and `docker commit` read afterwards."""
    bundle = runtime.bundle(script="echo new >/data/made; rm /data/file")
    bundle.run().expect(status=0)
    want_equal(sorted(os.listdir(os.path.join(bundle.rootfs, "data"))), ["made"], "/data")


@case
def root_with_sockets(runtime):
    """Servers bind unix sockets in their image's folders, and find what an earlier run has left."""
    bundle = runtime.bundle("/usr/bin/python3", "/data/program").with_python()
    with open(os.path.join(bundle.rootfs, "data", "program"), "w") as f:
        f.write("import os, socket, stat\ns, c = socket.socket(socket.AF_UNIX), "
                "socket.socket(socket.AF_UNIX)\n"
                "try: s.bind('/run/old')\nexcept OSError as e: print(e.errno)\n"
                "try: c.connect('/run/old')\nexcept OSError as e: print(e.errno)\n"
                "os.umask(0o27)\ns.bind('/run/sock')\ns.listen()\nc.connect('/run/sock')\n"
                "c.send(b'hello')\nprint(s.accept()[0].recv(9).decode())\n"
                "print(stat.filemode(os.stat('/run/sock').st_mode))\n"
                "os.rename('/run/sock', '/run/other')\n"
                "d = socket.socket(socket.AF_UNIX)\nd.connect('/run/other')\nprint('moved')\n")
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(os.path.join(bundle.rootfs, "run", "old"))
    bundle.run().expect(status=0, out="98\n111\nhello\nsrwxr-x---\nmoved\n")
    want(stat.S_ISSOCK(os.stat(os.path.join(bundle.rootfs, "run", "other")).st_mode), "no socket")


@case
def domainname(runtime):
    if runtime.name in ("runc", "crun"):
        raise Skip("Debian's is older than the field")
    bundle = runtime.bundle(script="cat /proc/sys/kernel/domainname")
    bundle.set("domainname", "example").run().expect(out="example\n")


@case
def mount_bind(runtime):
    bundle = runtime.bundle(script="cat /mnt/a; echo two >/mnt/b")
    shared = bundle.host_path("shared")
    os.mkdir(shared)
    os.chmod(shared, 0o777)
    bundle.host_path("shared/a", "one\n")
    bundle.mount("/mnt", "bind", shared, "rbind", "rw").run().expect(status=0, out="one\n")
    with open(os.path.join(shared, "b")) as f:
        want_equal(f.read(), "two\n", "the host's file")


@case
def mount_bind_ro(runtime):
    bundle = runtime.bundle(script="cat /mnt/a; echo x 2>/dev/null >/mnt/a || echo cannot")
    shared = bundle.host_path("shared")
    os.mkdir(shared)
    bundle.host_path("shared/a", "one\n", 0o666)
    bundle.mount("/mnt", "bind", shared, "bind", "ro").run().expect(out="one\ncannot\n")


@case
def mount_bind_of_a_file(runtime):
    """As Docker does for /etc/hosts and /etc/resolv.conf."""
    bundle = runtime.bundle(script="cat /etc/hosts; echo more >>/etc/hosts; cat /etc/hosts")
    file = bundle.host_path("hosts", "1.2.3.4 x\n", 0o666)
    bundle.mount("/etc/hosts", "bind", file, "rbind", "rprivate").run().expect(
        out="1.2.3.4 x\n1.2.3.4 x\nmore\n")


@case
def mount_bind_sees_later_changes(runtime):
    bundle = runtime.bundle(script="echo ready; while ! test -e /mnt/late; do sleep 0.05; done; "
                                   "cat /mnt/late")
    shared = bundle.host_path("shared")
    os.mkdir(shared)
    bundle.mount("/mnt", "bind", shared, "rbind").create().start()
    bundle.await_text("ready")
    bundle.host_path("late.tmp", "here\n")
    os.rename(bundle.host_path("late.tmp"), os.path.join(shared, "late"))
    bundle.await_text("here")
    want_equal(bundle.wait(), 0, "status")


@case
def file_access(runtime):
    """Shared is what it says, and exclusive is for a root that nobody else changes."""
    if not runtime.is_sandbox():
        raise Skip("a flag of sandboxes")
    script = ("cat /data/file; echo more >>/data/file; cat /data/file; mkdir /data/d; "
              "mv /data/file /data/d/x; ls /data /data/d; echo ready; "
              "while ! test -e /data/late; do sleep 0.05; done; cat /data/late")
    for kind in ("shared", "exclusive"):
        bundle = runtime.bundle(script=script)
        bundle.create(globals_=["--file-access", kind]).start()
        bundle.await_text("ready")
        want_equal(bundle.text().replace("\n", " "),
                   "content content more /data: d  /data/d: x ready ", "output")
        with open(os.path.join(bundle.rootfs, "data", "d", "x")) as f:
            want_equal(f.read(), "content\nmore\n", f"{kind}: the host's file")
        if kind == "shared":
            late = os.path.join(bundle.rootfs, "data", "late")
            with open(late + ".tmp", "w") as f:
                f.write("here\n")
            os.rename(late + ".tmp", late)
            bundle.await_text("here")
            want_equal(bundle.wait(), 0, "status")
    bundle = runtime.bundle(script="true")
    flags = ["--file-access", "shared", "--overlay2", "root:memory"]
    want(bundle.try_create(globals_=flags) != 0, "shared below an overlay is accepted")
    want("--file-access" in bundle.text(), f"output {bundle.text()!r}")


@case
def mount_bind_shared(runtime):
    """The host's mounts do not come and go in a sandbox: that is refused by name."""
    if not runtime.is_sandbox():
        raise Skip("others share mounts")
    for word in ("shared", "rslave"):
        bundle = runtime.bundle(script="true").mount("/mnt", "bind", "/var", "rbind", word)
        want(bundle.try_create() != 0, f"{word} is accepted")
        want("mounts" in bundle.text(), f"output {bundle.text()!r}")


@case
def mount_bind_without_source(runtime):
    bundle = runtime.bundle(script="true")
    outcome = bundle.mount("/mnt", "bind", "/nonexistent/source", "bind").run()
    want(outcome.status != 0, "a missing source is no error")
    want("no such file" in outcome.err.lower(), f"stderr {outcome.err!r}")


@case
def mount_order(runtime):
    """A later mount covers an earlier one."""
    bundle = runtime.bundle(script="ls /mnt")
    shared = bundle.host_path("shared")
    os.mkdir(shared)
    bundle.host_path("shared/a", "")
    bundle.mount("/mnt", "tmpfs", "tmpfs").mount("/mnt", "bind", shared, "bind")
    bundle.run().expect(out="a\n")


@case
def mount_cannot_leave_the_root(runtime):
    """A destination below a symlink of the image stays inside."""
    bundle = runtime.bundle(script="ls /mnt2/place 2>&1 | head -1; grep -c place /proc/mounts")
    outside = bundle.host_path("outside")
    os.mkdir(outside)
    os.symlink(outside, os.path.join(bundle.rootfs, "mnt2"))
    bundle.mount("/mnt2/place", "tmpfs", "tmpfs").run()
    want_equal(os.listdir(outside), [], "the host's folder")


@case
def annotations(runtime):
    bundle = runtime.bundle(script="sleep 100").set("annotations", {"org.x": "y"}).create()
    want_equal(bundle.state().get("annotations", {}).get("org.x"), "y", "annotation")


@case
def annotation_overlay(runtime):
    """What is written to the root and to bind mounts lies in unnamed files of the bundle, and ends with it."""
    if not runtime.is_sandbox():
        raise Skip("the sandbox's own annotation")
    bundle = runtime.bundle(script="dd if=/dev/zero of=/new bs=1024 count=200 2>/dev/null; echo changed > /mnt/in; "
                                   "cat /mnt/in; dd if=/dev/zero of=/big bs=1024 count=3000 2>&1 | grep -c 'No space'; "
                                   "wc -c < /new")
    shared = bundle.host_path("shared")
    os.mkdir(shared)
    bundle.host_path("shared/in", "here\n")
    before = sorted(os.listdir(bundle.rootfs))
    bundle.mount("/mnt", "bind", shared, "bind")
    bundle.set("annotations", {"dev.sandbox.flag.overlay2": "all:self,size=2m"})
    bundle.run().expect(out="changed\n1\n204800\n", status=0)
    want_equal([name for name in sorted(os.listdir(bundle.rootfs)) if name not in before], [], "new names")
    want_equal(os.listdir(shared), ["in"], "names of the bind mount")
    with open(os.path.join(shared, "in")) as f:
        want_equal(f.read(), "here\n", "the bind mount")


def hook(bundle, name, text):
    path = bundle.host_path(name + ".sh", "#!/bin/sh\n" + text + "\n", 0o755)
    return {"path": path, "args": [name, "argument"], "env": [f"KIND={name}", "PATH=/bin:/usr/bin"]}


def hook_case(kind, phase, host=True):
    def run(runtime):
        bundle = runtime.bundle(script="true")
        seen = bundle.host_path("seen")
        row = hook(bundle, kind, f"cat >{seen}; echo \" $KIND $1\" >>{seen}")
        bundle.set("hooks", {kind: [row]}).create()
        want_equal(os.path.exists(seen), phase == "create", f"{kind} ran by create")
        bundle.start()
        want_equal(bundle.wait(), 0, "status")
        want_equal(os.path.exists(seen), phase in ("create", "start"), f"{kind} ran by start")
        bundle.delete().expect(status=0)
        with open(seen) as f:
            text = f.read()
        want(f'"{bundle.id}"' in text and '"ociVersion"' in text and '"bundle"' in text,
             f"the state is {text!r}")
        want(text.endswith(f" {kind} argument\n"), f"environment or arguments: {text!r}")
    run.__name__ = f"hooks_{kind}"
    return run


CASES += [hook_case("prestart", "create"), hook_case("createRuntime", "create"),
          hook_case("createContainer", "create"), hook_case("poststop", "delete")]


@case
def hooks_poststart(runtime):
    bundle = runtime.bundle(script="sleep 100")
    seen = bundle.host_path("seen")
    bundle.set("hooks", {"poststart": [hook(bundle, "poststart", f"cat >{seen}")]})
    bundle.create().start()
    want(os.path.getsize(seen) > 0, "poststart saw no state")


@case
def hooks_startContainer(runtime):
    """Its path is one of the container's."""
    bundle = runtime.bundle(script="cat /tmp/seen")
    path = os.path.join(bundle.rootfs, "data", "hook.sh")
    with open(path, "w") as f:
        f.write("#!/bin/sh\ncat >/tmp/seen\n")
    os.chmod(path, 0o755)
    bundle.set("hooks", {"startContainer": [{"path": "/data/hook.sh", "env": ["PATH=/bin"]}]})
    outcome = bundle.run().expect(status=0)
    want(bundle.id in outcome.out, f"the state is {outcome.out!r}")


@case
def hooks_startContainer_failure(runtime):
    """The program does not run then."""
    for text, timeout in (("exit 3", None), ("sleep 100", 1)):
        bundle = runtime.bundle(script="echo ran")
        row = {"path": "/bin/sh", "args": ["sh", "-c", text], "env": ["PATH=/bin"]}
        bundle.set("hooks", {"startContainer": [dict(row, timeout=timeout) if timeout else row]})
        bundle.create()
        bundle.call("start", bundle.id)
        want(bundle.wait() != 0, f"status 0 after {text}")
        want("ran" not in bundle.text(), "the program ran")


@case
def hooks_startContainer_and_kill(runtime):
    bundle = runtime.bundle(script="echo ran")
    script = "echo x >/tmp/hooked; sleep 1000"
    row = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}
    bundle.set("hooks", {"startContainer": [row]}).create()
    process = harness.popen(runtime.command("start", bundle.id), stdin=subprocess.DEVNULL)
    try:
        seen = os.path.join(bundle.rootfs, "tmp", "hooked")
        want(eventually(lambda: os.path.exists(seen), 20), "the hook does not run")
        bundle.kill("KILL").expect(status=0)
        want_equal(bundle.wait(), 137, "status")
    finally:
        harness.finish(process)


@case
def hooks_failure_undoes_create(runtime):
    bundle = runtime.bundle(script="true")
    bundle.set("hooks", {"prestart": [hook(bundle, "prestart", "echo oh dear >&2; exit 7")]})
    want(bundle.try_create() != 0, "create succeeded")
    want("oh dear" in bundle.text(), f"the hook's words are lost: {bundle.text()!r}")
    want(bundle.call("state", bundle.id).status != 0, "the container exists")


@case
def hooks_timeout(runtime):
    bundle = runtime.bundle(script="true")
    row = dict(hook(bundle, "prestart", "exec sleep 1000"), timeout=1)
    bundle.set("hooks", {"prestart": [row]})
    want(bundle.try_create() != 0, "create succeeded")


# A malformed field: create fails and names it.
REFUSED = {
    "refused_args_missing": ("process.args", [], "args"),
    "refused_cwd_relative": ("process.cwd", "tmp", "cwd"),
    "refused_rlimit_type": ("process.rlimits", [{"type": "RLIMIT_FUN", "soft": 1, "hard": 1}],
                            "rlimit"),
    "refused_namespace_type": ("linux.namespaces", [{"type": "moon"}], "namespace"),
    "refused_root_missing": ("root.path", "nowhere", "nowhere"),
    "refused_type": ("process.user", {"uid": "root"}, "uid"),
    "refused_device": ("linux.devices", [{"path": "/dev/disk", "type": "b", "major": 254,
                                          "minor": 0}], "device"),
    "refused_mount_type": ("mounts", [{"destination": "/x", "type": "ntfs", "source": "x"}], "/x"),
    "refused_capability": ("process.capabilities", {"bounding": ["CAP_FLY"]}, "cap_fly"),
    "refused_seccomp_notify": ("linux.seccomp", {"defaultAction": "SCMP_ACT_NOTIFY"}, "seccomp"),
    "refused_intel_rdt": ("linux.intelRdt", {"closID": "x", "l3CacheSchema": "L3:0=f"}, "intelrdt"),
    "refused_time_offsets": ("linux.timeOffsets", {"monotonic": {"secs": 5}}, "timeoffsets"),
    "refused_personality": ("linux.personality", {"domain": "LINUX32"}, "personality"),
    "refused_hook_relative": ("hooks", {"prestart": [{"path": "bin/true"}]}, "path"),
    "refused_oci_version": ("ociVersion", "9.0.0", "ociversion"),
    "refused_propagation": ("linux.rootfsPropagation", "sideways", "propagation"),
}


# What the peers do in another way, or let pass.
OURS = ("device", "capability", "time_offsets", "personality", "oci_version", "intel_rdt",
        "seccomp_notify")


def refused_case(name, row):
    field, value, word = row

    def run(runtime):
        if name.removeprefix("refused_") in OURS and not runtime.is_sandbox():
            raise Skip("others do it, or ignore it")
        bundle = runtime.bundle(script="true").set(field, value)
        if bundle.try_create(globals_=["--log", bundle.log, "--log-format", "json"]) == 0:
            raise Failure("create succeeded")
        with open(bundle.log) as f:
            log = f.read()
        want('"level":"error"' in log, f"no error in the log: {log!r}")
        if runtime.is_sandbox():
            want(word in log.lower(), f"the log does not name {word}: {log!r}")
        want(bundle.call("state", bundle.id).status != 0, "the container exists")
    run.__name__ = name
    return run


CASES += [refused_case(*item) for item in REFUSED.items()]
