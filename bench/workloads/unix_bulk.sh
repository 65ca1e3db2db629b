# needs: python3
# group: channels
start
python3 - <<'P'
import os, socket
a, b = socket.socketpair()
piece = bytearray(65536)
if os.fork() == 0:
    a.close()
    while b.recv_into(piece):
        pass
    os._exit(0)
b.close()
for _ in range(8192):
    a.sendall(piece)
a.close()
os.wait()
P
stop
