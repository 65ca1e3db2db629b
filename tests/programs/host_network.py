"""Interfaces as programs see them, and sockets of the host. Servers are threads of the test, on the
loopback interface."""
import http.server
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading

from harness import Failure, Skip, await_line, descendants, execute, finish

CASES = []
HOST = "--network=host"
PYTHON = "/usr/bin/python3"


def case(function):
    CASES.append(function)
    return function


def needs(*programs):
    for program in programs:
        if shutil.which(program) is None:
            raise Skip(f"no {program}")


def in_a_new_namespace(script):
    """What Linux says in a namespace with nothing but lo."""
    outcome = execute(["unshare", "-n", "/bin/sh", "-c", "ip link set lo up && " + script])
    if outcome.status != 0 and "unshare" in outcome.err:
        raise Skip("no rights to make a network namespace")
    return outcome


@case
def ip_shows_the_loopback_interface(box):
    needs("ip", "unshare")
    script = ("ip addr; ip -br link; ip -s link; ip -4 route show table all; ip -6 route show table local;"
              "ip rule; ip -6 rule; ip neigh; ip route get 127.0.0.1; ip route get 127.4.5.6; ip route;"
              "ip addr show dev nope0; ip route get 192.0.2.77")
    outside = in_a_new_namespace(script)
    box.bash(script).expect(status=outside.status, out=outside.out, err=outside.err)


@case
def ip_changes_the_loopback_interface(box):
    needs("ip", "unshare")
    script = ("ip addr add 10.1.2.3/24 dev lo; ip addr add 10.1.2.3/24 dev lo; ip -4 addr;"
              "ip route show table local; ip addr del 10.1.2.3/24 dev lo; ip link set lo mtu 1400;"
              "ip link; ip link set lo down; ip addr; ip link set lo up; ip addr;"
              "ip link add d0 type nosuchkind 2>/dev/null; echo $?")
    outside = in_a_new_namespace(script)
    box.bash(script).expect(status=outside.status, out=outside.out, err=outside.err)


@case
def ip_shows_the_hosts_network(box):
    needs("ip")
    script = "ip addr; ip -4 route show table all; ip rule; ip route get 127.0.0.1"
    outside = execute(["/bin/bash", "-c", script])
    box.bash(script, HOST).expect(status=outside.status, out=outside.out)


@case
def ss_lists_sockets(box):
    needs("ss")
    script = r"""
import os, socket, subprocess
a, b = socket.socketpair()
u = socket.socket(socket.AF_UNIX); u.bind("\0named"); u.listen(3)
lines = subprocess.run(["ss", "-xlpH"], capture_output=True, text=True).stdout.splitlines()
print(len(lines), lines[0].split()[:5], f"pid={os.getpid()}" in lines[0])
t = socket.socket(); t.bind(("127.0.0.1", 0)); t.listen(5); port = t.getsockname()[1]
d = socket.socket(type=socket.SOCK_DGRAM); d.bind(("0.0.0.0", 0)); udp = d.getsockname()[1]
c = socket.create_connection(("127.0.0.1", port)); s, peer = t.accept()
out = subprocess.run(["ss", "-tunlpH"], capture_output=True, text=True).stdout
print(f"127.0.0.1:{port}" in out, f"0.0.0.0:{udp}" in out, out.count(f"pid={os.getpid()}"))
out = subprocess.run(["ss", "-tnH"], capture_output=True, text=True).stdout
print(f"127.0.0.1:{peer[1]}" in out, out.count("ESTAB"))
"""
    box.do(PYTHON, "-c", script).expect(
        status=0, out="1 ['u_str', 'LISTEN', '0', '3', '@named'] True\nTrue True 2\nTrue 2\n")


