"""--host-uds and --host-fifo: sockets and fifos of the host in a shared folder, and that nothing is reached without the
flags. Other runtimes have no such flags: for them everything is reachable, so that the cases are the sandbox's."""
import os
import socket
import stat
import threading

from runtime import Skip, eventually, want, want_equal

CASES = []

PYTHON = "/usr/bin/python3"
CLIENT = """
import socket, sys
s = socket.socket(socket.AF_UNIX, getattr(socket, sys.argv[2]))
try:
    s.connect(sys.argv[1])
    s.sendall(b'from inside')
    print(s.recv(100).decode() if sys.argv[2] != 'SOCK_DGRAM' else 'sent')
    print(s.getpeername())
except OSError as e:
    print(e.strerror)
"""
SERVER = """
import socket, select, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
try:
    s.bind(sys.argv[1])
except OSError as e:
    sys.exit(e.strerror)
print(s.getsockname())
s.listen(5)
print('listening', flush=True)
data = b''
while data != b'end':  # Not before: its end is everybody's inside.
    select.select([s], [], [])
    c, peer = s.accept()
    if data := c.recv(100):
        c.sendall(b'<' + data + b'>')
    c.close()
print('ended')
"""
RIGHTS = """
import socket, array, os, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
s.connect(sys.argv[1])
try:
    s.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0]))])
except OSError as e:
    print(e.strerror)
s.sendall(b'y')
data, control, flags, _ = s.recvmsg(10, 100)
print(data.decode(), control, bool(flags & socket.MSG_CTRUNC))
print(len(os.listdir('/proc/self/fd')))
"""


def case(function):
    CASES.append(function)
    return function


def shared(runtime, *flags, args, options=("bind", "rw")):
    """A bundle with the host's python and a folder of the host at /mnt; returns both."""
    if not runtime.is_sandbox():
        raise Skip("the flags are the sandbox's")
    bundle = runtime.bundle(*args)
    folder = os.path.join(bundle.path, "shared")
    os.mkdir(folder)
    os.chmod(folder, 0o777)
    for path in ("/usr", "/lib", "/lib64"):
        bundle.mount(path, "bind", path, "bind", "ro")
    bundle.mount("/mnt", "bind", folder, *options)
    bundle.flags = flags
    return bundle, folder


def run(runtime, bundle):
    bundle.write()
    return runtime.call(*bundle.flags, "run", "--bundle", bundle.path, bundle.id)


class Server:
    """One connection: answers with what it was told."""

    def __init__(self, path, kind=socket.SOCK_STREAM, answer=None):
        self.socket = socket.socket(socket.AF_UNIX, kind)
        self.socket.bind(path)
        os.chmod(path, 0o777)
        self.socket.settimeout(30)
        self.kind, self.said, self.answer = kind, None, answer
        if kind != socket.SOCK_DGRAM:
            self.socket.listen(1)
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        try:
            if self.kind == socket.SOCK_DGRAM:
                self.said = self.socket.recv(100)
                return
            connection, _ = self.socket.accept()
            with connection:
                connection.settimeout(30)
                self.said = connection.recv(100)
                (self.answer or (lambda c: c.sendall(b"from outside")))(connection)
        except OSError:
            pass

    def close(self):
        self.socket.settimeout(0)
        # Whoever still waits for a connection is let go.
        if self.thread.is_alive() and self.said is None:
            with socket.socket(socket.AF_UNIX, self.kind) as last:
                try:
                    last.connect(self.socket.getsockname())
                    last.send(b"nobody came")
                except OSError:
                    pass
        self.thread.join(40)
        self.socket.close()


def connect_case(name, flags, kind, output, said, options=("bind", "rw")):
    def check(runtime):
        bundle, folder = shared(runtime, *flags, options=options,
                                args=[PYTHON, "-c", CLIENT, "/mnt/server", kind])
        server = Server(os.path.join(folder, "server"), getattr(socket, kind))
        try:
            outcome = run(runtime, bundle).expect(status=0)
        finally:
            server.close()
        want_equal(outcome.out, output, "output")
        want_equal(server.said, said, "what the server heard")
    check.__name__ = name
    CASES.append(check)


