# needs: redis-server redis-tools
# group: servers
redis-server --port 0 --unixsocket "$PWD/s" --save '' --appendonly no > log 2>&1 &
until redis-cli -s "$PWD/s" ping > pong 2> /dev/null; do kill -0 %1; done
start
redis-benchmark -s "$PWD/s" -t get,set -n 20000 -q > result
stop
redis-cli -s "$PWD/s" shutdown nosave 2> /dev/null || true
wait
