"""The machine that is measured on, and what is built on it."""
import os
import subprocess
import sys
import time

from common import say

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


def build():
    """The launcher installs what is missing and builds the sandbox; the rest is ours."""
    for command in ([f"{ROOT}/sandbox", "--version"],
                    ["bash", "-c", "source tests/packages.sh && install_missing busybox-static"],
                    ["cmake", "--preset", "release"],
                    ["cmake", "--build", "--preset", "release", "--target", "benchmarks"]):
        done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace")
        if done.returncode != 0:
            sys.exit(f"{done.stdout[-4000:]}bench/run: {' '.join(command)} failed")


def busy_share(seconds=1.0):
    """The share of all CPUs that was not idle, and the share that the hypervisor took."""
    def read():
        with open("/proc/stat") as f:
            return [int(word) for word in f.readline().split()[1:9]]
    before = read()
    time.sleep(seconds)
    spent = [b - a for a, b in zip(before, read())]
    total = max(sum(spent), 1)
    return 1 - (spent[3] + spent[4]) / total, spent[7] / total


def load():
    return " ".join(f"{one:.2f}" for one in os.getloadavg())


def describe_machine():
    """Prints what the machine is, and whether it is busy; returns both in a line."""
    with open("/proc/cpuinfo") as f:
        models = [line.split(":")[1].strip() for line in f if line.startswith("model name")]
    busy, stolen = busy_share()
    print("# Benchmarks\n")
    cpus = len(os.sched_getaffinity(0))
    machine = f"{cpus} CPUs ({models[0] if models else 'unnamed'}), Linux {os.uname().release}"
    print(f"- {machine}")
    print(f"- load average before: {load()}; busy with others: {busy:.0%}, stolen {stolen:.0%}")
    if busy > 0.1:
        warning = "**the machine is busy: read the ratios of minima, and measure again**"
        print(f"- {warning}")
        say(warning.strip("*"))
    sys.stdout.flush()
    return f"{machine}, {'idle' if busy <= 0.1 else f'{busy:.0%} busy with others'}"
