"""Programs that work on files; rows as in table.py, and cases that take the Sandbox.

What a script prints must not depend on the filesystem below: sizes of directories, counts of blocks and
numbers of inodes of new files are left out.
"""
import os
import resource
import subprocess

import harness
from harness import Failure

CASES = []


def case(function):
    CASES.append(function)
    return function


GIT = r'''
export HOME=$PWD GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000'
git config --global user.name a; git config --global user.email a@b
git config --global init.defaultBranch main; git config --global gc.auto 0
git init -q r; cd r; mkdir -p d/{a,b,c}; for i in $(seq 100); do seq $i $((i+50)) > d/a/f$i; done; cp -r d/a/. d/b/
git add .; git commit -qm one; git mv d/a/f1 d/c/g1; echo x >> d/b/f2; git commit -qam two
git checkout -q -b side HEAD~1; echo y > n; git add n; git commit -qm side; git checkout -q main
git merge -q --no-edit side; git tag v1; echo w >> n; git stash -q; git stash list; git stash pop -q; git checkout -q n
git gc -q --aggressive --prune=now; git fsck --full --strict; git log --format='%H %s'
git count-objects -v | grep -v size; cd ..; git clone -q r c; git clone -q --bare file://$PWD/r b.git
cd c; git log --oneline | wc -l; git status --short; echo z > z; git add z; git commit -qm z
git push -q ../b.git HEAD:refs/heads/new; git -C ../b.git branch -v; git worktree add -q ../w side; ls ../w
git grep -c 50 | wc -l; git clean -fdxq; cd ..; git -C r archive HEAD | tar t | md5sum
'''

TREE = r'''
cat > mk.py <<'END'
import os
n = 0
for a in range(5):
    for b in range(6):
        d = f"src/{a}/{b}"
        os.makedirs(d)
        for c in range(12):
            p = f"{d}/f{c}"
            n += 1
            with open(p, "w") as f:
                f.write(str(n) * (c % 7))
            os.chown(p, n % 3, n % 4)
            os.chmod(p, [0o644, 0o600, 0o755, 0o4755, 0o444][n % 5])
            os.utime(p, ns=(n * 10**9 + n, n * 10**9 + 5 * n))
        os.symlink(f"f{a}", f"{d}/l")
        os.utime(f"{d}/l", ns=(n, n), follow_symlinks=False)
        os.link(f"{d}/f1", f"{d}/h")
        if b == 0:
            os.mkfifo(f"{d}/p")
            os.utime(f"{d}/p", ns=(n, n))
        if b == 1:
            os.setxattr(f"{d}/f3", "user.k", str(n).encode())
        os.utime(d, ns=(n * 10**9 + n, n * 10**9 + 5 * n))
    os.utime(f"src/{a}", ns=(a, a))
os.utime("src", ns=(1, 1))
END
list() { (cd $1; find . ! -type d -printf '%p %y %m %U %G %s %n %T@ %l\n' -o -printf '%p %y %m %U %G %T@\n' | sort | md5sum); }
/usr/bin/python3 mk.py; list src; cp -a src c1; list c1
tar cf t.tar --xattrs -C src .; mkdir c2; tar xf t.tar --xattrs -C c2; list c2
rsync -aHX src/ c3; list c3; rsync -aHXi --delete c1/ c3 | wc -l
echo changed > c1/1/1/f7; rm c1/2/2/f4; rsync -aHXi --delete c1/ c3; diff -r --no-dereference c1 c3 && echo same
for d in c1 c2 c3; do /usr/bin/python3 -c "import os; print(os.getxattr('$d/3/1/f3', 'user.k'))"; done
mv c1/3 c2/new; ls c2; rm -rf c1 c2; ls
'''

