// The files of /proc about the whole system, and /proc/sys.
#include <sys/random.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "sentry/fs/proc/host_info.h"
#include "sentry/fs/proc/proc_internal.h"
#include "sentry/task/task.h"
#include "sentry/time/clocks.h"

namespace sentry::proc {
namespace {

std::string RandomUuid() {
  std::array<uint8_t, 16> b{};
  getrandom(b.data(), b.size(), 0);
  b[6] = (b[6] & 0x0f) | 0x40;
  b[8] = (b[8] & 0x3f) | 0x80;
  std::string out;
  for (size_t i = 0; i < b.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
    absl::StrAppendFormat(&out, "%02x", b[i]);
  }
  return out + "\n";
}

Result<std::string> LoadAverage(Kernel& kernel) {
  struct sysinfo info {};
  sysinfo(&info);
  const auto load = [&](int i) { return static_cast<double>(info.loads[i]) / 65536; };
  Pid last = 0;
  size_t count = 0;
  for (const Ref<ThreadGroup>& group : kernel.AllGroups()) {
    last = std::max(last, group->id);
    ++count;
  }
  return absl::StrFormat("%.2f %.2f %.2f 1/%d %d\n", load(0), load(1), load(2), count, last);
}

// Only what the sandbox itself has used is known; the rest of the time counts as idle.
Result<std::string> SystemStat(Kernel& kernel) {
  uint64_t user_ns = 0;
  uint64_t processes = 0;
  for (const Ref<ThreadGroup>& group : kernel.AllGroups()) {
    user_ns += ProcessCpuNs(kernel, *group) + ChildrenCpuNs(kernel, *group);
    processes = std::max<uint64_t>(processes, static_cast<uint64_t>(group->id));
  }
  constexpr uint64_t kTickNs = 10'000'000;
  const uint64_t cpus = static_cast<uint64_t>(ProcessorCount());
  const uint64_t up_ns = static_cast<uint64_t>(HostClockNs(ClockId{CLOCK_BOOTTIME}));
  const uint64_t user = user_ns / kTickNs;
  const uint64_t total = up_ns / kTickNs * cpus;
  const uint64_t idle = total > user ? total - user : 0;
  std::string text = absl::StrFormat("cpu  %u 0 0 %u 0 0 0 0 0 0\n", user, idle);
  for (uint64_t i = 0; i < cpus; ++i) {
    absl::StrAppendFormat(&text, "cpu%u %u 0 0 %u 0 0 0 0 0 0\n", i, user / cpus, idle / cpus);
  }
  const int64_t boot = (HostClockNs(ClockId{CLOCK_REALTIME}) - static_cast<int64_t>(up_ns)) /
                       kNsPerSecond;
  absl::StrAppendFormat(
      &text, "intr 0\nctxt 0\nbtime %d\nprocesses %u\nprocs_running 1\nprocs_blocked 0\n", boot,
      processes);
  return text;
}

constexpr std::string_view kRelease = "6.18.0";  // As uname(2) answers.
constexpr std::string_view kVersion = "#1 SMP PREEMPT_DYNAMIC sandbox";

struct ConstantRow {
  std::string_view directory, name, text;
};
constexpr ConstantRow kConstants[] = {
    {"", "cmdline", "\n"},
    {"", "filesystems",
     "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\nnodev\tdevpts\nnodev\toverlay\n"},
    {"", "devices", "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n"
     "128 ptm\n136 pts\n\nBlock devices:\n"},
    {"tty", "drivers",
     "/dev/tty             /dev/tty        5       0 system:/dev/tty\n"
     "/dev/console         /dev/console    5       1 system:console\n"
     "/dev/ptmx            /dev/ptmx       5       2 system\n"
     "pty_slave            /dev/pts      136 0-1048575 pty:slave\n"
     "pty_master           /dev/ptm      128 0-1048575 pty:master\n"},
    {"tty", "ldiscs", "n_tty       0\n"},
    {"sys/kernel/pty", "max", "4096\n"},
    {"sys/kernel/pty", "reserve", "1024\n"},
    {"", "swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"},
    {"sys/kernel", "ostype", "Linux\n"},
    {"sys/kernel", "pid_max", "32768\n"},
    {"sys/kernel", "ngroups_max", "65536\n"},
    {"sys/kernel", "cap_last_cap", "40\n"},
    {"sys/kernel", "overflowuid", "65534\n"},
    {"sys/kernel", "overflowgid", "65534\n"},
    {"sys/kernel", "threads-max", "32768\n"},
    {"sys/kernel", "domainname", "(none)\n"},
    {"sys/kernel", "randomize_va_space", "2\n"},
    {"sys/kernel/random", "entropy_avail", "256\n"},
    {"sys/kernel/random", "poolsize", "256\n"},
    {"sys/vm", "overcommit_memory", "0\n"},
    {"sys/vm", "max_map_count", "65530\n"},
    {"sys/vm", "mmap_min_addr", "65536\n"},
    {"sys/fs", "file-max", "9223372036854775807\n"},
    {"sys/fs", "nr_open", "1048576\n"},
    {"sys/fs", "pipe-max-size", "1048576\n"},
    {"sys/net/core", "somaxconn", "4096\n"},
};

class Builder {
 public:
  explicit Builder(FixedDirectory& root) : root_(root) {}

