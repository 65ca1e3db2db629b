"""Programs that talk over the loopback interface; rows as in table.py.

Addresses of 127/8 that nobody else uses keep rows apart from what else runs on the machine. Servers are
awaited by trying, never by time.
"""

PY = "/usr/bin/python3"

# A server that answers all, and clients by thousands; what the kernel has to hold at once.
THOUSANDS = r'''
import resource, select, socket, sys
count = int(sys.argv[1])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
count = min(count, (hard - 50) // 2)
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(128)
poller = select.epoll()
clients, servers = [], {}
for i in range(count):
    client = socket.create_connection(listener.getsockname())
    server, peer = listener.accept()
    assert peer == client.getsockname()
    clients.append(client)
    servers[server.fileno()] = server
    poller.register(server, select.EPOLLIN)
for i in range(0, count, 7):
    clients[i].send(b"%d" % i)
left = len(range(0, count, 7))
while left:
    for fd, events in poller.poll(10):
        servers[fd].send(servers[fd].recv(100)[::-1])
        left -= 1
for i in range(0, count, 7):
    assert clients[i].recv(100) == (b"%d" % i)[::-1]
for client in clients:
    client.close()
ended = 0
while ended < count:
    for fd, events in poller.poll(10):
        assert servers[fd].recv(10) == b""
        servers.pop(fd).close()
        ended += 1
print("served")
'''

# Connections that are reset before and after they are accepted, and one that is not.
ABORTS = r'''
import socket, struct
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(16)
for i in range(3000):
    client = socket.socket()
    client.setblocking(False)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.connect_ex(listener.getsockname())
    client.close()
    if i % 10 == 0:
        listener.settimeout(0.001)
        try:
            while True: listener.accept()[0].close()
        except OSError:
            pass
listener.settimeout(None)
import threading
def serve():
    while True:
        server = listener.accept()[0]
        try:
            if server.recv(5) == b"hello":
                return server.sendall(b"still here")
        except OSError:
            pass
thread = threading.Thread(target=serve)
thread.start()
client = socket.create_connection(listener.getsockname())
client.sendall(b"hello")
print(client.recv(100))
thread.join()
'''

# A queue that is full of connections which nobody has accepted, most of them given up or aborted:
# whoever has come and stays is served in the end, in front of them or behind them.
FLOOD = r'''
import select, socket, struct
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(128)
held = [socket.create_connection(listener.getsockname()) for i in range(100)]
for i in range(3000):
    client = socket.socket()
    client.setblocking(False)
    if i % 2: client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.connect_ex(listener.getsockname())
    client.close()
last = socket.socket()
last.setblocking(False)
last.connect_ex(listener.getsockname())
listener.setblocking(False)
poller = select.poll()
poller.register(listener, select.POLLIN)
waiting = {client.getsockname() for client in held + [last]}
while waiting:
    poller.poll()
    try:
        server, peer = listener.accept()
        server.sendall(b"served")
    except OSError:
        continue
    waiting.discard(peer)
for client in held + [last]:
    client.setblocking(True)
    assert client.recv(100) == b"served"
print("all served")
'''

ASYNC = r'''
import asyncio
async def serve(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()
async def ask(port, i):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for j in range(20):
        writer.write(b"line %d %d\n" % (i, j))
        assert await reader.readline() == b"LINE %d %d\n" % (i, j)
    writer.close()
    await writer.wait_closed()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await asyncio.gather(*(ask(port, i) for i in range(100)))
    server.close()
    print("answered")
asyncio.run(main())
'''

HTTP = r'''
import http.server, threading, urllib.request
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.path.encode() * 1000)
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
for i in range(50):
    with urllib.request.urlopen("http://127.0.0.1:%d/%d" % (server.server_address[1], i)) as answer:
        assert answer.read() == b"/%d" % i * 1000
server.shutdown()
print("read")
'''


def python(script, *arguments):
    return f"cat > script.py <<'END'\n{script}\nEND\n{PY} script.py {' '.join(arguments)}"


PROGRAMS = [
    ("ping", "ping -c 3 -i 0.2 -q 127.0.0.1 | grep -o '3 received, 0% packet loss'; "
             "ping -c 2 -i 0.2 -q ::1 | grep -o '2 received, 0% packet loss'", {"needs": ["ping"]}),
    ("ping_size", "ping -c 1 -s 4000 127.0.0.2 | grep -o '4008 bytes from 127.0.0.2: icmp_seq=1 ttl=64'",
     {"needs": ["ping"]}),
    ("nc", "nc -l 127.45.6.7 5001 > got & until echo hello | nc -N 127.45.6.7 5001; do sleep 0.05; "
           "done 2> /dev/null; wait; cat got", {"needs": ["nc"]}),
    ("nc_refused", "nc -z 127.45.6.7 5002; echo $?", {"needs": ["nc"]}),
    ("socat", "socat TCP4-LISTEN:5003,bind=127.45.6.7,fork,reuseaddr EXEC:'tr a-z A-Z' 2> /dev/null & "
              "until echo abc | socat -t5 - TCP4:127.45.6.7:5003 > got 2> /dev/null; do sleep 0.05; done; "
              "cat got; seq 100000 | socat -t5 - TCP4:127.45.6.7:5003 | md5sum; kill %1",
     {"needs": ["socat"]}),
    ("socat_udp", "socat -u UDP4-RECV:5004,bind=127.45.6.7 OPEN:got,creat & "
                  "until grep -q packet got 2> /dev/null; do echo packet | "
                  "socat -u - UDP4-SENDTO:127.45.6.7:5004; done; kill %1; head -1 got",
     {"needs": ["socat"]}),
    ("iperf3", "iperf3 -s -1 -B 127.45.6.7 -p 5005 > server & "
               "until iperf3 -c 127.45.6.7 -p 5005 -n 200M > client 2>&1; do sleep 0.05; done; wait; "
               "grep -c receiver client; grep -c 'unable\\|error' client", {"needs": ["iperf3"]}),
    ("redis", "ln -s /usr/bin/redis-check-rdb redis-server; ./redis-server --bind 127.45.6.7 --port 5006 "
              "--save '' --appendonly no --daemonize no > log & cli='redis-cli -h 127.45.6.7 -p 5006'; "
              "until $cli ping 2> /dev/null | grep -q PONG; do sleep 0.05; done; $cli set key value; "
              "$cli get key; redis-benchmark -h 127.45.6.7 -p 5006 -q -n 3000 -c 20 -t set,get,lpush "
              "2>&1 | tr '\\r' '\\n' | grep -c 'requests per second, '; $cli shutdown nosave; wait; echo $?",
     {"needs": ["redis-benchmark", "redis-check-rdb"]}),
    ("ten_thousand_connections", python(THOUSANDS, "10000"), {"needs": [PY]}),
    ("aborted_connections", python(ABORTS), {"needs": [PY]}),
    ("flooded_listener", python(FLOOD), {"needs": [PY]}),
    ("asyncio_echo", python(ASYNC), {"needs": [PY]}),
    ("http_server", python(HTTP), {"needs": [PY]}),
]
