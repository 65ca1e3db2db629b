// /proc/sys. What the sandbox itself decides may be written; for the rest, which the host decides
// or which is compiled in, only the value that it has anyway is accepted.
#include <sys/random.h>

#include <array>
#include <cstring>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "sentry/fs/proc/proc_internal.h"
#include "sentry/task/task.h"

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

constexpr Sysctl kSysctls[] = {
    {"sys/fs", "aio-max-nr", "65536"},
    {"sys/fs", "aio-nr", "0", 0444},
    {"sys/fs", "file-max", "9223372036854775807"},
    {"sys/fs", "lease-break-time", "45"},
    {"sys/fs", "leases-enable", "1"},
    {"sys/fs", "mount-max", "100000"},
    {"sys/fs", "nr_open", "1048576"},
    {"sys/fs", "overflowgid", "65534"},
    {"sys/fs", "overflowuid", "65534"},
    {"sys/fs", "pipe-max-size", "1048576"},
    {"sys/fs", "pipe-user-pages-hard", "0"},
    {"sys/fs", "pipe-user-pages-soft", "16384"},
    {"sys/fs", "suid_dumpable", "0"},
    {"sys/fs/epoll", "max_user_watches", "5000000"},
    {"sys/fs/inotify", "max_queued_events", "16384"},
    {"sys/fs/inotify", "max_user_instances", "128"},
    {"sys/fs/inotify", "max_user_watches", "65536"},
    {"sys/kernel", "cap_last_cap", "40", 0444},
    {"sys/kernel", "core_pattern", "core"},
    {"sys/kernel", "core_pipe_limit", "0"},
    {"sys/kernel", "core_uses_pid", "0"},
    {"sys/kernel", "dmesg_restrict", "1"},
    {"sys/kernel", "io_uring_disabled", "2"},
    {"sys/kernel", "kptr_restrict", "1"},
    {"sys/kernel", "ngroups_max", "65536", 0444},
    {"sys/kernel", "osrelease", kKernelRelease, 0444},
    {"sys/kernel", "ostype", "Linux", 0444},
    {"sys/kernel", "overflowgid", "65534"},
    {"sys/kernel", "overflowuid", "65534"},
    {"sys/kernel", "panic", "0"},
    {"sys/kernel", "panic_on_oops", "0"},
    {"sys/kernel", "perf_event_paranoid", "3"},
    {"sys/kernel", "pid_max", "32768"},
    {"sys/kernel", "printk", "7\t4\t1\t7"},
    {"sys/kernel", "randomize_va_space", "2"},
    {"sys/kernel", "sched_autogroup_enabled", "1"},
    {"sys/kernel", "sched_rr_timeslice_ms", "100"},
    {"sys/kernel", "sched_rt_period_us", "1000000"},
    {"sys/kernel", "sched_rt_runtime_us", "950000"},
    {"sys/kernel", "sysrq", "0"},
    {"sys/kernel", "tainted", "0"},
    {"sys/kernel", "threads-max", "32768"},
    {"sys/kernel", "unprivileged_bpf_disabled", "2"},
    {"sys/kernel", "version", kKernelVersion, 0444},
    {"sys/kernel/keys", "maxbytes", "20000"},
    {"sys/kernel/keys", "maxkeys", "200"},
    {"sys/kernel/pty", "max", "4096"},
    {"sys/kernel/pty", "reserve", "1024"},
    {"sys/kernel/random", "entropy_avail", "256", 0444},
    {"sys/kernel/random", "poolsize", "256", 0444},
    {"sys/kernel/random", "urandom_min_reseed_secs", "60"},
    {"sys/kernel/random", "write_wakeup_threshold", "256"},
    {"sys/kernel/seccomp", "actions_avail",
     "kill_process kill_thread trap errno user_notif trace log allow", 0444},
    {"sys/kernel/yama", "ptrace_scope", "0"},
    {"sys/vm", "dirty_background_ratio", "10"},
    {"sys/vm", "dirty_ratio", "20"},
    {"sys/vm", "legacy_va_layout", "0"},
    {"sys/vm", "max_map_count", "65530"},
    {"sys/vm", "memfd_noexec", "0"},
    {"sys/vm", "min_free_kbytes", "67584"},
    {"sys/vm", "mmap_min_addr", "65536"},
    {"sys/vm", "mmap_rnd_bits", "28"},
    {"sys/vm", "nr_hugepages", "0"},
    {"sys/vm", "nr_overcommit_hugepages", "0"},
    {"sys/vm", "oom_kill_allocating_task", "0"},
    {"sys/vm", "overcommit_kbytes", "0"},
    {"sys/vm", "overcommit_memory", "0"},
    {"sys/vm", "overcommit_ratio", "50"},
    {"sys/vm", "page-cluster", "3"},
    {"sys/vm", "panic_on_oom", "0"},
    {"sys/vm", "swappiness", "60"},
    {"sys/vm", "unprivileged_userfaultfd", "0"},
    {"sys/vm", "vfs_cache_pressure", "100"},
    {"sys/vm", "zone_reclaim_mode", "0"},
};