  void Text(std::string_view directory, std::string_view name, FunctionText::Function function) {
    const PseudoNode node{.dev = kProcDevice, .ino = ++ino_, .mode = S_IFREG | 0444};
    Directory(directory).Put(std::string(name),
                             MakeRef<FunctionText>(node, std::move(function)));
  }

 private:
  // Makes what is missing of the path.
  FixedDirectory& Directory(std::string_view path) {
    FixedDirectory* at = &root_;
    while (!path.empty()) {
      const size_t slash = std::min(path.find('/'), path.size());
      const std::string name(path.substr(0, slash));
      path.remove_prefix(std::min(slash + 1, path.size()));
      const auto found = at->Find(name);
      if (found.ok()) {
        at = static_cast<FixedDirectory*>(found->get());
        continue;
      }
      const auto next = MakeRef<FixedDirectory>(
          PseudoNode{.dev = kProcDevice, .ino = ++ino_, .mode = S_IFDIR | 0555});
      at->Put(name, next);
      at = next.get();
    }
    return *at;
  }

  FixedDirectory& root_;
  uint64_t ino_ = 16;
};

}  // namespace

void PutSystemFiles(Kernel& kernel, FixedDirectory& root) {
  Builder builder(root);
  for (const ConstantRow& row : kConstants) {
    builder.Text(row.directory, row.name,
                 [&row] { return Result<std::string>(std::string(row.text)); });
  }
  Kernel* const k = &kernel;
  using Text = Result<std::string>;
  builder.Text("", "cpuinfo", [] { return Text(CpuInfoText()); });
  builder.Text("", "meminfo", [] { return Text(MemInfoText()); });
  builder.Text("", "uptime", [] { return Text(UptimeText()); });
  builder.Text("", "loadavg", [k] { return LoadAverage(*k); });
  builder.Text("", "stat", [k] { return SystemStat(*k); });
  builder.Text("", "version", [] {
    return Text(absl::StrFormat("Linux version %s (sandbox) %s\n", kRelease, kVersion));
  });
  builder.Text("sys/kernel", "hostname", [k] { return Text(k->hostname() + "\n"); });
  builder.Text("sys/kernel", "osrelease", [] { return Text(absl::StrFormat("%s\n", kRelease)); });
  builder.Text("sys/kernel", "version", [] { return Text(absl::StrFormat("%s\n", kVersion)); });
  builder.Text("sys/kernel/random", "uuid", [] { return Text(RandomUuid()); });
  builder.Text("sys/kernel/random", "boot_id", [id = RandomUuid()] { return Text(id); });
}

}  // namespace sentry::proc