DPKG = r'''
export DEBIAN_FRONTEND=noninteractive
p=pkg; mkdir -p $p/DEBIAN $p/usr/lib/hello-sandbox/d $p/etc
printf 'Package: hello-sandbox\nVersion: 1.0\nArchitecture: all\nMaintainer: a <a@b>\nDescription: x\n' > $p/DEBIAN/control
echo /etc/hello-sandbox.conf > $p/DEBIAN/conffiles; echo c > $p/etc/hello-sandbox.conf
printf '#!/bin/sh\nset -e\necho "$1" >> /var/lib/hello-sandbox.log\n' > $p/DEBIAN/postinst; chmod 755 $p/DEBIAN/postinst
for i in $(seq 50); do echo $i > $p/usr/lib/hello-sandbox/d/f$i; done; ln -s d/f1 $p/usr/lib/hello-sandbox/l
dpkg-deb --root-owner-group -b $p hello.deb > /dev/null; dpkg -i ./hello.deb > log 2>&1 || cat log
dpkg -s hello-sandbox | grep Status; dpkg -L hello-sandbox | wc -l; cat /usr/lib/hello-sandbox/l
sed -i s/1.0/1.1/ $p/DEBIAN/control; dpkg-deb --root-owner-group -b $p hello2.deb > /dev/null
apt-get install -y ./hello2.deb > log 2>&1 || cat log
dpkg -s hello-sandbox | grep Version; dpkg -V hello-sandbox; cat /var/lib/hello-sandbox.log
dpkg -P hello-sandbox > log 2>&1 || cat log; ls /usr/lib/hello-sandbox /etc/hello-sandbox.conf 2>&1 | wc -l; dpkg --audit
'''

SQLITE = r'''
cat > w.py <<'END'
import sqlite3, sys
db = sqlite3.connect("t.db", timeout=120, isolation_level=None)
for i in range(100):
    db.execute("begin immediate")
    db.execute("insert into t values(?,?)", (int(sys.argv[1]), i))
    n, = db.execute("select n from c").fetchone()
    db.execute("update c set n=?", (n + 1,))
    db.execute("commit")
END
sqlite3 t.db "pragma journal_mode=wal; create table t(k,i); create table c(n); insert into c values(0);"
/usr/bin/python3 w.py 1 & /usr/bin/python3 w.py 2 &
for i in 1 2 3; do sqlite3 -cmd '.timeout 120000' t.db "select count(*) = (select n from c) from t;"; done
wait; sqlite3 t.db "select k,count(*) from t group by k; select n from c; pragma integrity_check;"
sqlite3 t.db "pragma wal_checkpoint(truncate);"; ls; stat -c %s t.db
sqlite3 t.db "pragma journal_mode=delete; vacuum; pragma journal_mode=persist; insert into t values(3,3);"; ls
'''

FIO = r'''
for e in psync pvsync2 sync mmap splice posixaio; do
  fio --name=x --ioengine=$e --rw=randrw --size=256k --bs=4k --verify=crc32c --do_verify=1 --filename=$PWD/x \
    --minimal --fallocate=none > o 2>&1; echo $e $? $(cut -d\; -f5 o); rm -f x
done
fio --name=y --rw=write --bs=64k --size=2m --numjobs=2 --verify=md5 --directory=$PWD > o 2>&1; echo $?; ls
'''

PROGRAMS = [
    ("git_init_to_gc", GIT, {"needs": ["git"], "limit": 90}),
    ("trees_copied", TREE, {"needs": ["rsync", "tar"], "limit": 90}),
    ("sqlite_wal_two_processes", SQLITE, {"needs": ["sqlite3"], "limit": 120}),
    ("fio_verify", FIO, {"needs": ["fio"], "limit": 90}),
    # As nobody: private files of others are out of the reach of a gofer without capabilities.
    ("find_usr", "cd /; setpriv --reuid 65534 --regid 65534 --clear-groups find /usr -ls 2>&1 | sort | md5sum", {"limit": 120}),
]


@case
def a_package_is_installed(box):
    # Not natively: it would change the machine.
    outcome = box.bash(DPKG, "--cwd", "/var/tmp", env={"PATH": harness.PATH, "LC_ALL": "C"}, limit=90)
    outcome.expect(status=0, out="Status: install ok installed\n58\n1\nVersion: 1.1\nconfigure\nconfigure\n2\n")
    if os.path.exists("/usr/lib/hello-sandbox"):
        raise Failure("the package is on the host")


@case
def few_descriptors_suffice(box):
    # The gofer has a descriptor for each file that the sentry knows: it makes room when there are no more.
    script = "find /usr/include -type f -printf '%s %p\\n' | sort | md5sum"
    native = harness.execute(["/bin/bash", "-c", script])

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))

    process = subprocess.run(box.command("/bin/bash", "-c", script), capture_output=True, text=True, preexec_fn=few,
                             stdin=subprocess.DEVNULL, timeout=90, check=False)
    if (process.returncode, process.stdout) != (0, native.out):
        raise Failure(f"status {process.returncode}, {process.stdout!r} instead of {native.out!r}: {process.stderr[:200]}")
