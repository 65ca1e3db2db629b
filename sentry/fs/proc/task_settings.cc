// What a write to /proc/PID changes: comm, oom_score_adj, coredump_filter, timerslack_ns, ….
#include <sys/resource.h>

#include <algorithm>
#include <charconv>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sentry/fs/proc/proc_internal.h"
#include "sentry/task/task.h"

namespace sentry::proc {
namespace {

constexpr size_t kCommSize = 15;
constexpr int kSysNice = 23, kSysResource = 24;

bool Privileged(int capability) {
  Task* const writer = Task::Current();
  return writer != nullptr && writer->creds().HasCapability(capability);
}

Status SetOomScoreAdj(const Subject& subject, int64_t value) {
  const Ref<ThreadGroup> group = TRY(subject.Group());
  const bool privileged = Privileged(kSysResource);
  absl::MutexLock lock(&subject.kernel->mu());
  // Linux remembers the lowest that a privileged process has set; who starts without one has 0.
  if (value < std::min(0, group->oom_score_adj) && !privileged) return Errno(EACCES);
  group->oom_score_adj = static_cast<int>(value);
  return kOk;
}

}  // namespace

std::string_view FirstLine(std::string_view text) {
  const size_t end = text.find_first_of(std::string_view("\n\0", 2));
  return text.substr(0, std::min(end, text.size()));
}

// As kstrtoint after strstrip: blanks around it are fine.
Result<int64_t> ParseNumber(std::string_view text, int base) {
  constexpr std::string_view kBlank(" \t\n\0", 4);
  const size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return Errno(EINVAL);
  text = text.substr(first, text.find_last_not_of(kBlank) - first + 1);
  if (base == 16 && (text.starts_with("0x") || text.starts_with("0X"))) text.remove_prefix(2);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error == std::errc::result_out_of_range) return Errno(ERANGE);
  if (error != std::errc() || end != text.data() + text.size()) return Errno(EINVAL);
  return value;
}

Result<std::string> CommText(const Subject& subject) {
  const Ref<Task> task = TRY(subject.Named());
  absl::MutexLock lock(&subject.kernel->mu());
  return task->comm + "\n";
}

Status StoreComm(const Subject& subject, std::string_view text) {
  const Ref<Task> task = TRY(subject.Named());
  // Only threads of the same process may.
  Task* const writer = Task::Current();
  if (writer == nullptr || writer->tgid() != task->tgid()) return Errno(EINVAL);
  // Linux takes a newline for part of the name; whoever writes `echo name` gets one that stands in
  // the way of nobody, so it is kept out here.
  text = FirstLine(text).substr(0, kCommSize);
  absl::MutexLock lock(&subject.kernel->mu());
  task->comm = std::string(text);
  return kOk;
}

Result<std::string> AutogroupText(const Subject& subject) {
  const Ref<ThreadGroup> group = TRY(subject.Group());
  absl::MutexLock lock(&subject.kernel->mu());
  const Session& session = *group->session;
  return absl::StrCat("/autogroup-", session.autogroup, " nice ", session.autogroup_nice, "\n");
}

Status StoreAutogroup(const Subject& subject, std::string_view text) {
  const int64_t nice = TRY(ParseNumber(text));
  if (nice < -20 || nice > 19) return Errno(EINVAL);
  const Ref<ThreadGroup> group = TRY(subject.Group());
  Task* const writer = Task::Current();
  // can_nice() of Linux: RLIMIT_NICE is 20 less the lowest niceness that may be taken.
  if (nice < 0 && !Privileged(kSysNice) &&
      (writer == nullptr || writer->Limit(RLIMIT_NICE) < static_cast<uint64_t>(20 - nice))) {
    return Errno(EPERM);
  }
  absl::MutexLock lock(&subject.kernel->mu());
  group->session->autogroup_nice = static_cast<int>(nice);
  return kOk;
}

Result<std::string> OomScoreAdjText(const Subject& subject) {
  const Ref<ThreadGroup> group = TRY(subject.Group());
  absl::MutexLock lock(&subject.kernel->mu());
  return absl::StrCat(group->oom_score_adj, "\n");
}

Status StoreOomScoreAdj(const Subject& subject, std::string_view text) {
  const int64_t value = TRY(ParseNumber(text));
  if (value < -1000 || value > 1000) return Errno(EINVAL);
  return SetOomScoreAdj(subject, value);
}

// The older scale, -17 (never) to 15.
Result<std::string> OomAdjText(const Subject& subject) {
  const Ref<ThreadGroup> group = TRY(subject.Group());
  absl::MutexLock lock(&subject.kernel->mu());
  return absl::StrCat(group->oom_score_adj == 1000 ? 15 : group->oom_score_adj * 17 / 1000, "\n");
}

Status StoreOomAdj(const Subject& subject, std::string_view text) {
  const int64_t value = TRY(ParseNumber(text));
  if (value < -17 || value > 15) return Errno(EINVAL);
  return SetOomScoreAdj(subject, value == 15 ? 1000 : value * 1000 / 17);
}

Result<std::string> CoredumpFilterText(const Subject& subject) {
  const Ref<ThreadGroup> group = TRY(subject.Group());
  absl::MutexLock lock(&subject.kernel->mu());
  if (group->zombie) return std::string();
  return absl::StrFormat("%08x\n", group->coredump_filter);
}

Status StoreCoredumpFilter(const Subject& subject, std::string_view text) {
  constexpr int64_t kBits = 0x1ff;
  const bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
  const int64_t value = TRY(ParseNumber(text, hexadecimal ? 16 : 10));
  if (value < 0 || value > UINT32_MAX) return Errno(EINVAL);
  const Ref<ThreadGroup> group = TRY(subject.Group());
  absl::MutexLock lock(&subject.kernel->mu());
  group->coredump_filter = static_cast<uint32_t>(value & kBits);
  return kOk;
}

Result<std::string> TimerSlackText(const Subject& subject) {
  const Ref<Task> task = TRY(subject.AnyTask());
  if (task.get() != Task::Current() && !Privileged(kSysNice)) return Errno(EPERM);
  return absl::StrCat(task->timer_slack_ns.load(), "\n");
}

Status StoreTimerSlack(const Subject& subject, std::string_view text) {
  constexpr uint64_t kDefault = 50000;
  const int64_t value = TRY(ParseNumber(text));
  if (value < 0) return Errno(EINVAL);
  const Ref<Task> task = TRY(subject.AnyTask());
  if (task.get() != Task::Current() && !Privileged(kSysNice)) return Errno(EPERM);
  task->timer_slack_ns = value == 0 ? kDefault : static_cast<uint64_t>(value);
  return kOk;
}

// Accepts what Linux does; the host's bits stay, so that nothing is forgotten that was referenced.
Status StoreClearRefs(const Subject& subject, std::string_view text) {
  const int64_t what = TRY(ParseNumber(text));
  if (what < 1 || what > 5) return Errno(EINVAL);
  return subject.Memory().ok() ? Status(kOk) : Status(Errno(ESRCH));
}

}  // namespace sentry::proc
