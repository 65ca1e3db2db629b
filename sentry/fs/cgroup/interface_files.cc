#include "sentry/fs/cgroup/interface_files.h"

#include <sched.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>

#include "absl/strings/str_cat.h"
#include "base/host_cpus.h"
#include "sentry/task/task.h"

namespace sentry::cgroup {
namespace {

using Text = Result<std::string>;

constexpr std::string_view kPidsController = "pids";
constexpr char kPidsLine[] = "pids\n";
constexpr std::string_view kControllers[] = {"cpuset", "cpu", "io", "memory", "pids"};

// What lies between separators, without what is empty.
std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    if (end != 0) parts.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

// kstrtoll() with base 0 or 10. ERANGE for what does not fit.
Result<int64_t> ParseNumber(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc::result_out_of_range) return Errno(ERANGE);
  if (error != std::errc() || end != text.data() + text.size()) return Errno(EINVAL);
  return number;
}

std::string Limit(uint64_t limit) {
  return limit == ControlGroup::kNoLimit ? "max\n" : absl::StrCat(limit, "\n");
}

// "max" or a number; `negative` for those below 0.
Result<uint64_t> ParseLimit(std::string_view text, Errno negative) {
  if (text == "max") return ControlGroup::kNoLimit;
  const int64_t number = TRY(ParseNumber(text));
  if (number < 0) return negative;
  return static_cast<uint64_t>(number);
}

bool HasPids(const ControlGroup& group) { return group.is_root() || group.parent()->gives_pids(); }

// cgroup.procs, cgroup.threads

Text ProcsText(const View& view) {
  std::string text;
  for (const auto& group : view.kernel.MembersOf(view.group, Kernel::Reach::kGroup)) {
    absl::StrAppend(&text, group->id, "\n");
  }
  return text;
}

Text ThreadsText(const View& view) {
  std::vector<Pid> tids;
  const auto members = view.kernel.MembersOf(view.group, Kernel::Reach::kGroup);
  {
    absl::MutexLock lock(&view.kernel.mu());
    for (const auto& group : members) {
      for (const Task* task : group->tasks) tids.push_back(task->tid());
    }
  }
  std::string text;
  for (const Pid tid : tids) absl::StrAppend(&text, tid, "\n");
  return text;
}

// 0 is the writer.
Result<Pid> ParseTask(std::string_view text) {
  const Result<int64_t> number = ParseNumber(text);
  if (!number.ok() || *number < 0 || *number > INT32_MAX) return Errno(EINVAL);
  if (*number != 0) return static_cast<Pid>(*number);
  const Task* const writer = Task::Current();
  if (writer == nullptr) return Errno(ESRCH);
  return writer->tid();
}

Status StoreProcs(const View& view, std::string_view text) {
  return view.kernel.EnterControlGroup(TRY(ParseTask(text)), Ref<ControlGroup>::Share(view.group));
}

// Every group is a domain, and a thread cannot leave its process's.
Status StoreThreads(const View& view, std::string_view text) {
  const Ref<Task> task = view.kernel.FindTask(TRY(ParseTask(text)));
  if (!task) return Errno(ESRCH);
  const bool there = view.kernel.ControlGroupOf(task->group()).get() == &view.group;
  return there ? Status(kOk) : Errno(EOPNOTSUPP);
}

// cgroup.controllers, cgroup.subtree_control

Text ControllersText(const View& view) {
  if (!view.group.is_root()) return std::string(HasPids(view.group) ? kPidsLine : "\n");
  std::string text;
  for (const std::string_view name : kControllers) text.append(name).append(" ");
  text.back() = '\n';
  return text;
}

Text SubtreeControlText(const View& view) {
  return std::string(view.group.gives_pids() ? kPidsLine : "\n");
}

// "+pids -memory": EINVAL for what is no controller, ENOENT for what this group has not. The others
// are the host's, which knows of no groups below: EOPNOTSUPP.
Status StoreSubtreeControl(const View& view, std::string_view text) {
  bool on = view.group.gives_pids();
  for (const std::string_view word : Split(text, ' ')) {
    const std::string_view name = word.substr(1);
    const bool known =
        std::find(std::begin(kControllers), std::end(kControllers), name) != std::end(kControllers);
    if ((word[0] != '+' && word[0] != '-') || !known) return Errno(EINVAL);
    const bool adds = word[0] == '+';
    if (adds && !(name == kPidsController ? HasPids(view.group) : view.group.is_root())) {
      return Errno(ENOENT);
    }
    if (adds && name != kPidsController) return Errno(EOPNOTSUPP);
    if (name == kPidsController) on = adds;
  }
  return view.group.GivePids(on);
}

// The other files of every group.

Text TypeText(const View&) { return std::string("domain\n"); }

Status StoreType(const View&, std::string_view text) {
  return Errno(text == "threaded" ? EOPNOTSUPP : EINVAL);
}

Text EventsText(const View& view) {
  return absl::StrCat("populated ", view.group.counts().populated != 0 ? 1 : 0, "\nfrozen 0\n");
}

Text StatText(const View& view) {
  return absl::StrCat("nr_descendants ", view.group.counts().descendants,
                      "\nnr_dying_descendants 0\n");
}

Text MaxDepthText(const View& view) { return Limit(view.group.limits().depth); }
Text MaxDescendantsText(const View& view) { return Limit(view.group.limits().descendants); }

Status StoreMaxDepth(const View& view, std::string_view text) {
  ControlGroup::Limits limits = view.group.limits();
  limits.depth = TRY(ParseLimit(text, Errno(ERANGE)));
  view.group.SetLimits(limits);
  return kOk;
}

Status StoreMaxDescendants(const View& view, std::string_view text) {
  ControlGroup::Limits limits = view.group.limits();
  limits.descendants = TRY(ParseLimit(text, Errno(ERANGE)));
  view.group.SetLimits(limits);
  return kOk;
}

// SIGKILL to what is in it and below; as everybody's inside, it does nothing to process 1.
Status StoreKill(const View& view, std::string_view text) {
  if (TRY(ParseNumber(text)) != 1) return Errno(ERANGE);
  for (const auto& group : view.kernel.MembersOf(view.group, Kernel::Reach::kSubtree)) {
    view.kernel.SendTo(*group, MakeSignalInfo(SIGKILL, SI_USER, 0, 0));
  }
  return kOk;
}

// As with a kernel that counts no stalls.
Status StorePressure(const View&, std::string_view text) { return Errno(EOPNOTSUPP); }

// pids

Text PidsCurrentText(const View& view) { return absl::StrCat(view.group.counts().tasks, "\n"); }
Text PidsPeakText(const View& view) { return absl::StrCat(view.group.counts().peak, "\n"); }
Text PidsMaxText(const View& view) { return Limit(view.group.limits().tasks); }
Text PidsEventsText(const View& view) {
  return absl::StrCat("max ", view.group.counts().refused, "\n");
}

Status StorePidsMax(const View& view, std::string_view text) {
  constexpr uint64_t kPidMaxLimit = 4 * 1024 * 1024;
  ControlGroup::Limits limits = view.group.limits();
  limits.tasks = TRY(ParseLimit(text, Errno(EINVAL)));
  if (limits.tasks > kPidMaxLimit && limits.tasks != ControlGroup::kNoLimit) return Errno(EINVAL);
  view.group.SetLimits(limits);
  return kOk;
}

// cpuset

// The CPUs of a list ("0-2,5"); false for what is none.
bool ParseCpuList(std::string_view text, cpu_set_t& cpus) {
  CPU_ZERO(&cpus);
  for (const std::string_view range : Split(text, ',')) {
    const std::vector<std::string_view> ends = Split(range, '-');
    if (ends.empty()) return false;
    const Result<int64_t> first = ParseNumber(ends.front());
    const Result<int64_t> last = ParseNumber(ends.back());
    if (!first.ok() || !last.ok() || *first < 0 || *last >= CPU_SETSIZE) return false;
    for (int64_t cpu = *first; cpu <= *last; ++cpu) CPU_SET(static_cast<size_t>(cpu), &cpus);
  }
  return true;
}

std::string CpuList(const cpu_set_t& cpus) {
  std::string text;
  for (size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &cpus)) continue;
    size_t last = cpu;
    while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, &cpus)) ++last;
    absl::StrAppend(&text, text.empty() ? "" : ",", cpu);
    if (last != cpu) absl::StrAppend(&text, "-", last);
    cpu = last;
  }
  return text + "\n";
}

