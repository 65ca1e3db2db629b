"""Servers that people run, each with its own client; rows as in table.py.

Addresses of 127/8 keep rows apart from what else runs on the machine. Servers are awaited by trying, never by
time; what they print is reduced to what must be the same everywhere.
"""

NGINX = r'''
mkdir logs www; echo 'hello from nginx' > www/index.html; head -c 3000000 /dev/zero | tr '\0' x > www/large
cat > nginx.conf <<'END'
user root; daemon on; worker_processes 2; pid nginx.pid; error_log logs/error.log;
events { worker_connections 512; }
http {
  access_log logs/access.log; sendfile on;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  server { listen 127.45.6.8:5101; listen unix:nginx.sock; root www; }
  server { listen 127.45.6.8:5102; location / { proxy_pass http://127.45.6.8:5101; } }
}
END
nginx -p $PWD -c nginx.conf 2> /dev/null || exit 1
curl -s http://127.45.6.8:5101/; curl -s http://127.45.6.8:5102/; curl -s --unix-socket nginx.sock http://x/
curl -s http://127.45.6.8:5102/large | md5sum
curl -s -o /dev/null -w '%{http_code}\n' http://127.45.6.8:5101/missing
wrk -t2 -c20 -d1s http://127.45.6.8:5101/ > wrk.out; grep -c 'Requests/sec' wrk.out
grep -c 'Socket errors' wrk.out; grep -c 'Non-2xx' wrk.out
nginx -p $PWD -c nginx.conf -s quit 2> /dev/null
while test -e nginx.pid; do sleep 0.05; done; grep -c emerg logs/error.log
'''

POSTGRES = r'''
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1); home=$(mktemp -d); chmod 700 $home; chown postgres $home
cd $home; trap 'rm -rf $home' EXIT
run() { setpriv --reuid postgres --regid postgres --clear-groups env HOME=$PWD LC_ALL=C "$@"; }
run $bin/initdb -D data -A trust --no-sync > initdb.log 2>&1 || { cat initdb.log; exit 1; }
run $bin/pg_ctl -D data -w -t 60 -l log -o "-c listen_addresses=127.45.6.8 -p 5103 -k $PWD -c fsync=off" start > ctl 2>&1 ||
  { cat ctl log; exit 1; }
sql="run psql -h $PWD -p 5103 -d postgres -At"
$sql -c 'create table t (n int primary key, s text)' -c "insert into t select n, md5(n::text) from generate_series(1, 5000) n" \
  -c 'select count(*), sum(n), min(s) from t'
run psql -h 127.45.6.8 -p 5103 -d postgres -At -c "select s from t where n = 77"
run $bin/pgbench -h $PWD -p 5103 -i -q -s 1 postgres > bench.log 2>&1; echo $?
run $bin/pgbench -h 127.45.6.8 -p 5103 -n -c 4 -j 2 -t 50 postgres 2>&1 | grep -o 'actually processed: 200/200'
run $bin/pg_ctl -D data -w -m fast stop > /dev/null; echo $?; grep -c -e FATAL -e PANIC log
'''

NODE = r'''
const http = require('http'), net = require('net');
const server = http.createServer((request, response) => {
  let size = 0;
  request.on('data', part => size += part.length);
  request.on('end', () => response.end(request.method + ' ' + request.url + ' ' + size));
});
const ask = (options, body) => new Promise((resolve, reject) => {
  const request = http.request(options, response => {
    let text = '';
    response.on('data', part => text += part);
    response.on('end', () => resolve(response.statusCode + ' ' + text));
  });
  request.on('error', reject);
  request.end(body);
});
server.listen(0, '127.0.0.1', async () => {
  const port = server.address().port;
  const answers = await Promise.all([...Array(100).keys()].map(i => ask({port, host: '127.0.0.1', path: '/' + i})));
  console.log(answers.every((answer, i) => answer === '200 GET /' + i + ' 0'));
  console.log(await ask({port, host: 'localhost', method: 'POST', path: '/post'}, Buffer.alloc(2000000, 'x')));
  server.close();
  server.closeAllConnections();
  const local = http.createServer((request, response) => response.end('by name'));
  local.listen('node.sock', async () => {
    console.log(await ask({socketPath: 'node.sock', path: '/'}));
    local.close();
    local.closeAllConnections();
    net.connect({port: 1, host: '127.45.6.9'}).on('error', error => console.log(error.code));
  });
});
'''

