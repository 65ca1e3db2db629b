// The files of /proc about the whole system: what the sandbox knows of itself, and nothing of the
// host.
#include <sys/sysinfo.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/host_cpus.h"
#include "sentry/fs/filesystem_names.h"
#include "sentry/fs/proc/host_info.h"
#include "sentry/fs/proc/proc_internal.h"
#include "sentry/ipc/namespace.h"
#include "sentry/task/file_locks.h"
#include "sentry/task/task.h"
#include "sentry/time/clocks.h"

namespace sentry::proc {
namespace {

Result<std::string> LoadAverage(Kernel& kernel) {
  struct sysinfo info {};
  sysinfo(&info);
  const auto load = [&](int i) { return static_cast<double>(info.loads[i]) / 65536; };
  Pid last = 0;
  size_t count = 0;
  for (const Ref<ThreadGroup>& group : kernel.AllGroups()) {
    last = std::max(last, group->id);
    absl::MutexLock lock(&kernel.mu());
    count += group->tasks.size();
  }
  return absl::StrFormat("%.2f %.2f %.2f 1/%d %d\n", load(0), load(1), load(2), count, last);
}

// Only what the sandbox itself has used is known; the rest of the time counts as idle.
Result<std::string> SystemStat(Kernel& kernel) {
  uint64_t user_ns = 0;
  uint64_t processes = 0;
  for (const Ref<ThreadGroup>& group : kernel.AllGroups()) {
    user_ns += ProcessCpuNs(kernel, *group);
    absl::MutexLock lock(&kernel.mu());
    user_ns += group->children_usage.cpu.total_ns();
    processes = std::max<uint64_t>(processes, static_cast<uint64_t>(group->id));
  }
  constexpr uint64_t kTickNs = 10'000'000;
  const uint64_t cpus = static_cast<uint64_t>(HostCpuCount());
  const uint64_t up_ns = static_cast<uint64_t>(HostClockNs(ClockId{CLOCK_BOOTTIME}));
  const uint64_t user = user_ns / kTickNs;
  const uint64_t total = up_ns / kTickNs * cpus;
  const uint64_t idle = total > user ? total - user : 0;
  std::string text = absl::StrFormat("cpu  %u 0 0 %u 0 0 0 0 0 0\n", user, idle);
  for (uint64_t i = 0; i < cpus; ++i) {
    absl::StrAppendFormat(&text, "cpu%u %u 0 0 %u 0 0 0 0 0 0\n", i, user / cpus, idle / cpus);
  }
  const int64_t boot =
      (HostClockNs(ClockId{CLOCK_REALTIME}) - static_cast<int64_t>(up_ns)) / kNsPerSecond;
  absl::StrAppendFormat(&text,
                        "intr 0\nctxt 0\nbtime %d\nprocesses %u\nprocs_running 1\nprocs_blocked 0\n"
                        "softirq 0 0 0 0 0 0 0 0 0 0 0\n",
                        boot, processes);
  return text;
}

// Names as Linux has them. Only free pages are known; what the host counts beyond is its own.
Result<std::string> VmStat() {
  constexpr std::string_view kNames[] = {"nr_zone_inactive_anon",
                                         "nr_zone_active_anon",
                                         "nr_zone_inactive_file",
                                         "nr_zone_active_file",
                                         "nr_zone_unevictable",
                                         "nr_zone_write_pending",
                                         "nr_mlock",
                                         "nr_inactive_anon",
                                         "nr_active_anon",
                                         "nr_inactive_file",
                                         "nr_active_file",
                                         "nr_unevictable",
                                         "nr_slab_reclaimable",
                                         "nr_slab_unreclaimable",
                                         "nr_anon_pages",
                                         "nr_mapped",
                                         "nr_file_pages",
                                         "nr_dirty",
                                         "nr_writeback",
                                         "nr_shmem",
                                         "nr_anon_transparent_hugepages",
                                         "nr_dirtied",
                                         "nr_written",
                                         "nr_kernel_stack",
                                         "nr_page_table_pages",
                                         "pgpgin",
                                         "pgpgout",
                                         "pswpin",
                                         "pswpout",
                                         "pgalloc_normal",
                                         "pgfree",
                                         "pgactivate",
                                         "pgdeactivate",
                                         "pgfault",
                                         "pgmajfault",
                                         "pgrefill",
                                         "pgsteal_kswapd",
                                         "pgsteal_direct",
                                         "pgscan_kswapd",
                                         "pgscan_direct",
                                         "slabs_scanned",
                                         "kswapd_inodesteal",
                                         "pageoutrun",
                                         "pgrotated",
                                         "oom_kill",
                                         "thp_fault_alloc",
                                         "swap_ra",
                                         "swap_ra_hit"};
  struct sysinfo info {};
  sysinfo(&info);
  std::string text = absl::StrFormat("nr_free_pages %u\n", info.freeram * info.mem_unit / 4096);
  for (const std::string_view name : kNames) absl::StrAppendFormat(&text, "%s 0\n", name);
  return text;
}

// A column for each processor.
std::string PerProcessor(std::initializer_list<std::string_view> rows, int width) {
  const int count = HostCpuCount();
  std::string text(static_cast<size_t>(width) + 1, ' ');
  for (int i = 0; i < count; ++i)
    absl::StrAppendFormat(&text, "%-11s", absl::StrFormat("CPU%d", i));
  text += '\n';
  for (const std::string_view row : rows) {
    absl::StrAppendFormat(&text, "%*s:", width, row);
    for (int i = 0; i < count; ++i) absl::StrAppendFormat(&text, " %10u", 0);
    text += '\n';
  }
  return text;
}

Result<std::string> SoftIrqs() {
  return PerProcessor({"HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED",
                       "HRTIMER", "RCU"},
                      12);
}

struct ConstantRow {
  std::string_view directory, name, text;
  uint32_t mode = 0444;
};
constexpr std::string_view kNoPressure =
    "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
constexpr ConstantRow kConstants[] = {
    {"", "buddyinfo", ""},
    {"", "cmdline", "\n"},
    {"", "consoles", ""},
    {"", "crypto", ""},
    {"", "diskstats", ""},
    {"", "execdomains", "0-0\tLinux           \t[kernel]\n"},
    {"", "key-users", ""},
    {"", "keys", ""},
    {"", "misc", ""},
    {"", "modules", ""},
    {"", "kallsyms", ""},
    {"", "partitions", "major minor  #blocks  name\n\n"},
    {"", "swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"},
    {"", "zoneinfo", ""},
    {"pressure", "cpu", kNoPressure},
    {"pressure", "io", kNoPressure},
    {"pressure", "memory", kNoPressure},
    {"", "devices",
     "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n"
     "128 ptm\n136 pts\n\nBlock devices:\n"},
    {"tty", "drivers",
     "/dev/tty             /dev/tty        5       0 system:/dev/tty\n"
     "/dev/console         /dev/console    5       1 system:console\n"
     "/dev/ptmx            /dev/ptmx       5       2 system\n"
     "pty_slave            /dev/pts      136 0-1048575 pty:slave\n"
     "pty_master           /dev/ptm      128 0-1048575 pty:master\n"},
    {"tty", "ldiscs", "n_tty       0\n"},
};

// All of them are in cgroup2's hierarchy, number 0.
std::string CgroupsText(const Kernel& kernel) {
  const size_t groups = kernel.control_group().counts().descendants + 1;
  std::string text = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n";
  for (const char* name :
       {"cpuset", "cpu", "cpuacct", "blkio", "memory", "devices", "freezer", "pids"}) {
    absl::StrAppendFormat(&text, "%s\t0\t%u\t1\n", name, groups);
  }
  return text;
}

// None of them wants a block device.
std::string FilesystemsText() {
  std::string text;
  for (const std::string_view name : kFilesystemNames)
    absl::StrAppendFormat(&text, "nodev\t%s\n", name);
  return text;
}

std::string LocksText() {
  std::string text;
  int number = 0;
  for (const std::string& line : FileLocks::Describe()) {
    if (!line.starts_with("->")) ++number;
    absl::StrAppendFormat(&text, "%d: %s\n", number, line);
  }
  return text;
}

}  // namespace

void Builder::Text(std::string_view directory, std::string_view name,
                   FunctionText::Function function, uint32_t mode, Store store) {
  const PseudoNode node{.dev = kProcDevice,
                        .ino = ++ino_,
                        .mode = S_IFREG | mode,
                        .has_end = directory.starts_with("sys")};
  Directory(directory).Put(std::string(name),
                           MakeRef<FunctionText>(node, std::move(function), std::move(store)));
}

void Builder::Put(std::string_view directory, std::string_view name, Ref<Inode> inode) {
  Directory(directory).Put(std::string(name), std::move(inode));
}

// Makes what is missing of the path.
FixedDirectory& Builder::Directory(std::string_view path) {
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

const Namespaces& NamespacesOfReader(Kernel& kernel) {
  Task* const task = Task::Current();
  return task == nullptr ? kernel.namespaces() : task->namespaces();
}

void PutSystemFiles(Kernel& kernel, Builder& builder) {
  Kernel* const k = &kernel;
  using Text = Result<std::string>;
  const auto ipc = [k]() -> IpcNamespace& { return NamespacesOfReader(*k).ipc(); };
  builder.Text("sysvipc", "msg", [ipc] { return Text(ipc().messages->Table()); });
  builder.Text("sysvipc", "sem", [ipc] { return Text(ipc().semaphores->Table()); });
  builder.Text("sysvipc", "shm", [ipc] { return Text(ipc().shared_memory->Table()); });
  for (const ConstantRow& row : kConstants) {
    builder.Text(
        row.directory, row.name, [&row] { return Result<std::string>(std::string(row.text)); },
        row.mode);
  }
  builder.Text("", "cgroups", [k] { return Text(CgroupsText(*k)); });
  builder.Text("", "cpuinfo", [] { return Text(CpuInfoText()); });
  builder.Text("", "filesystems", [] { return Text(FilesystemsText()); });
  builder.Text("", "interrupts", [] { return Text(PerProcessor({}, 10)); });
  builder.Text("", "loadavg", [k] { return LoadAverage(*k); });
  builder.Text("", "locks", [] { return Text(LocksText()); });
  builder.Text("", "meminfo", [] { return Text(MemInfoText()); });
  builder.Text("", "softirqs", [] { return SoftIrqs(); });
  builder.Text("", "stat", [k] { return SystemStat(*k); });
  builder.Text("", "uptime", [] { return Text(UptimeText()); });
  builder.Text("", "vmstat", [] { return VmStat(); });
  builder.Text("", "version", [] {
    return Text(absl::StrFormat("Linux version %s (sandbox) %s\n", kKernelRelease, kKernelVersion));
  });
}

}  // namespace sentry::proc