// Numbered as the sandbox sees them, from 0 on without gaps, unless the container's are chosen.
Text CpusEffectiveText(const View& view) {
  cpu_set_t cpus;
  const std::string chosen = view.group.Shown("cpuset.cpus", "\n");
  if (chosen == "\n" || !ParseCpuList(Split(chosen, '\n').front(), cpus)) {
    CPU_ZERO(&cpus);
    for (int i = 0; i < HostCpuCount(); ++i) CPU_SET(static_cast<size_t>(i), &cpus);
  }
  return CpuList(cpus);
}

constexpr std::string_view kNoPressure =
    "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
constexpr std::string_view kNoMemoryEvents =
    "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\nsock_throttled 0\n";

constexpr auto kPids = Controller::kPids, kRootOnly = Controller::kRootOnly,
               kCore = Controller::kCore;

constexpr FileRow kFiles[] = {
    {"cgroup.controllers", 0444, kCore, &ControllersText},
    {"cgroup.events", 0444, kCore, &EventsText},
    {"cgroup.kill", 0200, kCore, nullptr, &StoreKill},
    {"cgroup.max.depth", 0644, kCore, &MaxDepthText, &StoreMaxDepth},
    {"cgroup.max.descendants", 0644, kCore, &MaxDescendantsText, &StoreMaxDescendants},
    {"cgroup.procs", 0644, kCore, &ProcsText, &StoreProcs, {}, true},
    {"cgroup.stat", 0444, kCore, &StatText},
    {"cgroup.subtree_control", 0644, kCore, &SubtreeControlText, &StoreSubtreeControl, {}, true},
    {"cgroup.threads", 0644, kCore, &ThreadsText, &StoreThreads, {}, true},
    {"cgroup.type", 0644, kCore, &TypeText, &StoreType},
    {"cpu.idle", 0644, kRootOnly, nullptr, nullptr, "0\n"},
    {"cpu.max", 0644, kRootOnly, nullptr, nullptr, "max 100000\n"},
    {"cpu.max.burst", 0644, kRootOnly, nullptr, nullptr, "0\n"},
    {"cpu.pressure", 0644, kCore, nullptr, &StorePressure, kNoPressure},
    {"cpu.stat", 0444, kCore, &CpuStatText},
    {"cpu.weight", 0644, kRootOnly, nullptr, nullptr, "100\n"},
    {"cpu.weight.nice", 0644, kRootOnly, nullptr, nullptr, "0\n"},
    {"cpuset.cpus", 0644, kRootOnly, nullptr, nullptr, "\n"},
    {"cpuset.cpus.effective", 0444, kRootOnly, &CpusEffectiveText},
    {"cpuset.cpus.partition", 0644, kRootOnly, nullptr, nullptr, "member\n"},
    {"cpuset.mems", 0644, kRootOnly, nullptr, nullptr, "\n"},
    {"cpuset.mems.effective", 0444, kRootOnly, nullptr, nullptr, "0\n"},
    {"io.max", 0644, kRootOnly, nullptr, nullptr, ""},
    {"io.pressure", 0644, kCore, nullptr, &StorePressure, kNoPressure},
    {"io.stat", 0444, kRootOnly, nullptr, nullptr, ""},
    {"io.weight", 0644, kRootOnly, nullptr, nullptr, "default 100\n"},
    {"memory.current", 0444, kRootOnly, &MemoryCurrentText},
    {"memory.events", 0444, kRootOnly, nullptr, nullptr, kNoMemoryEvents},
    {"memory.events.local", 0444, kRootOnly, nullptr, nullptr, kNoMemoryEvents},
    {"memory.high", 0644, kRootOnly, nullptr, nullptr, "max\n"},
    {"memory.low", 0644, kRootOnly, nullptr, nullptr, "0\n"},
    {"memory.max", 0644, kRootOnly, nullptr, nullptr, "max\n"},
    {"memory.min", 0644, kRootOnly, nullptr, nullptr, "0\n"},
    {"memory.oom.group", 0644, kRootOnly, nullptr, nullptr, "0\n"},
    {"memory.peak", 0444, kRootOnly, &MemoryPeakText},
    {"memory.pressure", 0644, kCore, nullptr, &StorePressure, kNoPressure},
    {"memory.stat", 0444, kRootOnly, &MemoryStatText},
    {"memory.swap.current", 0444, kRootOnly, nullptr, nullptr, "0\n"},
    {"memory.swap.events", 0444, kRootOnly, nullptr, nullptr, "high 0\nmax 0\nfail 0\n"},
    {"memory.swap.high", 0644, kRootOnly, nullptr, nullptr, "max\n"},
    {"memory.swap.max", 0644, kRootOnly, nullptr, nullptr, "max\n"},
    {"memory.swap.peak", 0444, kRootOnly, nullptr, nullptr, "0\n"},
    {"pids.current", 0444, kPids, &PidsCurrentText},
    {"pids.events", 0444, kPids, &PidsEventsText},
    {"pids.max", 0644, kPids, &PidsMaxText, &StorePidsMax},
    {"pids.peak", 0444, kPids, &PidsPeakText},
};
static_assert(std::is_sorted(std::begin(kFiles), std::end(kFiles),
                             [](const FileRow& a, const FileRow& b) { return a.name < b.name; }));

}  // namespace

std::span<const FileRow> Files() { return kFiles; }

bool IsThere(const FileRow& row, const ControlGroup& group) {
  if (row.controller == Controller::kPids) return HasPids(group);
  return row.controller == Controller::kCore || group.is_root();
}

}  // namespace sentry::cgroup
