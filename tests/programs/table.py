"""Programs whose output and status must be the same inside as natively.

A row is (name, script) or (name, script, options). Each script runs under bash in a fresh working
directory that it may litter. Options: needs=[programs], stdin=text, and, where the native answer
is not the wanted one, status= and out= (a regular expression) instead of a native run.
"""

PY = "/usr/bin/python3"

PROGRAMS = [
    # The commands of the README.
    ("echo", "echo hello"),
    ("pipeline", "for i in 1 2 3; do echo $i; done | sort -r | head -1; exit 7"),
    ("python_uname", f"{PY} -c 'import os,sys,json; print(os.getpid(), json.dumps(os.uname()[:2]))'",
     {"needs": [PY], "out": r'\d+ \["Linux", ".+"\]\n', "status": 0}),
    ("gcc_42", 'printf "int main(){return 42;}" > a.c && gcc a.c && ./a.out', {"needs": ["gcc"]}),
    ("wc_stdin", "wc -c", {"stdin": "data\n"}),

    # Files.
    ("ls_root", "ls -la /", {"out": r"(?s)total.* etc\n.* usr\n.*", "status": 0}),
    ("ls_names", "ls -A /usr /usr/bin | md5sum"),
    ("ls_long", "ls -ln /usr/bin | md5sum"),
    ("find", "find /usr/include -name 'std*.h' | sort"),
    ("find_exec", "mkdir -p a/b/c; touch a/x a/b/y; find a -type f -exec basename {} \\; | sort"),
    ("grep_r", "grep -rl 'define.*EPERM' /usr/include | sort"),
    ("stat", "stat -c '%n %s %a %u %g %F %h' /bin/bash /etc/passwd /usr"),
    ("cp_a", "cp -a /usr/share/perl5 . 2>/dev/null || cp -a /etc/default .; find . -type f | sort | "
             "xargs -d '\\n' md5sum | md5sum; find . ! -type d -printf '%p %m %T@\\n' | sort | md5sum"),
    ("links", "echo x > f; ln f hard; ln -s f soft; ln -s nowhere broken; cat soft; stat -c %h hard; "
              "readlink soft; readlink -f soft | xargs basename; test -e broken; echo $?"),
    ("rm_tree", "mkdir -p t/{1..20}/{a..e}; touch t/{1..20}/{a..e}/f; find t | wc -l; rm -r t; ls | wc -l"),
    ("mv_cp", "echo 1 > a; cp a b; mv b c; mkdir d; mv c d; cat d/c; mv -n a d/c; cat a; install -m 751 a e; stat -c %a e"),
    ("permissions", "umask 027; touch f; mkdir d; stat -c %a f d; chmod u=rwx,g=s,o= f; stat -c %a f; chown 12:34 f; stat -c %u:%g f"),
    ("touch", "touch -d '2001-02-03 04:05:06.789 UTC' f; TZ=UTC stat -c %y f; touch -r f g; test f -nt g; echo $?"),
    ("truncate_sparse", "truncate -s 10M f; stat -c %s f; md5sum < f; echo x >> f; stat -c %s f"),
    ("tar_metadata",
     "mkdir -p d/sub; echo data > d/f; ln d/f d/hard; ln -s f d/soft; mkfifo d/fifo; chmod 4711 d/f; "
     "chmod 1777 d/sub; chown 7:8 d/f; touch -h -d @1000000000 d/* d; mkdir out; "
     "tar c d | tar xp -C out; cd out; tar --full-time -tvf <(tar c d) | sort; "
     "find d -printf '%p %y %m %n %U %G %T@ %l\\n' | sort"),
    ("gzip", "head -c 300000 /usr/bin/perl | tee f | gzip -9 > f.gz; gunzip -c f.gz | cmp - f && echo same; gzip -l f.gz | wc -l"),
    ("xz", "seq 20000 | xz | xz -d | md5sum", {"needs": ["xz"]}),
    ("dd_cmp", "dd if=/dev/zero of=z bs=4k count=100 2>/dev/null; dd if=/usr/bin/perl of=p bs=1000 skip=3 count=50 2>&1 | head -2; "
               "head -c 53000 /usr/bin/perl | tail -c 50000 | cmp - p; cmp z p; echo $?"),
    ("split_cat", "seq 1000 > f; split -l 100 f part.; ls part.* | wc -l; cat part.* | cmp - f; echo $?"),
    ("sha", "cat /usr/bin/perl /usr/bin/bash | sha256sum"),
    ("flock", "flock lock sh -c 'flock -n lock echo no || echo busy'; flock -n lock echo free", {"needs": ["flock"]}),
    ("file_descriptors", "exec 5> f 6>&5; echo five >&5; echo six >&6; exec 5>&- 6>&-; cat f; exec 7< f; read -u 7 l; echo $l; { echo x >&9; } 2>&1 | grep -o 'Bad file.*'"),

    # Text.
    ("sed", "seq 10 | sed -n '2,4p;$!d;s/1/one/p'; echo hello > f; sed -i.bak s/l/L/g f; cat f f.bak"),
    ("awk", "seq 100 | awk '{s+=$1; a[$1%7]++} END {print s; for (i=0;i<7;i++) print i, a[i]}'"),
    ("sort_uniq", "cut -d: -f7 /etc/passwd | sort | uniq -c | sort -rn"),
    ("sort_large", "seq 200000 | sort -R --random-source=/usr/bin/perl | sort -n | md5sum"),
    ("coreutils", "seq 5 | paste -sd+ | bc; echo abc | tr a-c A-C | rev; seq 3 | tac; printf 'a b\\nc d\\n' | cut -d' ' -f2; echo x | od -c; seq 20 | shuf -n 3 | wc -l; factor 60; expr 6 '*' 7", {"needs": ["bc", "rev"]}),
    ("diff_patch", "seq 20 > a; sed 's/^7$/seven/;15d' a > b; diff -u --label a --label b a b > p; cat p; patch -s a p; cmp a b && echo same"),
    ("strings", "strings /bin/true | md5sum", {"needs": ["strings"]}),
    ("date", "TZ=UTC date -d @86400 +%FT%T; test $(date +%Y) -ge 2024; echo $?"),

    # Shells.
    ("here_doc", "x=5; cat <<A <<B\nlost\nA\nvalue $x\nB\ncat <<'E'\n$x\nE\ncat <<< here-string"),
    ("arrays", "a=(x 'y z' w); a+=(v); echo ${#a[@]} \"${a[1]}\" ${a[@]:2}; declare -A m=([k]=1 [j]=2); echo ${m[j]} ${!m[@]} | tr ' ' '\\n' | sort"),
    ("process_substitution", "diff <(seq 3) <(seq 2 4); comm -12 <(seq 5) <(seq 3 8); tee >(wc -l > n) < <(seq 9) > /dev/null; until [ -s n ]; do sleep 0.01; done; cat n"),
    ("traps", "trap 'echo usr1' USR1; trap 'echo exit' EXIT; kill -USR1 $$; echo after; (exit 3); echo $?; exit 4"),
    ("pipefail", "set -o pipefail; false | true; echo $?; exit 3 | true; echo ${PIPESTATUS[@]}"),
    ("subshells", "x=1; (x=2; echo $x; exit 5); echo $? $x; y=$(echo $(echo nested) ); echo $y; echo $BASH_SUBSHELL $(echo $BASH_SUBSHELL)"),
    ("background", "for i in 3 1 2; do (sleep 0.$i; echo $i >> f) & done; wait; sort f; echo done; false & wait $!; echo $?; wait -n 2>/dev/null; echo $?"),
    ("wait_signal", "sleep 100 & kill $!; wait $!; echo $?; sleep 100 & kill -9 $!; wait $!; echo $?"),
    ("read_loop", "i=0; while IFS=: read -r u _ id _; do i=$((i+1)); [ $id = 0 ] && echo $u; done < /etc/passwd; echo $((i > 5))"),
    ("fifo", "mkfifo p; (echo one; echo two) > p & cat p; wait"),
    ("coproc", "coproc cat; echo hi >&${COPROC[1]}; read -u ${COPROC[0]} x; echo $x; kill $COPROC_PID"),
    ("deep_recursion", "f() { [ $1 = 0 ] || f $(($1-1)); }; f 500; echo $?"),
    ("many_processes", "for i in $(seq 100); do /bin/true || echo bad; done; echo ok"),
    ("dash", "dash -c 'x=3; while [ $x -gt 0 ]; do echo $x; x=$((x-1)); done; exit 9'", {"needs": ["dash"]}),
    ("busybox", "busybox sh -c 'busybox echo static; busybox seq 3 | busybox wc -l; exit 11'", {"needs": ["busybox"]}),
    ("script_file", "printf '#!/bin/sh\\necho \"$0 $1\"\\nexit 6\\n' > s; chmod +x s; ./s arg; echo $?; PATH=.:$PATH s b"),
    ("limits", "ulimit -n 64; ulimit -n; ulimit -c; ulimit -s"),
    ("null_io", "echo lost > /dev/null; cat /dev/null; head -c 5 /dev/zero | od -An -tx1; head -c 8 /dev/urandom | wc -c; echo x > /dev/full; echo $?"),

    # Statuses.
    ("status_0_255", "for s in 0 1 2 100 255; do (exit $s); echo $?; done; exit 200"),
    ("signal_death", "kill -TERM $$"),
    ("signal_kill", "kill -KILL $$"),
    ("signal_segv", "kill -SEGV $$"),
    ("status_127", "/nonexistent/program 2>/dev/null"),
    ("status_126", "touch f; ./f 2>/dev/null"),
    ("sigpipe", "seq 1000000 | head -3; echo ${PIPESTATUS[@]}; yes | head -1"),
    ("timeout", "timeout 0.2 sleep 10; echo $?; timeout 10 true; echo $?; timeout -s KILL 0.1 sleep 10; echo $?"),
    ("nohup", "nohup sh -c 'kill -HUP $$; echo alive' 2>/dev/null < /dev/null"),

    # Who and where.
    ("id", "id -u; id -g; id -un; id -gn; whoami"),
    ("env", "env -i A=1 B=2 env | sort; env -u PATH /usr/bin/printenv PATH; echo $?; A=3 printenv A"),
    ("uname", "uname -s -m -o"),
    ("getent", "getent passwd root; getent group 0; getent hosts localhost | tail -1 | awk '{print $2}'"),
    ("proc_self", "head -1 /proc/self/status; tr '\\0' ' ' < /proc/self/cmdline; readlink /proc/self/exe; cd /usr; readlink /proc/self/cwd; ls /proc/self/fd | wc -l"),
    ("ps", "sleep 100 & ps -o comm= -p $!; kill $!", {"needs": ["ps"]}),
    ("tty_none", "tty; test -t 0; echo $?"),
    ("nproc", "test $(nproc) -ge 1 && echo ok; getconf PAGE_SIZE"),
    ("xargs_p", "seq 40 | xargs -n1 -P4 sh -c 'echo $0' | sort -n | md5sum"),

    # Languages and tools.
    ("perl", "perl -e 'my %h; $h{$_ % 3}++ for 1..10; print join(\",\", map {\"$_=$h{$_}\"} sort keys %h), \"\\n\"; exit 3'", {"needs": ["perl"]}),
    ("perl_fork", "perl -e 'pipe(R,W); if (!fork) { print W \"child\\n\"; exit 2 } close W; print <R>; wait; print $?>>8, \"\\n\"; open(P,\"-|\",\"seq 3\"); print <P>; local $SIG{ALRM}=sub{print \"alarm\\n\"}; alarm 1; select(undef,undef,undef,3)'", {"needs": ["perl"]}),
    ("python_json", f"{PY} -c 'import json; print(json.dumps({{\"a\": [1, 2.5, None]}}, sort_keys=True))'", {"needs": [PY]}),
    ("python_subprocess", f"{PY} -c 'import subprocess as s; print(s.run([\"sh\",\"-c\",\"cat; exit 3\"],input=b\"in\",capture_output=True)); print(s.getoutput(\"echo x | rev\"))'", {"needs": [PY]}),
    ("python_threads", f"""{PY} - <<'E'
import threading, queue
q, out = queue.Queue(), []
def work():
    while (n := q.get()) is not None: out.append(n * n)
ts = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in ts]
[q.put(i) for i in range(1000)]
[q.put(None) for _ in ts]
[t.join() for t in ts]
print(sum(out))
E""", {"needs": [PY]}),
    ("python_multiprocessing", f"""cat > m.py <<'E'
import multiprocessing as mp
def square(n): return n * n
if __name__ == "__main__":
    mp.set_start_method("fork")
    with mp.Pool(3) as pool: print(sum(pool.map(square, range(100))))
    a, b = mp.Pipe()
    p = mp.Process(target=lambda: b.send("hello"))
    p.start(); print(a.recv()); p.join(); print(p.exitcode)
E
{PY} m.py""", {"needs": [PY]}),
    ("python_tempfile", f"{PY} -c 'import tempfile,os; d=tempfile.mkdtemp(); f=open(d+\"/x\",\"w+\"); f.write(\"hi\"); f.seek(0); print(f.read(), os.listdir(d)); import shutil; shutil.rmtree(d); print(os.path.exists(d))'", {"needs": [PY]}),
    ("python_sqlite", f"{PY} -c 'import sqlite3; c=sqlite3.connect(\"db\"); c.execute(\"create table t(a,b)\"); c.executemany(\"insert into t values(?,?)\",[(i,str(i)) for i in range(500)]); c.commit(); print(sqlite3.connect(\"db\").execute(\"select sum(a),max(b) from t\").fetchall())'", {"needs": [PY]}),
    ("python_asyncio", f"""{PY} - <<'E'
import asyncio
async def main():
    p = await asyncio.create_subprocess_exec("seq", "3", stdout=asyncio.subprocess.PIPE)
    out, _ = await p.communicate()
    print(out, p.returncode, await asyncio.gather(*[asyncio.sleep(0.01, i) for i in range(5)]))
asyncio.run(main())
E""", {"needs": [PY]}),
    ("python_signals", f"{PY} -c 'import signal,os,time; signal.signal(signal.SIGALRM,lambda *a:print(\"alarm\")); signal.setitimer(signal.ITIMER_REAL,0.05); time.sleep(0.3); os.kill(os.getpid(), signal.SIGINT)' 2>&1 | tail -1; echo ${{PIPESTATUS[0]}}", {"needs": [PY]}),
    ("python_mmap_select", f"{PY} -c 'import mmap,os,select,socket; f=open(\"m\",\"w+b\"); f.truncate(8192); m=mmap.mmap(f.fileno(),0); m[4096:4100]=b\"data\"; m.flush(); f.seek(4096); print(f.read(4)); r,w=os.pipe(); print(select.select([r],[w],[],0)[0]); os.write(w,b\"x\"); print(len(select.select([r],[],[],1)[0]))'", {"needs": [PY]}),
    ("sqlite3", "sqlite3 db 'create table t(x); insert into t values(1),(2); select sum(x) from t;'; sqlite3 db .dump", {"needs": ["sqlite3"]}),
    ("gcc_threads", """cat > t.c <<'E'
#include <pthread.h>
#include <stdio.h>
static void* f(void* p) { return (void*)((long)p * 2); }
int main(void) { pthread_t t; void* r; pthread_create(&t, 0, f, (void*)21L); pthread_join(t, &r); printf("%ld\\n", (long)r); return 0; }
E
gcc -O2 -static -o t t.c -pthread && ./t; gcc -O2 -o u t.c -pthread && ./u""", {"needs": ["gcc"]}),
    ("make_j2", """for i in a b c; do echo "int $i(void) { return 1; }" > $i.c; done
echo 'int a(void), b(void), c(void); int main(void) { return a()+b()+c(); }' > main.c
printf 'OBJ = main.o a.o b.o c.o\\nprog: $(OBJ)\\n\\t$(CC) -o $@ $^\\nclean:\\n\\trm -f *.o prog\\n' > Makefile
make -s -j2 && ./prog; echo $?; make -q; echo $?; make -s clean; ls""", {"needs": ["make", "gcc"]}),
    ("git", """export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_DATE='@1000000000 +0000' GIT_COMMITTER_DATE='@1000000000 +0000' HOME=$PWD
git init -q -b main r && cd r && git config user.name n && git config user.email e@x
seq 100 > f; git add f; git commit -qm first; echo more >> f; git commit -qam second
git log --format='%H %s'; git diff HEAD~1 --stat; git branch b; git checkout -q b; git merge-base main b; git status --short; git fsck 2>/dev/null; echo $?""",
     {"needs": ["git"]}),

    # Namespaces.
    ("unshare_uts_ipc", "before=$(uname -n); ipcmk -Q > made; unshare -iu sh -c 'hostname inside; uname -n; "
                        "cat /proc/sys/kernel/hostname; ipcs -q | grep -c 0x; ipcmk -Q > /dev/null; ipcs -q | grep -c 0x'; "
                        "test $before = $(uname -n) && echo kept; ipcrm -q $(grep -o '[0-9]*$' made)",
     {"needs": ["unshare", "ipcmk", "hostname"]}),
    ("nsenter", "mkfifo up down; unshare -u sh -c 'hostname deep; echo $$ > up; read x < down' & read pid < up; "
                "nsenter -t $pid -u uname -n; nsenter -t $pid -u -i sh -c 'hostname deeper'; nsenter -t $pid -u uname -n; "
                "test $(readlink /proc/$pid/ns/uts) != $(readlink /proc/self/ns/uts) && echo another; echo > down; wait",
     {"needs": ["unshare", "nsenter"]}),
    ("unshare_net", "unshare -n sh -c 'ip -o link | cut -d\" \" -f2,3; ip addr | grep -c inet; ip link set lo up; "
                    "ip -o addr | grep -o \"inet 127[^ ]*\"; wc -l < /proc/net/dev; "
                    "python3 -c \"import socket as s; l = s.create_server((chr(49) + \\\"27.0.0.1\\\", 80)); "
                    "c = s.create_connection(l.getsockname()); print(c.getpeername())\"'",
     {"needs": ["unshare", "ip"]}),
    ("ip_netns", "unshare -m sh -c 'mount -t tmpfs t /run; ip netns add one; ip netns add two; ip netns list | sort; "
                 "ip -n one link set lo up; ip -n one -br addr; ip -n two -br addr; "
                 "ip netns exec one sh -c \"ip -br link; cat /sys/class/net/lo/operstate; ip netns identify \\$\\$\"; "
                 "ip netns delete one; ip netns list; ip netns delete two; ip netns list | wc -l'",
     {"needs": ["unshare", "ip"]}),

    # Pseudo-terminals.
    ("script", "script -qec 'echo hi; tty | cut -c1-9; test -t 1 && echo tty; exit 3' /dev/null < /dev/null; echo $?",
     {"needs": ["script"]}),
    ("stty_a", "script -qec 'stty -a; stty raw -echo; stty -a; stty sane erase x; stty -g' /dev/null < /dev/null",
     {"needs": ["script"]}),
    ("pty_spawn", f"""{PY} -c "
import pty, os, sys
status = pty.spawn(['/bin/sh', '-c', 'stty rows 5 columns 9; stty size; echo in; exit 4'], lambda fd: os.read(fd, 1000))
print(os.waitstatus_to_exitcode(status))
" < /dev/null""", {"needs": [PY]}),
    ("pty_dialogue", f"""{PY} -c "
import os, pty, time
pid, fd = pty.fork()
if pid == 0: os.execvp('bash', ['bash', '--norc', '--noprofile', '-c', 'read -p name: x; echo hello \\$x; read -s y; echo \\$y'])
def until(text):
    got = b''
    while text not in got: got += os.read(fd, 1000)
    return got
print(until(b'name:'))
os.write(fd, b'wordl\\x7f\\x7fld\\n'); print(until(b'hello world'))
time.sleep(0.3); os.write(fd, b'secret\\n'); print(until(b'secret'))
print(os.waitpid(pid, 0)[1])
" """, {"needs": [PY]}),
    ("ipc_limits", "ipcs -l; ipcs | grep -c key; cat /proc/sys/kernel/{sem,msgmax,msgmnb,shmmni}", {"needs": ["ipcs"]}),
    ("ipc_tools", """number() { grep -o '[0-9]*$'; }
q=$(ipcmk -Q -p 0640 | number); s=$(ipcmk -S 3 | number); m=$(ipcmk -M 5000 | number)
ipcs -q -i $q | grep -E 'mode|qbytes'; ipcs -s -i $s | grep -E 'mode|nsems'; ipcs -m -i $m | grep -oE 'mode=.*|bytes=[0-9]*'
ipcs -q | awk -v id=$q '$2 == id { $1 = $2 = ""; print }'; ipcs -s | awk -v id=$s '$2 == id { $1 = $2 = ""; print }'
ipcs -m | awk -v id=$m '$2 == id { $1 = $2 = ""; print }'; lsipc -m -i $m | grep -E 'Size|Attach|Perm'
ipcrm -q $q -s $s -m $m; echo $?; ipcrm -m $m 2>&1 | sed "s/$m/M/"; ipcs -q -s -m | grep -c -w -e $q -e $s -e $m""",
     {"needs": ["ipcs", "lsipc"]}),
    ("posix_queues", f"""{PY} - <<'END'
import ctypes, os, struct
libc = ctypes.CDLL(None, use_errno=True)
name = b"/table.%d" % os.getpid()
queue = libc.mq_open(name, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o600, None)
for text, priority in (b"low", 1), (b"high", 7): print(libc.mq_send(queue, text, len(text), priority))
buffer, priority = ctypes.create_string_buffer(8192), ctypes.c_uint()
for _ in range(3):
    n = libc.mq_receive(queue, buffer, 8192, ctypes.byref(priority))
    print(n, buffer.raw[:max(n, 0)], priority.value, os.strerror(ctypes.get_errno()) if n < 0 else "")
print(libc.mq_unlink(name), libc.mq_unlink(name), os.strerror(ctypes.get_errno()))
END""", {"needs": [PY]}),
    ("process_pool", f"""{PY} -c "
import multiprocessing as m, multiprocessing.shared_memory as sm
if __name__ == '__main__':
    lock, value = m.Lock(), m.Value('i', 0)
    def work(n):
        for _ in range(n):
            with lock: value.value += 1
    ps = [m.Process(target=work, args=(200,)) for _ in range(4)]
    [p.start() for p in ps]; [p.join() for p in ps]; print(value.value)
    s = sm.SharedMemory(create=True, size=100); s.buf[3] = 7
    t = sm.SharedMemory(name=s.name); print(t.buf[3]); t.close(); s.close(); s.unlink()
    q = m.Queue(); p = m.Process(target=q.put, args=('item',)); p.start(); print(q.get()); p.join()
" """, {"needs": [PY]}),
    ("getpass", f"""script -qec "echo -n; {PY} -c 'import getpass; print(getpass.getpass(\"P: \"))'" /dev/null <<< secret | tr -d '\\r' | grep -c secret""",
     {"needs": ["script", PY]}),
]