REACHED = "from outside\n/mnt/server\n"
connect_case("uds_open_stream", ["--host-uds=open"], "SOCK_STREAM", REACHED, b"from inside")
connect_case("uds_open_seqpacket", ["--host-uds=open"], "SOCK_SEQPACKET", REACHED, b"from inside")
connect_case("uds_open_datagrams", ["--host-uds=open"], "SOCK_DGRAM", "sent\n/mnt/server\n",
             b"from inside")
connect_case("uds_all_opens", ["--host-uds=all"], "SOCK_STREAM", REACHED, b"from inside")
connect_case("uds_open_read_only_mount", ["--host-uds=open"], "SOCK_STREAM", REACHED,
             b"from inside", ("bind", "ro"))
connect_case("uds_open_below_an_overlay", ["--host-uds=open", "--overlay2=all:memory"],
             "SOCK_STREAM", REACHED, b"from inside")
for _name, _flags in (("uds_not_open", []), ("uds_none", ["--host-uds=none"]),
                      ("uds_create_does_not_open", ["--host-uds=create"])):
    connect_case(_name, _flags, "SOCK_STREAM", "Connection refused\n", b"nobody came")


@case
def uds_is_no_annotation(runtime):
    """A container's image or user does not choose what of the host can be reached."""
    for name in ("host-uds", "host-fifo"):
        bundle, _ = shared(runtime, args=["/bin/true"])
        bundle.set("annotations", {f"dev.sandbox.flag.{name}": "open"})
        outcome = run(runtime, bundle)
        want(outcome.status != 0 and "annotation" in outcome.err, outcome.err)


@case
def uds_words(runtime):
    bundle, _ = shared(runtime, "--host-uds=some", args=["/bin/true"])
    want("is not one of none, open, create, all" in run(runtime, bundle).err, "another word")


@case
def uds_create(runtime):
    """A server inside, clients outside and inside."""
    bundle, folder = shared(runtime, "--host-uds=all",
                            args=[PYTHON, "-u", "-c", SERVER, "/mnt/server"])
    bundle.create(globals_=bundle.flags).start()
    bundle.await_text("listening")
    path = os.path.join(folder, "server")
    want(stat.S_ISSOCK(os.stat(path).st_mode), "it is no socket")

    def ask(text):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(path)
            client.sendall(text)
            want_equal(client.recv(100), b"<" + text + b">", "answer")

    ask(b"hello")
    script = CLIENT.replace("sys.argv[2]", "'SOCK_STREAM'")
    outcome = bundle.exec(PYTHON, "-c", script, "/mnt/server").expect(status=0)
    want_equal(outcome.out, "<from inside>\n/mnt/server\n", "a client inside")
    ask(b"end")
    bundle.await_text("ended")
    want_equal(bundle.wait(), 0, "status")


@case
def uds_create_owner_and_mode(runtime):
    bundle, folder = shared(runtime, "--host-uds=create", args=[
        PYTHON, "-c", "import socket, os; os.umask(0o27); "
        "socket.socket(socket.AF_UNIX).bind('/mnt/x')"])
    bundle.set("process.user", {"uid": 1000, "gid": 1000})
    run(runtime, bundle).expect(status=0)
    st = os.stat(os.path.join(folder, "x"))
    want_equal((stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid), (0o750, 1000, 1000), "mode, owner")


def not_created_case(name, flags, options, error):
    def check(runtime):
        bundle, folder = shared(runtime, *flags, options=options,
                                args=[PYTHON, "-c", SERVER, "/mnt/server"])
        outcome = run(runtime, bundle)
        want_equal((outcome.status, outcome.err.strip()), (1, error), "status and message")
        want_equal(os.listdir(folder), [], "the host's folder")
    check.__name__ = name
    CASES.append(check)