@case
def python_lists_interfaces(box):
    box.do(PYTHON, "-c", "import socket; print(socket.if_nameindex())").expect(
        status=0, out="[(1, 'lo')]\n")
    names = str(socket.if_nameindex())
    box.do(HOST, PYTHON, "-c", "import socket; print(socket.if_nameindex())").expect(
        status=0, out=names + "\n")


@case
def a_bare_dump_as_go_makes_it(box):
    # syscall.NetlinkRIB of Go: RTM_GETLINK and RTM_GETADDR with a family byte alone, page-sized reads.
    script = r"""
import os, socket, struct
def rib(kind, answer):
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    s.bind((0, 0))
    s.send(struct.pack("=IHHIIB", 17, kind, 0x301, 1, 0, 0))
    pid, count = s.getsockname()[0], 0
    while True:
        data = s.recv(os.sysconf("SC_PAGESIZE"))
        while data:
            size, kind, flags, seq, to = struct.unpack_from("=IHHII", data)
            assert seq == 1 and to == pid, (seq, to)
            if kind == 3: return count
            assert kind == answer, kind
            count, data = count + 1, data[(size + 3) & ~3:]
print(rib(18, 16), rib(22, 20))
"""
    box.do(PYTHON, "-c", script).expect(status=0, out="1 2\n")
    outside = execute([PYTHON, "-c", script])
    box.do(HOST, PYTHON, "-c", script).expect(status=0, out=outside.out)


class Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"x" * int(self.path[1:])
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@case
def curl_reaches_the_hosts_servers(box):
    needs("curl")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        box.do(HOST, "curl", "-sS", f"{url}/5").expect(status=0, out="xxxxx", err="")
        box.bash(f"curl -sS {url}/20000000 | wc -c", HOST).expect(status=0, out="20000000\n", err="")
        box.do("curl", "-s", f"{url}/5").expect(status=7, out="")  # Without the host's network.
        server.shutdown()


@case
def curl_reaches_other_addresses(box):
    needs("curl", "ip")
    addresses = execute(["ip", "-4", "-br", "addr", "show", "up", "scope", "global"]).out.split()
    if len(addresses) < 3:
        raise Skip("no interface but lo")
    address = addresses[2].split("/")[0]
    with http.server.ThreadingHTTPServer((address, 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        box.do(HOST, "curl", "-sS", f"http://{address}:{server.server_address[1]}/7").expect(
            status=0, out="xxxxxxx", err="")
        server.shutdown()


@case
def a_listener_is_reachable_from_the_host(box):
    script = r"""
import socket
s = socket.socket(); s.bind(("0.0.0.0", 0)); s.listen(5)
print(s.getsockname()[1], flush=True)
c, peer = s.accept()
assert c.getpeername() == peer
data = b""
while len(data) < 3000000: data += c.recv(1 << 16)
c.sendall(data[::-1]); c.shutdown(socket.SHUT_WR); assert c.recv(1) == b""
print("done")
"""
    process = box.start(HOST, PYTHON, "-c", script)
    port = b""
    while not port.endswith(b"\n"):
        byte = os.read(process.stdout.fileno(), 1)
        if not byte:
            raise Failure(f"no port: {finish(process).err}")
        port += byte
    data = os.urandom(1000) * 3000
    with socket.create_connection(("127.0.0.1", int(port)), timeout=20) as client:
        sender = threading.Thread(target=client.sendall, args=(data,))
        sender.start()
        answer = b""
        while chunk := client.recv(1 << 16):
            answer += chunk
        sender.join()
    finish(process).expect(status=0, out="done\n", err="")
    if answer != data[::-1]:
        raise Failure(f"{len(answer)} bytes came back, not what was sent")


def answer_dns(server):
    """One A record, 192.0.2.53, to every question."""
    while True:
        query, client = server.recvfrom(512)
        if not query:
            return
        question = query[12:query.index(b"\0", 12) + 5]
        server.sendto(query[:2] + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0) + question +
                      struct.pack(">HHHIH4s", 0xc00c, 1, 1, 60, 4, bytes([192, 0, 2, 53])), client)


@case
def names_are_asked_for_over_udp(box):
    script = r"""
import select, socket, struct, sys
s = socket.socket(type=socket.SOCK_DGRAM); s.setblocking(False)
s.connect(("127.0.0.1", int(sys.argv[1])))
s.send(struct.pack(">HHHHHH", 77, 0x100, 1, 0, 0, 0) + b"\3www\7example\0" + struct.pack(">HH", 1, 1))
select.select([s], [], [])
answer = s.recv(512)
print(struct.unpack(">H", answer[:2])[0], socket.inet_ntoa(answer[-4:]))
"""
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=answer_dns, args=(server,), daemon=True)
        thread.start()
        port = server.getsockname()[1]
        box.do(HOST, PYTHON, "-c", script, str(port)).expect(status=0, out="77 192.0.2.53\n")
        with socket.socket(type=socket.SOCK_DGRAM) as end:
            end.sendto(b"", ("127.0.0.1", port))
        thread.join(10)


