"""--overlay2: where what is written lies, and how much of it there may be. Cases that take the Sandbox."""
import os
import shutil

import harness
from harness import Failure, Folder, Skip, eventually, finish

CASES = []


def case(function):
    CASES.append(function)
    return function


def stored_below(pid, folder):
    """Bytes in files without names on the disk of `folder` that the processes below `pid` have open."""
    size = 0
    for process in harness.descendants(pid):
        try:
            fds = os.listdir(f"/proc/{process}/fd")
        except OSError:
            continue
        for fd in fds:
            path = f"/proc/{process}/fd/{fd}"
            try:
                status = os.stat(path)
                memory = os.readlink(path).startswith("/memfd:")
            except OSError:
                continue
            if not memory and status.st_dev == os.stat(folder).st_dev and status.st_nlink == 0:
                size += status.st_size
    return size


@case
def overlay_in_a_directory(box):
    script = ("head -c 8000000 /dev/zero > /var/tmp/big && cp /bin/true /var/tmp/t && /var/tmp/t && echo ready && "
              "read x; stat -c %s /var/tmp/big")
    with Folder() as store:
        process = box.start(f"--overlay2=root:dir={store}", "/bin/bash", "-c", script, stdin=-1)
        harness.await_line(process)
        if os.listdir(store):
            raise Failure(f"there are names in the store: {os.listdir(store)}")
        stored = stored_below(process.pid, store)
        if stored < 8000000:
            raise Failure(f"only {stored} bytes in the store")
        if os.path.exists("/var/tmp/big"):
            raise Failure("the file is on the host")
        finish(process, b"\n").expect(status=0, out="8000000\n")


@case
def overlay_in_a_directory_after_a_kill(box):
    with Folder() as store:
        process = box.start(f"--overlay2=root:dir={store}", "/bin/bash", "-c",
                            "head -c 1000000 /dev/zero > /var/tmp/big; echo ready; read x", stdin=-1)
        harness.await_line(process)
        process.kill()
        finish(process)
        if os.listdir(store):
            raise Failure(f"left over: {os.listdir(store)}")


@case
def overlay_in_the_tree_itself(box):
    if not os.path.exists("/bin/busybox"):
        raise Skip("no busybox")
    with Folder() as name:
        shutil.copy("/bin/busybox", f"{name}/busybox")
        box.do("--overlay2=root:self", "--root", name, "/busybox", "sh", "-c",
               "/busybox head -c 100000 /dev/zero > /new; /busybox rm /busybox; /busybox ls /; cd /; echo *").expect(
                   status=0, out="dev new proc sys tmp\n", err_has="not found")
        if os.listdir(name) != ["busybox"]:
            raise Failure(f"the tree changed: {os.listdir(name)}")


@case
def overlay_over_volumes(box):
    with Folder() as name, Folder() as store:
        with open(f"{name}/in", "w") as f:
            f.write("from the host\n")
        for medium in ("memory", "self", f"dir={store}"):
            box.bash("echo inside > /mnt/v/in; head -c 9999 /dev/zero > /mnt/v/new; cat /mnt/v/in; ls /mnt/v; "
                     "echo more >> /mnt/f; cat /mnt/f; wc -c < /mnt/v/new",
                     f"--overlay2=all:{medium}", "--volume", f"{name}:/mnt/v", "--volume", f"{name}/in:/mnt/f").expect(
                         status=0, out="inside\nin\nnew\nfrom the host\nmore\n9999\n", err="")
            with open(f"{name}/in") as f:
                text = f.read()
            if text != "from the host\n" or os.listdir(name) != ["in"] or os.listdir(store):
                raise Failure(f"{medium}: the volume changed: {text!r}, {os.listdir(name)}")


@case
def overlay_of_a_limited_size(box):
    with Folder() as store:
        for medium in ("memory", f"dir={store}"):
            box.bash("head -c 3000000 /dev/zero > /var/tmp/big; echo $?; [ $(stat -c %s /var/tmp/big) -le 2097152 ] && "
                     "rm /var/tmp/big && head -c 1000000 /dev/zero > /var/tmp/small && echo fits",
                     f"--overlay2=root:{medium},size=2m").expect(status=0, out="1\nfits\n",
                                                                err_has="No space left on device")


@case
def overlay_data_can_be_mapped(box):
    script = ("import mmap; f = open('/var/tmp/m', 'w+b'); f.truncate(100000); m = mmap.mmap(f.fileno(), 0); "
              "m[50000:50005] = b'hello'; m.flush(); r = open('/var/tmp/m', 'rb'); "
              "n = mmap.mmap(r.fileno(), 0, prot=mmap.PROT_READ); print(n[50000:50005], r.read()[50000:50005])")
    with Folder() as store:
        box.do(f"--overlay2=root:dir={store}", "/usr/bin/python3", "-c", script).expect(
            status=0, out="b'hello' b'hello'\n")


@case
def overlay_words(box):
    for spec in ("root", "root:disk", "memory", "root:dir=relative", "all:memory,size=", "root:self,size=0", "none,size=1m"):
        outcome = box.raw("do", f"--overlay2={spec}", "true")
        if outcome.status == 0 or len(outcome.err.splitlines()) != 1 or "overlay2" not in outcome.err:
            raise Failure(f"{spec}: status {outcome.status}, {outcome.err!r}")
    outcome = box.do("--overlay2=root:dir=/nonexistent/store", "true")
    if outcome.status == 0 or "/nonexistent/store" not in outcome.err:
        raise Failure(f"a missing directory: status {outcome.status}, {outcome.err!r}")
