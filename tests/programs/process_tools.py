"""Programs that read /proc, and a big build: what they show of processes that the case controls."""
import re
import shutil

import harness
from harness import Failure, Skip

# Two sleeping children and a thread; prints what a tool says of them.
SCENE = """
sleep 1001 & a=$!; sleep 1002 & b=$!
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

CASES = [
    Tool("make-j8", ["make", "gcc"], BUILD, scene=False, limit=240),
]