Status StoreSame(const Sysctl& row, std::string_view text) {
  if ((row.mode & 0222) == 0) return Errno(EPERM);
  const std::string_view line = FirstLine(text);
  if (line == row.value) return kOk;
  // A number where there is a text, or the reverse, would be wrong anywhere.
  const bool is_number = ParseNumber(row.value).ok();
  if (is_number && ParseNumber(line).error() == Errno(EINVAL)) return Errno(EINVAL);
  return Errno(EPERM);
}

constexpr size_t kMaxNodename = 64;

using SetName = void (UtsNamespace::*)(std::string);
Status StoreName(Kernel& kernel, SetName set, std::string_view text) {
  Task* const writer = Task::Current();
  // Nobody: the sandbox is being set up.
  if (writer != nullptr && !writer->creds().HasCapability(21 /* CAP_SYS_ADMIN */)) {
    return Errno(EPERM);
  }
  (NamespacesOfReader(kernel).uts().*set)(std::string(FirstLine(text).substr(0, kMaxNodename)));
  return kOk;
}

// Descriptions in use; Linux counts those of everybody.
Result<std::string> FileCount(Kernel& kernel) {
  size_t count = 0;
  for (const Ref<ThreadGroup>& group : kernel.AllGroups()) {
    const Ref<Task> task = kernel.FindTask(group->id);
    if (task) count += task->fds_ref()->List().size();
  }
  return absl::StrFormat("%u\t0\t9223372036854775807\n", count);
}

void PutProtection(Kernel& kernel, Builder& builder, std::string_view name,
                   std::atomic<int> Protections::*field, int most) {
  std::atomic<int>& value = kernel.vfs().protections().*field;
  builder.Text(
      "sys/fs", name, [&value] { return Result<std::string>(absl::StrFormat("%d\n", value)); },
      0644,
      [&value, most](std::string_view text) -> Status {
        const int64_t level = TRY(ParseNumber(FirstLine(text)));
        if (level < 0 || level > most) return Errno(EINVAL);
        value = static_cast<int>(level);
        return kOk;
      });
}

}  // namespace

void PutSysctls(Kernel& kernel, Builder& builder) {
  using Text = Result<std::string>;
  std::map<std::string, std::string> given = kernel.options().sysctls;
  for (const Sysctl& row : kSysctls) {
    const std::string path = std::string(row.directory) + "/" + std::string(row.name);
    if (given.contains(path.substr(strlen("sys/")))) continue;
    builder.Text(
        row.directory, row.name, [&row] { return Text(std::string(row.value) + "\n"); }, row.mode,
        [&row](std::string_view text) { return StoreSame(row, text); });
  }
  PutProtection(kernel, builder, "protected_fifos", &Protections::fifos, 2);
  PutProtection(kernel, builder, "protected_hardlinks", &Protections::hardlinks, 1);
  PutProtection(kernel, builder, "protected_regular", &Protections::regular, 2);
  PutProtection(kernel, builder, "protected_symlinks", &Protections::symlinks, 1);
  PutIpcSysctls(kernel, builder);
  PutNetSysctls(kernel, builder);
  for (const auto& [path, value] : given) {
    const size_t slash = path.rfind('/');
    builder.Text("sys/" + path.substr(0, slash), path.substr(slash + 1),
                 [value] { return Text(value + "\n"); });
  }
  Kernel* const k = &kernel;
  const auto names = [k] { return NamespacesOfReader(*k).uts().names(); };
  builder.Text(
      "sys/kernel", "hostname", [names] { return Text(names().host + "\n"); }, 0644,
      [k](std::string_view text) { return StoreName(*k, &UtsNamespace::set_hostname, text); });
  builder.Text(
      "sys/kernel", "domainname", [names] { return Text(names().domain + "\n"); }, 0644,
      [k](std::string_view text) { return StoreName(*k, &UtsNamespace::set_domainname, text); });
  builder.Text("sys/kernel/random", "uuid", [] { return Text(RandomUuid()); });
  builder.Text("sys/kernel/random", "boot_id", [id = RandomUuid()] { return Text(id); });
  builder.Text("sys/fs", "file-nr", [k] { return FileCount(*k); });
  builder.Text("sys/fs", "inode-nr", [] { return Text("0\t0\n"); });
  builder.Text("sys/fs", "dentry-state", [] { return Text("0\t0\t45\t0\t0\t0\n"); });
}

}  // namespace sentry::proc
