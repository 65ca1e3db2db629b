"""One mechanism at a time: bench_micro natively and inside, and the floor under a notified call."""
import json
import os
import statistics

from common import (PLATFORMS, CannotRun, duration, inside, least_ratio, output_of, ratio,
                    rounds_of, say, table)

# Name in micro.cc, what the table calls it.
BENCHMARKS = (
    ("Getsid", "getsid, answered by the sentry"),
    ("Getpid", "getpid"),
    ("ClockGettime", "clock_gettime, vDSO"),
    ("CpuLoop", "CPU loop, 100,000 steps"),
    ("FirstTouch", "first touch of a 4 KiB page, anonymous"),
    ("MmapTouchMunmap", "mmap + touch + munmap, 4 KiB"),
    ("MprotectPair", "mprotect, there and back"),
    ("Pread4K", "pread of 4 KiB, cached file"),
    ("OpenClose", "open + close"),
    ("OpenRead4KClose", "open + read 4 KiB + close"),
    ("Stat", "stat"),
    ("CreateWriteUnlink", "create + write 1,000 bytes + unlink"),
    ("SequentialWrite", "write of 128 KiB, in sequence"),
    ("SequentialRead", "read of 128 KiB, in sequence"),
    ("RandomPread4K", "pread of 4 KiB at random, cached file"),
    ("Getdents/100", "an entry of a directory with 100"),
    ("Getdents/100000", "an entry of a directory with 100,000"),
    ("WalkWithStat", "walk of a tree with stat, a file, warm"),
    ("PipePingPong", "pipe ping-pong, two processes"),
    ("UnixPingPong", "unix stream ping-pong, two processes"),
    ("TcpPingPong", "loopback TCP ping-pong, two processes"),
    *((f"{kind}Bulk/{size}", f"{what}, a KiB in writes of {size // 1024} KiB")
      for kind, what in (("Pipe", "pipe"), ("Unix", "unix stream"), ("Tcp", "loopback TCP"))
      for size in (4096, 65536, 262144)),
    ("EpollTenActive/0", "10 eventfd writes + epoll_wait"),
    ("SignalSelf", "signal to itself, handler"),
    ("PthreadCreateJoin", "pthread create + join"),
    ("ForkExitWait", "fork + exit + wait"),
    ("ForkExecWait", "fork + exec (static) + wait"),
)
GOALS = {"FirstTouch": 1.05, "ForkExitWait": 2, "CpuLoop": 1, "OpenRead4KClose": 2.5, "Stat": 6, "CreateWriteUnlink": 1.5,
         "SequentialWrite": 1.1, "SequentialRead": 1.1, "RandomPread4K": 2, "WalkWithStat": 2,
         "PipePingPong": 2, "UnixPingPong": 2, "TcpPingPong": 1, "UnixBulk/65536": 1 / 0.9, "TcpBulk/65536": 1 / 0.9}


class OneCpu:
    """What starts in here stays on the first CPU that we may use."""

    def __enter__(self):
        self.before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(self.before)})

    def __exit__(self, *_):
        os.sched_setaffinity(0, self.before)


def prefixes(programs):
    yield "native", []
    for platform in PLATFORMS:
        yield platform, inside(programs.sandbox, platform)


def time_of(prefix, programs, name, seconds):
    """ns an iteration, or an item where the benchmark counts items."""
    out = output_of([*prefix, programs.micro, programs.true, f"--benchmark_filter=^BM_{name}/",
                     "--benchmark_format=json", f"--benchmark_min_time={seconds}"])
    try:
        found = json.loads(out)["benchmarks"][0]
        if "items_per_second" in found:
            return 1e9 / found["items_per_second"]
        return found["real_time"]  # In ns, the library's default.
    except (ValueError, LookupError) as error:
        raise CannotRun(f"no figures in its output ({error})") from None


def heading(base):
    return ("median", base, *PLATFORMS, *(f"{one} ÷ {base} (of minima)" for one in PLATFORMS))