def echo(server):
    """Sends back each byte of one connection, until its end."""
    connection, _ = server.accept()
    with connection:
        while byte := connection.recv(1):
            connection.sendall(byte)


@case
def edges_come_once(box):
    # epoll(7): what is there already, and has been told of, is no edge. Half of it is never read.
    script = r"""
import select, socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
e = select.epoll(); e.register(s, select.EPOLLIN | select.EPOLLET)
told = again = 0
for i in range(200):
    s.sendall(b"x")
    told += len(e.poll(30)); again += len(e.poll(0))
    if i % 2: s.recv(1)
s.shutdown(socket.SHUT_WR)
while s.recv(64): pass
print(told, again)
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=echo, args=(server,), daemon=True)
        thread.start()
        box.do(HOST, PYTHON, "-c", script, str(server.getsockname()[1])).expect(status=0, out="200 0\n")
        thread.join(10)


@case
def options_of_the_hosts_sockets(box):
    script = r"""
import errno, socket, struct
s = socket.socket()
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 33)
print(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), s.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
      s.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR), s.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8).hex(),
      len(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)), s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
for level, name in ((socket.IPPROTO_IP, 64), (socket.SOL_SOCKET, 26), (socket.IPPROTO_TCP, 31)):
    try: s.setsockopt(level, name, b"\0" * 16)  # IPT_SO_SET_REPLACE, SO_ATTACH_FILTER, TCP_ULP
    except OSError as e: print(errno.errorcode[e.errno])
u = socket.socket(type=socket.SOCK_DGRAM); u.bind(("127.0.0.1", 0))
u.setsockopt(socket.IPPROTO_IP, socket.IP_PKTINFO if hasattr(socket, "IP_PKTINFO") else 8, 1)
u.sendto(b"abc", u.getsockname())
data, control, flags, name = u.recvmsg(2, 100)
print(data, control[0][:2], bool(flags & socket.MSG_TRUNC), name == u.getsockname())
s.setblocking(False)
print(errno.errorcode[s.connect_ex(("127.0.0.1", u.getsockname()[1]))])
"""
    box.do(HOST, PYTHON, "-c", script).expect(
        status=0, out="1 33 1 0100000000000000 104 0\nENOPROTOOPT\nENOPROTOOPT\nENOPROTOOPT\n"
        "b'ab' (0, 8) True True\nEINPROGRESS\n")


@case
def a_dead_network_gofer_is_no_network(box):
    script = r"""
