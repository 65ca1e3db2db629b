# needs: python3
# group: channels
start
python3 - <<'P'
import os, socket
listener = socket.create_server(("127.0.0.1", 0))
piece = bytearray(65536)
if os.fork() == 0:
    b = listener.accept()[0]
    while b.recv_into(piece):
        pass
    os._exit(0)
a = socket.create_connection(listener.getsockname())
for _ in range(8192):
    a.sendall(piece)
a.close()
os.wait()
P
stop
