// The small texts of /proc/PID: limits, io, children, …; and its directory attr.
#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sentry/fs/proc/proc_internal.h"
#include "sentry/task/task.h"
#include "sentry/time/process_timers.h"

namespace sentry::proc {
namespace {

struct LimitRow {
  int resource;
  std::string_view name, unit;
};
constexpr LimitRow kLimits[] = {
    {RLIMIT_CPU, "Max cpu time", "seconds"},
    {RLIMIT_FSIZE, "Max file size", "bytes"},
    {RLIMIT_DATA, "Max data size", "bytes"},
    {RLIMIT_STACK, "Max stack size", "bytes"},
    {RLIMIT_CORE, "Max core file size", "bytes"},
    {RLIMIT_RSS, "Max resident set", "bytes"},
    {RLIMIT_NPROC, "Max processes", "processes"},
    {RLIMIT_NOFILE, "Max open files", "files"},
    {RLIMIT_MEMLOCK, "Max locked memory", "bytes"},
    {RLIMIT_AS, "Max address space", "bytes"},
    {RLIMIT_LOCKS, "Max file locks", "locks"},
    {RLIMIT_SIGPENDING, "Max pending signals", "signals"},
    {RLIMIT_MSGQUEUE, "Max msgqueue size", "bytes"},
    {RLIMIT_NICE, "Max nice priority", ""},
    {RLIMIT_RTPRIO, "Max realtime priority", ""},
    {RLIMIT_RTTIME, "Max realtime timeout", "us"},
};

std::string LimitValue(uint64_t value) {
  return value == RLIM_INFINITY ? "unlimited" : absl::StrCat(value);
}

// Security modules' attributes: there is no such module.
constexpr std::string_view kAttributes[] = {"current",   "exec", "fscreate",
                                            "keycreate", "prev", "sockcreate"};
constexpr TaskText kAttribute{"", 0666, &Unreadable};

}  // namespace

Result<std::string> Unreadable(const Subject& subject) {
  TRY(subject.Group());
  return Errno(EINVAL);
}

Ref<Inode> NewAttrDirectory(const Subject& subject) {
  // Subject and table are values and constants: filled when it is looked up.
  const auto directory = MakeRef<FixedDirectory>(subject.Node(S_IFDIR | 0555, kSlotAttr));
  uint64_t slot = kSlotAttr;
  for (const std::string_view name : kAttributes) {
    directory->Put(std::string(name), NewTaskText(subject, kAttribute, ++slot));
  }
  return directory;
}

Result<std::string> LimitsText(const Subject& subject) {
  const Ref<ThreadGroup> group = TRY(subject.Group());
  std::array<rlimit, RLIM_NLIMITS> limits;
  {
    absl::MutexLock lock(&subject.kernel->mu());
    limits = group->limits.all();
  }
  std::string text =
      absl::StrFormat("%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
  for (const LimitRow& row : kLimits) {
    const rlimit& limit = limits[static_cast<size_t>(row.resource)];
    absl::StrAppendFormat(&text, "%-25s %-20s %-20s %-10s\n", row.name, LimitValue(limit.rlim_cur),
                          LimitValue(limit.rlim_max), row.unit);
  }
  return text;
}

Result<std::string> CgroupText(const Subject& subject) {
  const Ref<ThreadGroup> group = TRY(subject.Group());
  return absl::StrCat("0::", subject.kernel->ControlGroupOf(*group)->Path(), "\n");
}

// What read(2) and write(2) moved; what reached a disk is not told.
Result<std::string> IoText(const Subject& subject) {
  const Ref<ThreadGroup> group = TRY(subject.Group());
  const ThreadGroup::IoCounts& io = group->io;
  return absl::StrFormat(
      "rchar: %u\nwchar: %u\nsyscr: %u\nsyscw: %u\nread_bytes: 0\nwrite_bytes: 0\n"
      "cancelled_write_bytes: 0\n",
      io.read_bytes.load(std::memory_order_relaxed),
      io.written_bytes.load(std::memory_order_relaxed), io.reads.load(std::memory_order_relaxed),
      io.writes.load(std::memory_order_relaxed));
}

Result<std::string> TimersText(const Subject& subject) {
  const Ref<ThreadGroup> group = TRY(subject.Group());
  std::shared_ptr<ProcessTimers> timers;
  {
    absl::MutexLock lock(&subject.kernel->mu());
    timers = group->timers;
  }
  std::string text;
  if (timers == nullptr) return text;
  for (const ProcessTimers::Description& timer : timers->List()) {
    const bool thread = timer.notify == SIGEV_THREAD_ID;
    const char* how = timer.notify == SIGEV_NONE     ? "none"
                      : timer.notify == SIGEV_THREAD ? "thread"
                                                     : "signal";
    absl::StrAppendFormat(&text, "ID: %d\nsignal: %d/%016x\nnotify: %s/%s.%d\nClockID: %d\n",
                          timer.id, timer.sig, timer.value, how, thread ? "tid" : "pid",
                          thread ? timer.tid : group->id, static_cast<int>(timer.clock));
  }
  return text;
}

// Pages are the host's to merge.
Result<std::string> KsmStatText(const Subject& subject) {
  const Ref<ThreadGroup> group = TRY(subject.Group());
  absl::MutexLock lock(&subject.kernel->mu());
  return absl::StrCat(
      "ksm_rmap_items 0\nksm_zero_pages 0\nksm_merging_pages 0\nksm_process_profit 0\n"
      "ksm_merge_any: ",
      group->merges_memory ? "yes" : "no", "\nksm_mergeable: no\n");
}

// When a thread last used wide vectors is not known: Linux says the same of one that never has.
Result<std::string> ArchStatusText(const Subject& subject) {
  TRY(subject.Group());
  return std::string(__builtin_cpu_supports("avx512f") ? "AVX512_elapsed_ms:\t-1\n" : "");
}

// Which thread started a child is not remembered: the leader has them all.
Result<std::string> ChildrenText(const Subject& subject) {
  const Ref<ThreadGroup> group = TRY(subject.Group());
  if (subject.pid() != subject.tgid) return std::string();
  std::string text;
  absl::MutexLock lock(&subject.kernel->mu());
  for (const Ref<ThreadGroup>& child : group->children) absl::StrAppend(&text, child->id, " ");
  return text;
}

Result<std::string> PersonalityText(const Subject& subject) {
  const Ref<ThreadGroup> group = TRY(subject.Group());
  absl::MutexLock lock(&subject.kernel->mu());
  return absl::StrFormat("%08x\n", group->personality);
}

// Nobody is chosen for killing here: what Linux says of a process without memory to speak of.
Result<std::string> OomScoreText(const Subject& subject) {
  const Ref<ThreadGroup> group = TRY(subject.Group());
  absl::MutexLock lock(&subject.kernel->mu());
  return absl::StrCat(std::max(0, (1000 + group->oom_score_adj) * 2 / 3), "\n");
}

// One user namespace, in which every id is itself.
Result<std::string> IdMapText(const Subject& subject) {
  TRY(subject.Group());
  return std::string("         0          0 4294967295\n");
}

}  // namespace sentry::proc
