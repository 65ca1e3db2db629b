// What the processes of a group use.
#include <atomic>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sentry/fs/cgroup/interface_files.h"
#include "sentry/fs/proc/host_stat.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/task/task.h"
#include "sentry/time/clocks.h"

namespace sentry::cgroup {
namespace {

// Bytes. Pages that several processes have mapped count for each.
struct Memory {
  uint64_t anonymous = 0, mapped_files = 0, shared = 0, page_tables = 0;
  uint64_t minor_faults = 0, major_faults = 0;
  uint64_t total() const { return anonymous + shared + page_tables; }
};

Ref<Task> AnyTaskOf(Kernel& kernel, const ThreadGroup& group) {
  absl::MutexLock lock(&kernel.mu());
  return group.tasks.empty() ? Ref<Task>() : Ref<Task>::Share(*group.tasks.front());
}

// Asks the host about every process, with no lock held.
Memory ReadMemory(const View& view) {
  Memory memory;
  std::set<const Mm*> seen;  // vfork: one for two.
  for (const auto& group : view.kernel.MembersOf(view.group, Kernel::Reach::kSubtree)) {
    const Ref<Task> task = AnyTaskOf(view.kernel, *group);
    if (!task) continue;
    const Ref<Mm> mm = task->mm_ref();
    if (!seen.insert(mm.get()).second) continue;
    const proc::HostStatus status(*mm);
    const proc::HostStat stat = proc::ReadHostStat(*mm);
    memory.anonymous += status.Number("RssAnon") * 1024;
    memory.mapped_files += status.Number("RssFile") * 1024;
    memory.page_tables += status.Number("VmPTE") * 1024;
    memory.minor_faults += stat.minor_faults;
    memory.major_faults += stat.major_faults;
  }
  memory.shared = Tmpfs::BytesInMemory();
  return memory;
}

std::atomic<uint64_t> peak{0};  // Of those that have been looked at.

uint64_t CurrentMemory(const View& view) {
  const uint64_t now = ReadMemory(view).total();
  uint64_t before = peak.load();
  while (before < now && !peak.compare_exchange_weak(before, now)) {
  }
  return now;
}

}  // namespace

Result<std::string> CpuStatText(const View& view) {
  platform::CpuTimes used = view.group.counts().dead_cpu;
  for (const auto& group : view.kernel.MembersOf(view.group, Kernel::Reach::kSubtree)) {
    const platform::CpuTimes own = ProcessCpu(view.kernel, *group);
    used.user_ns += own.user_ns;
    used.system_ns += own.system_ns;
  }
  std::string text =
      absl::StrFormat("usage_usec %u\nuser_usec %u\nsystem_usec %u\nnice_usec 0\n",
                      used.total_ns() / 1000, used.user_ns / 1000, used.system_ns / 1000);
  // Of the controller cpu.
  if (view.group.is_root()) {
    absl::StrAppend(&text,
                    "core_sched.force_idle_usec 0\nnr_periods 0\nnr_throttled 0\n"
                    "throttled_usec 0\nnr_bursts 0\nburst_usec 0\n");
  }
  return text;
}

Result<std::string> MemoryCurrentText(const View& view) {
  return absl::StrCat(CurrentMemory(view), "\n");
}

Result<std::string> MemoryPeakText(const View& view) {
  CurrentMemory(view);
  return absl::StrCat(peak.load(), "\n");
}

Result<std::string> MemoryStatText(const View& view) {
  const Memory memory = ReadMemory(view);
  const struct {
    std::string_view name;
    uint64_t value;
  } lines[] = {
      {"anon", memory.anonymous},
      {"file", memory.shared},
      {"kernel", memory.page_tables},
      {"kernel_stack", 0},
      {"pagetables", memory.page_tables},
      {"sec_pagetables", 0},
      {"percpu", 0},
      {"sock", 0},
      {"vmalloc", 0},
      {"shmem", memory.shared},
      {"file_mapped", memory.mapped_files},
      {"file_dirty", 0},
      {"file_writeback", 0},
      {"swapcached", 0},
      {"anon_thp", 0},
      {"file_thp", 0},
      {"shmem_thp", 0},
      {"inactive_anon", 0},
      {"active_anon", memory.anonymous + memory.shared},
      {"inactive_file", 0},
      {"active_file", 0},
      {"unevictable", 0},
      {"slab_reclaimable", 0},
      {"slab_unreclaimable", 0},
      {"slab", 0},
      {"workingset_refault_anon", 0},
      {"workingset_refault_file", 0},
      {"workingset_activate_anon", 0},
      {"workingset_activate_file", 0},
      {"workingset_restore_anon", 0},
      {"workingset_restore_file", 0},
      {"workingset_nodereclaim", 0},
      {"pgscan", 0},
      {"pgsteal", 0},
      {"pgfault", memory.minor_faults + memory.major_faults},
      {"pgmajfault", memory.major_faults},
      {"pgrefill", 0},
      {"pgactivate", 0},
      {"pgdeactivate", 0},
      {"pglazyfree", 0},
      {"pglazyfreed", 0},
      {"thp_fault_alloc", 0},
      {"thp_collapse_alloc", 0},
  };
  std::string text;
  for (const auto& [name, value] : lines) absl::StrAppendFormat(&text, "%s %u\n", name, value);
  return text;
}

}  // namespace sentry::cgroup
