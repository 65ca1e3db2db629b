# needs: python3
# group: channels
start
python3 - <<'P'
import os, socket
listener = socket.create_server(("127.0.0.1", 0))
if os.fork() == 0:
    b = listener.accept()[0]
    b.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while b.recv(1):
        b.send(b"x")
    os._exit(0)
a = socket.create_connection(listener.getsockname())
a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for _ in range(10000):
    a.send(b"x")
    a.recv(1)
P
stop
