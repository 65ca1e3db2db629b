# needs: python3
# group: files
head -c 16777216 /dev/urandom > data
start
python3 - <<'P'
import os, random
fd = os.open("data", os.O_RDONLY)
random.seed(1)
for _ in range(100000):
    os.pread(fd, 4096, random.randrange(4096) * 4096)
P
stop