not_created_case("uds_not_create", [], ("bind", "rw"), "Operation not permitted")
not_created_case("uds_open_does_not_create", ["--host-uds=open"], ("bind", "rw"),
                 "Operation not permitted")
not_created_case("uds_create_read_only", ["--host-uds=create"], ("bind", "ro"),
                 "Read-only file system")


@case
def uds_descriptors_do_not_travel(runtime):
    bundle, folder = shared(runtime, "--host-uds=open",
                            args=[PYTHON, "-c", RIGHTS, "/mnt/server"])
    before = []

    def answer(connection):
        socket.send_fds(connection, [b"z"], [0, 1])
        before.append(True)
    server = Server(os.path.join(folder, "server"), answer=answer)
    try:
        outcome = run(runtime, bundle).expect(status=0)
    finally:
        server.close()
    want_equal(outcome.out, "Operation not permitted\nz [] True\n5\n", "output")
    want_equal(server.said, b"y", "what the server heard")


@case
def uds_large_transfer(runtime):
    """More than any buffer, both ways at once, by poll(2)."""
    script = ("import socket, threading; s = socket.socket(socket.AF_UNIX); "
              "s.connect('/mnt/server'); "
              "t = threading.Thread(target=lambda: (s.sendall(b'a' * 5000000), "
              "s.shutdown(socket.SHUT_WR))); t.start(); n = 0\n"
              "while d := s.recv(65536): n += len(d)\n"
              "t.join(); print(n)")
    bundle, folder = shared(runtime, "--host-uds=open", args=[PYTHON, "-c", script])

    def answer(connection):
        count = 100  # Which serve() may have taken.
        sender = threading.Thread(target=lambda: connection.sendall(b"b" * 3000000))
        sender.start()
        while data := connection.recv(65536):
            count += len(data)
        sender.join()
        want(count >= 5000000, f"{count} bytes came out")
    server = Server(os.path.join(folder, "server"), answer=answer)
    try:
        outcome = run(runtime, bundle).expect(status=0)
    finally:
        server.close()
    want_equal(outcome.out, "3000000\n", "bytes that came in")


@case
def uds_waits_for_room(runtime):
    """connect(2) to a server that is busy."""
    bundle, folder = shared(runtime, "--host-uds=open",
                            args=[PYTHON, "-c", CLIENT, "/mnt/server", "SOCK_STREAM"])
    with socket.socket(socket.AF_UNIX) as listener:
        path = os.path.join(folder, "server")
        listener.bind(path)
        listener.listen(0)
        first = socket.socket(socket.AF_UNIX)
        first.connect(path)
        bundle.create(globals_=bundle.flags).start()
        listener.settimeout(30)
        listener.accept()[0].close()
        connection, _ = listener.accept()
        want_equal(connection.recv(100), b"from inside", "message")
        connection.sendall(b"from outside")
        want(eventually(lambda: bundle.text() == REACHED, 20), bundle.text())
        connection.close()
        first.close()


# fifos

@case
def fifo_open(runtime):
    bundle, folder = shared(runtime, "--host-fifo=open",
                            args=["/bin/sh", "-c", "cat /mnt/in >/mnt/out"])
    for name in ("in", "out"):
        os.mkfifo(os.path.join(folder, name))
    bundle.create(globals_=bundle.flags).start()
    with open(os.path.join(folder, "out"), "rb") as out:
        with open(os.path.join(folder, "in"), "wb") as into:
            into.write(b"through " * 20000)
        want_equal(out.read(), b"through " * 20000, "what came out")
    want_equal(bundle.wait(), 0, "status")


@case
def fifo_not_open(runtime):
    """A fifo is the sandbox's own: the host's other end is not reached."""
    bundle, folder = shared(runtime, args=["/bin/sh", "-c", "echo inside >/mnt/fifo & "
                                           "cat /mnt/fifo"])
    path = os.path.join(folder, "fifo")
    os.mkfifo(path)
    outside = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    want_equal(run(runtime, bundle).expect(status=0).out, "inside\n", "output")
    want_equal(os.read(outside, 10), b"", "what came out")
    os.close(outside)