import errno, socket, sys
a = socket.socket(); a.bind(("127.0.0.1", 0)); a.listen(1)
b = socket.socket(); b.connect(a.getsockname()); c, _ = a.accept()
print("ready", flush=True)
sys.stdin.readline()
b.send(b"x"); print(c.recv(1))  # What is open goes on.
try: socket.socket()
except OSError as e: print(errno.errorcode[e.errno])
"""
    process = box.start(HOST, PYTHON, "-c", script, stdin=subprocess.PIPE)
    await_line(process)
    found = [pid for pid, name in descendants(process.pid).items() if name == "sandbox-net"]
    if len(found) != 1:
        raise Failure(f"{len(found)} network gofers")
    os.kill(found[0], signal.SIGKILL)
    finish(process, b"\n").expect(status=0, out="b'x'\nENETDOWN\n")


@case
def without_a_network_there_is_no_gofer_for_it(box):
    process = box.start("/bin/sh", "-c", "echo ready; read x", stdin=subprocess.PIPE)
    await_line(process)
    if "sandbox-net" in descendants(process.pid).values():
        raise Failure("a network gofer was started")
    finish(process, b"\n").expect(status=0)


@case
def ordinary_users_use_the_hosts_network(box):
    if os.geteuid() != 0:
        raise Skip("needs root to become somebody else")
    script = r"""
import errno, socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(1)
c = socket.create_connection(s.getsockname()); d, _ = s.accept()
d.sendall(b"hello"); print(c.recv(5))
try: socket.socket().bind(("127.0.0.1", 7))
except OSError as e: print(errno.errorcode[e.errno])
"""
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--",
               *box.command(HOST, PYTHON, "-c", script)]
    execute(command, cwd="/").expect(status=0, out="b'hello'\nEACCES\n")


@case
def privileged_ports_of_the_host(box):
    script = r"""
import errno, os, socket
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.53", 1019)); print(s.getsockname()[1])
os.setresuid(65534, 65534, 65534)
try: socket.socket().bind(("127.0.0.53", 1018))
except OSError as e: print(errno.errorcode[e.errno])
try: socket.socket(type=socket.SOCK_RAW, proto=socket.IPPROTO_ICMP)
except OSError as e: print(errno.errorcode[e.errno])
"""
    if os.geteuid() != 0:
        raise Skip("needs root")
    box.do(HOST, PYTHON, "-c", script).expect(status=0, out="1019\nEACCES\nEPERM\n")


def line_of(process):
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(process.stdout.fileno(), 1)
        if not byte:
            raise Failure(f"no line: {finish(process).err}")
        line += byte
    return line.decode().strip()


def rows_of_port(port):
    """States of the host's TCP sockets that have it at either end."""
    states = []
    with open("/proc/net/tcp") as table:
        for line in table.readlines()[1:]:
            words = line.split()
            if f"{port:04X}" in (words[1].split(":")[1], words[2].split(":")[1]):
                states.append(words[3])
    return states


@case
def a_connection_over_loopback_stays_inside(box):
    script = r"""
import os, select, socket, sys
s = socket.socket(); s.bind(("0.0.0.0", 0)); s.listen(5)
port = s.getsockname()[1]
c = socket.create_connection(("127.0.0.1", port)); d, peer = s.accept()
assert peer == c.getsockname() and c.getpeername() == d.getsockname() == ("127.0.0.1", port)
print(port, flush=True)
sys.stdin.readline()
e = select.epoll(); e.register(s.fileno(), select.EPOLLIN)
assert e.poll(0) == []
print("waiting", flush=True)
assert e.poll() == [(s.fileno(), select.EPOLLIN)]  # Somebody on the host.
f, _ = s.accept(); assert e.poll(0) == []
pid = os.fork()
if pid == 0:
    g = socket.create_connection(("127.0.0.1", port)); g.sendall(f.recv(5)); os._exit(0)
assert e.poll() == [(s.fileno(), select.EPOLLIN)]  # Somebody inside.
h, _ = s.accept(); assert h.recv(5) == b"hello" and h.recv(1) == b""; os.waitpid(pid, 0)
rows = [l.split() for l in open("/proc/net/tcp").readlines()[1:]]
inodes = [os.fstat(x.fileno()).st_ino for x in (s, c, d)]
print([[r[3] for r in rows if r[9] == str(i)] for i in inodes])
"""
    process = box.start(HOST, PYTHON, "-c", script, stdin=subprocess.PIPE)
    port = int(line_of(process))
    if rows_of_port(port) != ["0A"]:
        raise Failure(f"the host has {rows_of_port(port)}")
    process.stdin.write(b"\n")
    process.stdin.flush()
    line_of(process)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"hello")
        finish(process).expect(status=0, out="[['0A'], ['01'], ['01']]\n", err="")


