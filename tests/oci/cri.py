"""A pod through containerd's CRI socket, as kubelet makes one.

containerd has directories and namespaces of its own and an image of busybox that is imported. The
messages of the interface (k8s.io/cri-api, runtime/v1/api.proto) are put together here by their
numbers.
"""
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile

from runtime import Failure, Skip, eventually, harness, want, want_equal

CLIENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "cri_client.py")
IMAGE = "docker.io/local/pod:1"
NODE, POD, CONTAINER = 2, 0, 1  # NamespaceMode


def varint(number):
    out = bytearray()
    while number > 0x7f:
        out.append(number & 0x7f | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def message(*fields):
    """(number, value) each: an integer, text, or the bytes of a message."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def fields_of(data):
    """{number: [values]}, integers and bytes."""
    at, found = 0, {}

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value
    while at < len(data):
        key = number()
        if key & 7 == 0:
            value = number()
        else:
            size = number()
            value = data[at:at + size]
            at += size
        found.setdefault(key >> 3, []).append(value)
    return found


def image_archive(template, path):
    """What `docker save` writes, of one layer."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(template, ".")
    digest = subprocess.run(["sha256sum"], input=layer.getvalue(), stdout=subprocess.PIPE,
                            check=True).stdout.split()[0].decode()
    config = {"architecture": "amd64", "os": "linux",
              "config": {"Cmd": ["/bin/sleep", "100000"], "Env": ["PATH=/bin"]},
              "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest]}}
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as tar:
        for name, data in (("config.json", json.dumps(config).encode()),
                           ("manifest.json", json.dumps(manifest).encode()),
                           ("layer.tar", layer.getvalue())):
            row = tarfile.TarInfo(name)
            row.size = len(data)
            tar.addfile(row, io.BytesIO(data))


class Containerd:
    def __init__(self, subject):
        if not os.path.exists("/usr/bin/containerd"):
            raise Skip("no containerd")
        probe = subprocess.run(["/usr/bin/python3", "-c", "import grpc"], stderr=subprocess.DEVNULL)
        if probe.returncode != 0:
            raise Skip("no python3-grpcio")
        self.folder = tempfile.mkdtemp(prefix="oci-cri.", dir="/var/tmp")
        self.socket = self.folder + "/sock"
        config = self.folder + "/config.toml"
        with open(config, "w") as f:
            f.write(f'''version = 2
root = "{self.folder}/root"
state = "{self.folder}/state"
[grpc]
  address = "{self.socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  default_runtime_name = "subject"
  snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.subject]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.subject.options]
  BinaryName = "{subject.binary}"
  Root = "{self.folder}/runc"
''')
        self.log = open(self.folder + "/log", "w+")
        script = ('busybox ip link set lo up; mkdir -p /run/containerd; mount -t tmpfs tmpfs '
                  '/run/containerd; exec containerd --config "$1"')
        self.process = subprocess.Popen(
            ["unshare", "-mnpf", "--kill-child", "--mount-proc", "--propagation", "private", "sh",
             "-c", script, "sh", config],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True)
        try:
            if not eventually(lambda: self.ctr("version").status == 0, 60):
                raise Failure("containerd does not come up")
            archive = self.folder + "/image.tar"
            image_archive(subject.template, archive)
            self.ctr("-n", "k8s.io", "image", "import", "--snapshotter", "native", archive).expect(
                status=0)
        except BaseException:
            self.close()
            raise

    def ctr(self, *args):
        return harness.execute(["ctr", "-a", self.socket, *args], limit=60)

    def call(self, method, request):
        done = subprocess.run(["/usr/bin/python3", CLIENT, self.socket, method], input=request,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=90)
        if done.returncode != 0:
            raise Failure(f"{method}: {done.stderr.decode(errors='replace')[-600:]}")
        return fields_of(done.stdout)

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def namespaces(pid_mode):
    return message((1, NODE), (2, pid_mode), (3, POD))


def pod_config(pid_mode):
    metadata = message((1, "pod"), (2, f"uid-{pid_mode}"), (3, "default"))
    security = message((1, namespaces(pid_mode)))
    return message((1, metadata), (8, message((2, security))))


def start_container(cri, pod, config, name, script, pid_mode):
    security = message((3, namespaces(pid_mode)))
    container = message((1, message((1, name))), (2, message((1, IMAGE))), (3, "/bin/sh"), (4, "-c"),
                        (4, script), (15, message((2, security))))
    made = cri.call("CreateContainer", message((1, pod), (2, container), (3, config)))
    cri.call("StartContainer", message((1, made[1][0])))
    return made[1][0]


def status_of(cri, container):
    """State (1 running, 2 exited) and exit code."""
    status = fields_of(cri.call("ContainerStatus", message((1, container)))[1][0])
    return status.get(3, [0])[0], status.get(7, [0])[0]


def execute(cri, container, *command):
    done = cri.call("ExecSync", message((1, container), *((2, word) for word in command)))
    return done.get(1, [b""])[0].decode(), done.get(3, [0])[0]


def pod_life(cri, pid_mode):
    """Two containers that run side by side in one sandbox, and end each in its own way."""
    config = pod_config(pid_mode)
    pod = cri.call("RunPodSandbox", message((1, config)))[1][0]
    server = start_container(cri, pod, config, "server",
                             "while :; do echo hello | nc -l -p 7000; done", pid_mode)
    client = start_container(
        cri, pod, config, "client",
        "for i in $(seq 100); do test \"$(nc 127.0.0.1 7000 </dev/null)\" = hello && exit 5; "
        "sleep 0.1; done", pid_mode)
    want(eventually(lambda: status_of(cri, client)[0] == 2, 30), "the client does not end")
    want_equal(status_of(cri, client), (2, 5), "state and exit code of the client")
    want_equal(status_of(cri, server)[0], 1, "state of the server")
    want_equal(execute(cri, server, "/bin/sh", "-c", "echo inside; exit 3"), ("inside\n", 3), "exec")
    first = execute(cri, server, "/bin/cat", "/proc/1/cmdline")[0].split("\0")[0]
    want_equal(first, "/bin/sleep" if pid_mode == POD else "/bin/sh", "process 1")
    cri.call("StopPodSandbox", message((1, pod)))
    want_equal(status_of(cri, server)[0], 2, "state of the server after the pod's end")
    cri.call("RemovePodSandbox", message((1, pod)))


def cri_pods(subject):
    if subject.flags:
        raise Skip("the shim gives the runtime no flags")
    cri = Containerd(subject)
    try:
        for pid_mode in (CONTAINER, POD):
            pod_life(cri, pid_mode)
        below = {p: n for p, n in harness.descendants(cri.process.pid).items() if "sandbox" in n}
        want(not below, f"left are {below}")
    except Failure as failure:
        cri.log.seek(0)
        tail = [line for line in cri.log.read().splitlines() if "level=error" in line][-3:]
        raise Failure(f"{failure} ({' '.join(tail)[-900:]})") from None
    finally:
        cri.close()


CASES = [cri_pods]
