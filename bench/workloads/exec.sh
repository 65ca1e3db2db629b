# needs: bash
# group: processes
start
for ((i = 0; i < 200; i++)); do /bin/true; done
stop