def bytes_waiting(port):
    """In the queues of the host's UDP sockets that have the port."""
    with open("/proc/net/udp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return [int(row[4].split(":")[1], 16) for row in rows if row[1].endswith(f":{port:04X}")]


@case
def datagrams_over_loopback_stay_inside(box):
    script = r"""
import fcntl, os, select, socket, struct, sys, termios
s = socket.socket(type=socket.SOCK_DGRAM); s.bind(("0.0.0.0", 0)); port = s.getsockname()[1]
def send(text, connected):
    if os.fork() == 0:
        c = socket.socket(type=socket.SOCK_DGRAM)
        if connected: c.connect(("127.0.0.1", port)); c.send(text)
        else: c.sendto(text, ("127.0.0.1", port))
        answer, peer = c.recvfrom(9)
        os._exit(0 if (answer, peer) == (text[::-1], ("127.0.0.1", port)) else 1)
send(b"one", True); select.select([s], [], [])
print(port, struct.unpack("i", fcntl.ioctl(s, termios.FIONREAD, b"----"))[0], flush=True)
sys.stdin.readline()
for i in range(2):
    data, peer = s.recvfrom(9, socket.MSG_PEEK); assert s.recvfrom(9) == (data, peer)
    s.sendto(data[::-1], peer); print(data, os.waitstatus_to_exitcode(os.wait()[1]))
    if i == 0: send(b"two", False)
print("now", flush=True)
data, peer = s.recvfrom(9); s.sendto(data[::-1], peer)  # Somebody on the host.
c = socket.socket(type=socket.SOCK_DGRAM); c.connect(("127.0.0.1", port)); s.close()
try: c.send(b"x"); c.recv(1)
except OSError as e: print(e.strerror)
"""
    process = box.start(HOST, PYTHON, "-c", script, stdin=subprocess.PIPE)
    port, waiting = map(int, line_of(process).split())
    if waiting != 3 or bytes_waiting(port) != [0]:
        raise Failure(f"{waiting} bytes are there, of which the host has {bytes_waiting(port)}")
    process.stdin.write(b"\n")
    process.stdin.flush()
    lines = [line_of(process) for _ in range(3)]
    if lines != ["b'one' 0", "b'two' 0", "now"]:
        raise Failure(f"{lines}")
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.sendto(b"host", ("127.0.0.1", port))
        if client.recvfrom(9) != (b"tsoh", ("127.0.0.1", port)):
            raise Failure("another answer")
    finish(process).expect(status=0, out="Connection refused\n", err="")


@case
def who_is_not_inside_is_reached_over_loopback(box):
    script = r"""
import errno, socket, sys
port = int(sys.argv[1])
for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::ffff:127.0.0.1")):
    c = socket.socket(family); c.connect((host, port)); c.sendall(b"who"); print(c.recv(9))
s = socket.socket(); s.bind(("127.0.0.1", 0)); free = s.getsockname()
c = socket.socket(); print(errno.errorcode[c.connect_ex(free)])
s.listen(1); print(c.connect_ex(free), s.accept()[1] == c.getsockname())
s.shutdown(socket.SHUT_RDWR); print(c.recv(1) if False else errno.errorcode[socket.socket().connect_ex(free)])
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        def answer():
            for _ in range(2):
                with server.accept()[0] as one:
                    one.sendall(one.recv(3) + b" host")
        threading.Thread(target=answer, daemon=True).start()
        box.do(HOST, PYTHON, "-c", script, str(server.getsockname()[1])).expect(
            status=0, out="b'who host'\nb'who host'\nECONNREFUSED\n0 True\nECONNREFUSED\n", err="")


@case
def options_go_along_into_memory(box):
    script = r"""
import errno, os, socket, struct
s = socket.socket(socket.AF_INET6); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1); s.bind(("::", 0)); s.listen(1)
c = socket.socket(); c.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77); c.setblocking(False)
print(c.connect_ex(("127.0.0.1", s.getsockname()[1])) in (0, errno.EINPROGRESS))
d, peer = s.accept(); print(peer[0], d.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
print(c.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), c.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE))
try: c.recv(1)
except BlockingIOError: print("nothing")
d.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); d.close()
try: c.recv(1)
except OSError as e: print(errno.errorcode[e.errno])
c.close(); s.close()
t = socket.socket(); t.bind(("127.0.0.1", 0)); t.listen(1)
c = socket.socket(); c.bind(("127.0.0.7", 0)); c.connect(t.getsockname())
print(t.accept()[1] == c.getsockname(), c.getsockname()[0])
"""
    box.do(HOST, PYTHON, "-c", script).expect(
        status=0, err="",
        out="True\n::ffff:127.0.0.1 1\n0 77\nnothing\nECONNRESET\nTrue 127.0.0.7\n")


# In front of a listener on an interface of its own: SYNs that nobody follows up, then clients.
HALF_OPEN = r"""
import fcntl, os, socket, struct, subprocess, sys
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH22x", b"t0", 0x1001))  # TUNSETIFF: TUN, NO_PI.
subprocess.run("ip link set lo up; ip addr add 10.1.1.1/24 dev t0; ip link set t0 up", shell=True,
               check=True)
server = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True)
port = int(server.stdout.readline())
def check(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff
to = bytes([10, 1, 1, 1])
def send_syn(number):
    source = bytes([10, 1, 1, 2 + number % 200])
    def tcp(sum): return struct.pack("!HHIIBBHHH", 1024 + number, port, number, 0, 0x50, 2, 1000, sum, 0)
    tcp_sum = check(source + to + struct.pack("!HH", 6, 20) + tcp(0))
    def ip(sum): return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, sum, source, to)
    os.write(tun, ip(check(ip(0))) + tcp(tcp_sum))
for number in range(3000): send_syn(number)
half_open = sum(line.split()[3] == "03" for line in list(open("/proc/net/tcp"))[1:])
print(half_open >= 8)
for i in range(20):
    with socket.create_connection(("10.1.1.1", port)) as client:
        for number in range(3000 + 100 * i, 3100 + 100 * i): send_syn(number)
        client.sendall(b"%d" % i)
        assert client.recv(10) == b"got %d" % i
print(server.communicate()[0], server.returncode)
"""
SERVER = r"""
import socket
listener = socket.socket(); listener.bind(("0.0.0.0", 0)); listener.listen(8)
port = listener.getsockname()[1]
print(port, flush=True)
def serve():
    with listener.accept()[0] as server: server.sendall(b"got " + server.recv(10))
for i in range(20): serve()
client = socket.create_connection(("127.0.0.1", port)); client.sendall(b"own"); serve()
print(client.recv(10))
"""


@case
def half_open_connections_keep_nobody_out(box):
    needs("ip", "unshare")
    def run(*server):
        return execute(["unshare", "-n", PYTHON, "-c", HALF_OPEN, *server])
    outside = run(PYTHON, "-c", SERVER)
    if "unshare" in outside.err or "/dev/net/tun" in outside.err:
        raise Skip("no rights to make a network of one's own")
    outside.expect(status=0, out="True\nb'got own'\n 0\n")
    run(*box.command(HOST, PYTHON, "-c", SERVER)).expect(status=0, out=outside.out)