def cells(samples, base):
    """Medians, then for each platform its ratio to `base`: of the rounds, and of the minima."""
    shown = [duration(statistics.median(samples[one])) if one in samples else "–"
             for one in (base, *PLATFORMS)]
    for platform in PLATFORMS:
        both = platform in samples and base in samples
        shown.append(f"{ratio(samples[platform], samples[base]):.2f} "
                     f"({least_ratio(samples[platform], samples[base]):.2f})" if both else "–")
    return shown


def against_native(programs, rounds, seconds, report):
    rows = []
    for name, what in BENCHMARKS:
        say(f"micro: {what}")
        sources = [(source, lambda prefix=prefix: time_of(prefix, programs, name, seconds))
                   for source, prefix in prefixes(programs)]
        samples = rounds_of(sources, rounds, lambda source, reason: report.failed(
            f"micro: {what}, {source}", reason))
        rows.append((what, *cells(samples, "native")))
        if name in GOALS and {"native", "systrap"} <= samples.keys():
            report.goal(f"{what}, systrap ÷ native", GOALS[name],
                        ratio(samples["systrap"], samples["native"]))
    table(f"Natively and inside, {rounds} interleaved rounds",
          heading("native"), rows)


def among_idle(programs, rounds, seconds, report):
    """Active descriptors among idle ones, and alone: in turns, or a busy machine decides the ratio."""
    say("micro: epoll among idle descriptors")
    rows = []
    for place, prefix in prefixes(programs):
        samples = rounds_of([(idle, lambda prefix=prefix, idle=idle: time_of(
            prefix, programs, f"EpollTenActive/{idle}", seconds)) for idle in (0, 10000)],
            rounds, lambda idle, reason, place=place: report.failed(
                f"micro: epoll among {idle} idle, {place}", reason))
        if len(samples) < 2:
            continue
        both = samples[10000], samples[0]
        rows.append((place, *(duration(statistics.median(samples[idle])) for idle in (0, 10000)),
                     f"{ratio(*both):.2f} ({least_ratio(*both):.2f})"))
        if place == "systrap":
            report.goal("epoll_wait among 10,000 idle descriptors ÷ none, systrap", 1.2, ratio(*both))
    table(f"10 eventfd writes + epoll_wait, {rounds} interleaved rounds",
          ("where", "none idle", "10,000 idle", "ratio (of minima)"), rows)


def notify(programs):
    found = json.loads(output_of([programs.notify]))
    return found["notify_ns"]


def against_notify(programs, rounds, seconds, report):
    """getsid inside against a bare notification, which always stays on one CPU."""
    rows = []
    for where, pinned in (("all on one CPU", True), ("where the scheduler likes", False)):
        say(f"micro: getsid against a bare notification, {where}")

        def sample(prefix):
            if not pinned:
                return time_of(prefix, programs, "Getsid", seconds)
            with OneCpu():
                return time_of(prefix, programs, "Getsid", seconds)

        sources = [("notify", lambda: notify(programs))]
        sources += [(source, lambda prefix=prefix: sample(prefix))
                    for source, prefix in prefixes(programs) if source != "native"]
        samples = rounds_of(sources, rounds, lambda source, reason: report.failed(
            f"micro: getsid, {where}, {source}", reason))
        rows.append((f"getsid, sandbox {where}", *cells(samples, "notify")))
        if {"notify", "systrap"} <= samples.keys():
            report.goal(f"getsid ÷ bare notify round trip, {where}", 1.3,
                        ratio(samples["systrap"], samples["notify"]))
    table(f"Against a bare seccomp-notify round trip on one CPU, {rounds} interleaved rounds",
          heading("notify"), rows)


def run(programs, rounds, seconds, report):
    print("\n## Micro benchmarks")
    against_native(programs, rounds, seconds, report)
    among_idle(programs, rounds, seconds, report)
    against_notify(programs, rounds, seconds, report)