JAVA = r'''
import java.net.*; import java.nio.*; import java.nio.channels.*; import java.util.*;
public class Echo {
  public static void main(String[] arguments) throws Exception {
    Selector selector = Selector.open();
    ServerSocketChannel listener = ServerSocketChannel.open();
    listener.bind(new InetSocketAddress("127.0.0.1", 0));
    listener.configureBlocking(false);
    listener.register(selector, SelectionKey.OP_ACCEPT);
    InetSocketAddress address = (InetSocketAddress) listener.getLocalAddress();
    Thread client = new Thread(() -> {
      try {
        for (int i = 0; i < 50; ++i) {
          try (SocketChannel channel = SocketChannel.open(address)) {
            ByteBuffer out = ByteBuffer.allocate(20000);
            while (out.hasRemaining()) out.put((byte) i);
            out.flip();
            while (out.hasRemaining()) channel.write(out);
            ByteBuffer in = ByteBuffer.allocate(20000);
            while (in.hasRemaining() && channel.read(in) >= 0) {}
            if (in.hasRemaining() || in.get(19999) != i) throw new Exception("wrong echo");
          }
        }
        System.out.println("echoed");
      } catch (Exception failure) { System.out.println(failure); }
      System.out.flush(); Runtime.getRuntime().halt(0);
    });
    client.start();
    for (;;) {
      selector.select();
      for (Iterator<SelectionKey> keys = selector.selectedKeys().iterator(); keys.hasNext();) {
        SelectionKey key = keys.next(); keys.remove();
        if (key.isAcceptable()) {
          SocketChannel channel = listener.accept();
          channel.configureBlocking(false);
          channel.register(selector, SelectionKey.OP_READ);
        } else {
          SocketChannel channel = (SocketChannel) key.channel();
          ByteBuffer buffer = ByteBuffer.allocate(4096);
          if (channel.read(buffer) < 0) { channel.close(); continue; }
          buffer.flip();
          while (buffer.hasRemaining()) channel.write(buffer);
        }
      }
    }
  }
}
'''

INTERFACES = r'''
import java.net.*; import java.util.*;
public class Interfaces {
  public static void main(String[] arguments) throws Exception {
    NetworkInterface lo = NetworkInterface.getByName("lo");
    System.out.println(lo.isLoopback() + " " + lo.isUp() + " " + lo.getMTU());
    System.out.println(InetAddress.getByName("127.0.0.1").isReachable(1000));
  }
}
'''

SSH = r'''
ssh-keygen -q -t ed25519 -N '' -f host_key; ssh-keygen -q -t ed25519 -N '' -f user_key; cp user_key.pub authorized
chmod 600 authorized; chmod 755 .
cat > sshd_config <<END
ListenAddress 127.45.6.8:5104
HostKey $PWD/host_key
AuthorizedKeysFile $PWD/authorized
StrictModes no
UsePAM no
PidFile $PWD/sshd.pid
PermitRootLogin yes
Subsystem sftp internal-sftp
END
test -d /run/sshd || { mkdir /run/sshd && trap 'rmdir /run/sshd' EXIT; }; $(command -v sshd || echo /usr/sbin/sshd) -f $PWD/sshd_config -E sshd.log || { cat sshd.log; exit 1; }
options="-q -F none -i user_key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes -p 5104"
until ssh $options root@127.45.6.8 'echo hello; cat; exit 7' < /etc/passwd > out; test $? != 255; do sleep 0.1; done
head -1 out; tail -n +2 out | cmp - /etc/passwd && echo same
ssh $options root@127.45.6.8 'exit 7'; echo $?
ssh -tt $options root@127.45.6.8 'tty | sed s/[0-9]*$//; stty -a | grep -c rows' < /dev/null | tr -d '\r'
head -c 1000000 /dev/urandom > big; ssh $options root@127.45.6.8 md5sum < big | cmp - <(md5sum < big) && echo intact
kill $(cat sshd.pid); while test -e sshd.pid; do sleep 0.05; done
'''

REDIS = r'''
redis-server --port 0 --unixsocket $PWD/redis.sock --save '' --appendonly no --daemonize no > log & cli="redis-cli -s redis.sock"
until $cli ping 2> /dev/null | grep -q PONG; do sleep 0.05; done
$cli set key value; $cli get key; $cli eval 'return redis.call("incrby", "n", 42)' 0
for i in $(seq 200); do echo "lpush list $i"; done | $cli > /dev/null; $cli llen list
(until [ "$($cli publish channel message)" = 1 ]; do sleep 0.05; done; $cli client kill type pubsub > /dev/null) & $cli subscribe channel 2>&1 | head -6 | tail -3
redis-benchmark -s redis.sock -q -n 3000 -c 20 -P 4 -t set,get 2>&1 | tr '\r' '\n' | grep -c 'requests per second, '
$cli shutdown nosave; wait; echo done
'''

PROGRAMS = [
    ("redis_unix", REDIS, {"needs": ["redis-server", "redis-benchmark"]}),
    ("nginx", NGINX, {"needs": ["nginx", "wrk", "curl"]}),
    ("postgresql", POSTGRES, {"needs": ["psql", "setpriv"], "limit": 120}),
    ("node_http", f"cat > server.js <<'END'\n{NODE}\nEND\nnode server.js", {"needs": ["node"]}),
    ("java_nio", f"cat > Echo.java <<'END'\n{JAVA}\nEND\njava -Xshare:auto -XX:TieredStopAtLevel=1 Echo.java",
     {"needs": ["java", "javac"]}),
    ("java_interfaces", f"cat > Interfaces.java <<'END'\n{INTERFACES}\nEND\n"
                        "java -XX:TieredStopAtLevel=1 Interfaces.java", {"needs": ["java", "javac"]}),
    ("ssh", SSH, {"needs": ["ssh", "ssh-keygen", "sshd"], "limit": 120}),
]
