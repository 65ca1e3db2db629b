# needs: bash coreutils grep
# group: processes
start
for ((i = 0; i < 60; i++)); do printf 'one\ntwo\n' | tr a-z A-Z | grep -c TWO > out; done
stop
