"""Programs that read /proc, and a big build: what they show of processes that the case controls."""
import re
import shutil

import harness
from harness import Failure, Skip

# Two sleeping children and a thread; prints what a tool says of them.
SCENE = """
sleep 1001 & a=$!; sleep 1002 & b=$!
until grep -q sleep /proc/$a/comm && grep -q sleep /proc/$b/comm; do :; done
"""
END = "\nkill $a $b; wait 2>/dev/null; exit $status"


class Tool:
    """A script whose output, with pids replaced by letters, is the same as natively."""

    def __init__(self, name, needs, script, scene=True, limit=60):
        self.name, self.needs, self.limit = f"tools.{name}", needs, limit
        self.script = SCENE + script + "\nstatus=$?" + END if scene else script

    def run(self, box):
        for program in self.needs:
            if shutil.which(program) is None:
                raise Skip(f"no {program}")
        return harness.execute(box.command("/bin/bash", "-c", self.script), limit=self.limit,
                               env={"PATH": harness.PATH, "LC_ALL": "C", "HOME": "/root"})

    def compare(self, native, inside, platform):
        try:
            inside.expect(status=native.status, out=native.out)
        except Failure as failure:
            return str(failure)
        return None


# What every process shows, whatever else runs on the machine.
NAMES = "sed -e \"s/\\b$a\\b/A/g; s/\\b$b\\b/B/g; s/\\b$$\\b/SHELL/g\""

BUILD = r"""
cd "$(mktemp -d)" || exit 9
for i in $(seq 200); do
  printf '#include <stdio.h>\n#include "all.h"\nint f%d(int x) { return printf("%%d\\n", x) + %d; }\n' \
    "$i" "$i" >"f$i.c"
  printf 'int f%d(int);\n' "$i" >>all.h
done
{ echo '#include "all.h"'; echo 'int main(void) { int s = 0;'
  for i in $(seq 200); do echo "s += f$i(s);"; done; echo 'return s != 21310; }'; } >main.c
printf 'O := $(patsubst %%.c,%%.o,$(wildcard *.c))\nprog: $(O)\n\t$(CC) -o $@ $(O)\n%%.o: %%.c all.h\n\t$(CC) -O0 -c -o $@ $<\n' >Makefile
make -s -j8 CC=gcc && ls *.o | wc -l && ./prog | md5sum && make -j8 CC=gcc
status=$?
rm -rf "$PWD"
exit $status
"""


# Every file of /proc, as htop or a curious grep would: it ends, and nothing of it hangs.
READER = r"""
import os, stat, sys
def read(path):
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return 0
    total = 0
    try:
        while total < 1 << 22:
            piece = os.read(fd, 65536)
            if not piece:
                break
            total += len(piece)
    except OSError:
        pass
    os.close(fd)
    return total
files = hung = 0
for directory, names, others in os.walk("/proc"):
    if directory.count("/") > 6:
        names[:] = []
    names[:] = [n for n in names if not os.path.islink(os.path.join(directory, n))]
    for name in others:
        path = os.path.join(directory, name)
        try:
            mode = os.lstat(path).st_mode
        except OSError:
            continue
        if stat.S_ISLNK(mode):
            try:
                os.readlink(path)
            except OSError:
                pass
        else:
            read(path)
        files += 1
print("read", "enough" if files > 150 else files)
"""


class Inside(Tool):
    """What would be told natively is known, and the machine's own /proc is left alone."""

    def __init__(self, name, script, expected, **options):
        super().__init__(name, [], script, **options)
        self.expected = expected

    def run(self, box):
        if box.platform == "native":
            return harness.Outcome(0, self.expected, "")
        return super().run(box)


CASES = [
    Tool("make-j8", ["make", "gcc"], BUILD, scene=False, limit=240),
    Tool("ps", ["ps"], "ps -o ppid,pid,state,comm,args -p $a,$b >/tmp/ps.$$; "
         f"{NAMES} /tmp/ps.$$ | tr -s ' ' | sed 's/^ //'; rm /tmp/ps.$$"),
    Tool("ps-threads", ["ps"], "ps -L -o nlwp,comm -p $a; ps -eLf >/dev/null && ps axjf >/dev/null && "
         "ps aux >/dev/null && ps -ef >/dev/null"),
    Tool("lscpu", ["lscpu"], "lscpu -p=CPU,NODE,ONLINE; lscpu -C=NAME,TYPE,LEVEL >/dev/null", scene=False),
    Tool("ps-sizes", ["ps"], "ps -o rss=,vsz= -p $a | awk '{print ($1 > 100 && $2 > $1)}'"),
    Tool("pgrep", ["pgrep"], f"pgrep -P $$ -x sleep >/tmp/pg.$$; {NAMES} /tmp/pg.$$; rm /tmp/pg.$$; "
         "pgrep -P $$ -f 'sleep 1002' | wc -l"),
    Tool("pkill", ["pkill"], "pkill -P $$ -f 'sleep 1001'; wait $a 2>/dev/null; echo $?"),
    Tool("pstree", ["pstree"], "pstree -A $$ >/tmp/pt.$$; cat /tmp/pt.$$; rm /tmp/pt.$$"),
    Tool("top", ["top"], "top -b -n1 -p $a,$b | sed -n '7,$p' | awk '{print $2, $8, $NF}'"),
    Tool("free", ["free"], "free | awk '{print $1}'; free -m | awk 'NR == 2 {print ($2 > 100)}'"),
    Tool("vmstat", ["vmstat"], "vmstat | head -2; vmstat | awk 'NR == 3 {print NF}'"),
    Tool("uptime", ["uptime"], "uptime | sed 's/[0-9.:]\\+/N/g; s/.*load/load/'; uptime -p >/dev/null; "
         "w -h >/dev/null"),
    Tool("lsof", ["lsof"], "sleep 1003 </etc/passwd >/dev/null & c=$!; "
         "lsof -w -p $c -a -d 0,1 -F ftn | grep -v '^p'; kill $c"),
    Inside("read-everything", "python3 - <<'END'\n" + READER + "END", "read enough\n"),
    # Without pagemap, which has 256 GiB for each thread, natively as well.
    Inside("grep-everything",
           "grep -r -s -c --exclude=pagemap . /proc/[0-9]* /proc/sys /proc/stat >/dev/null; echo done",
           "done\n"),
]
