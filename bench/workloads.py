"""The scripts of bench/workloads."""
import os
import subprocess

FOLDER = os.path.join(os.path.dirname(os.path.realpath(__file__)), "workloads")

PRELUDE = r"""
set -eu
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
HERE=$(mktemp -d /var/tmp/bench-work.XXXXXX)
trap 'cd /; rm -rf "$HERE"' EXIT
cd "$HERE"
start() { began=${EPOCHREALTIME/./}; }
stop() {
  local spent=$((${EPOCHREALTIME/./} - began))
  printf 'ms %d.%03d\n' $((spent / 1000)) $((spent % 1000))
}
"""


def all_workloads():
    return sorted(name[:-3] for name in os.listdir(FOLDER) if name.endswith(".sh"))


class Workload:
    def __init__(self, name):
        with open(f"{FOLDER}/{name}.sh") as f:
            text = f.read()
        fields = dict(line[2:].split(": ", 1) for line in text.splitlines()[:2])
        self.needs, self.group = fields["needs"].split(), fields["group"]
        self.script = PRELUDE + text

    def missing(self):
        """Its packages that are not installed."""
        def installed(package):
            done = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Status}", package],
                                  capture_output=True, text=True)
            return done.stdout == "installed"
        return [package for package in self.needs if not installed(package)]
