# needs: python3
# group: channels
start
python3 - <<'P'
import os, socket
a, b = socket.socketpair()
if os.fork() == 0:
    a.close()
    while b.recv(1):
        b.send(b"x")
    os._exit(0)
b.close()
for _ in range(10000):
    a.send(b"x")
    a.recv(1)
P
stop
