// /proc/PID/stat, statm, sched and schedstat: numbers for programs.
#include <sched.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sentry/fs/proc/snapshot.h"
#include "sentry/time/clocks.h"

namespace sentry::proc {
namespace {

constexpr int64_t kTickNs = kNsPerSecond / 100;  // USER_HZ.

struct Ticks {
  uint64_t user = 0, system = 0;
};

// A thread's times are the host's. A process has had other stubs before execve and threads that
// have ended.
Ticks TicksOf(const Subject& subject, const Snapshot& s) {
  if (subject.tid != 0) return {s.host.user_ticks, s.host.system_ticks};
  return {s.cpu.user_ns / kTickNs, s.cpu.system_ns / kTickNs};
}

int PriorityOf(const Snapshot& s) {
  const bool real_time = s.policy == SCHED_FIFO || s.policy == SCHED_RR;
  return real_time ? -1 - s.rt_priority : 20 + s.nice;
}

// Addresses are for those who may look into the process.
Mm::Layout LayoutFor(const Subject& subject, const Snapshot& s) {
  if (!s.mm || !CheckReaderMayInspect(subject).ok())
    return Mm::Layout{.start_code = 1, .end_code = 1};
  return (*s.mm)->layout();
}

}  // namespace

// proc_pid_stat(5). Not told: faults of children, I/O delays, times of guests.
Result<std::string> StatText(const Subject& subject) {
  const Snapshot s = TRY(TakeSnapshot(subject));
  const Mm::Layout layout = s.mm ? LayoutFor(subject, s) : Mm::Layout{};
  const Ticks ticks = TicksOf(subject, s);
  constexpr uint32_t kForkNoExec = 0x40, kRandomize = 0x400000;
  const uint32_t flags = kRandomize | (s.has_execed ? 0 : kForkNoExec);
  std::string text = absl::StrFormat(
      "%d (%s) %c %d %d %d %d %d %u %u 0 %u 0 %u %u %u %u %d %d %d 0 ", subject.pid(), s.comm,
      s.state, s.ppid, s.group, s.session, s.terminal, s.foreground, flags, s.host.minor_faults,
      s.host.major_faults, ticks.user, ticks.system, s.children_cpu.user_ns / kTickNs,
      s.children_cpu.system_ns / kTickNs, PriorityOf(s), s.nice, s.threads);
  absl::StrAppendFormat(&text, "%d %u %u %u %u %u %u 0 0 %u %u %u %u 0 0 0 %d %d %d %d ",
                        s.start_time_ns / kTickNs, s.mm ? VirtualSize(**s.mm) : 0,
                        s.mm ? s.host.resident_pages : 0, s.rss_limit, layout.start_code,
                        layout.end_code, layout.stack_top, s.pending & 0x7fffffff,
                        s.blocked & 0x7fffffff, s.ignored & 0x7fffffff, s.caught & 0x7fffffff,
                        s.exit_signal, s.host.processor, s.rt_priority, s.policy);
  absl::StrAppendFormat(&text, "0 0 0 %u %u %u %u %u %u %u %d\n", layout.start_data,
                        layout.end_data, layout.start_brk, layout.arg_start, layout.arg_end,
                        layout.env_start, layout.env_end, s.exit_status);
  return text;
}

Result<std::string> StatmText(const Subject& subject) {
  const auto mm = TRY(subject.Memory());
  if (!mm) return std::string("0 0 0 0 0 0 0\n");
  const HostStatus host(**mm);
  const Mm::Layout layout = (*mm)->layout();
  constexpr uint64_t kKib = kPageSize / 1024;
  const uint64_t text = (layout.end_code - layout.start_code + kPageSize - 1) / kPageSize;
  return absl::StrFormat("%u %u %u %u 0 %u 0\n", VirtualSize(**mm) / kPageSize,
                         host.Number("VmRSS") / kKib,
                         (host.Number("RssFile") + host.Number("RssShmem")) / kKib, text,
                         (host.Number("VmData") + host.Number("VmStk")) / kKib);
}

// Only what is known of the host's scheduler.
Result<std::string> SchedText(const Subject& subject) {
  const Snapshot s = TRY(TakeSnapshot(subject));
  const HostStatus host = s.mm ? HostStatus(**s.mm, s.host_tid) : HostStatus();
  const uint64_t yielded = host.Number("voluntary_ctxt_switches");
  const uint64_t preempted = host.Number("nonvoluntary_ctxt_switches");
  std::string text = absl::StrFormat("%s (%d, #threads: %d)\n", s.comm, subject.pid(), s.threads);
  text += std::string(67, '-') + "\n";
  absl::StrAppendFormat(&text, "%-45s:%21.6f\n", "se.sum_exec_runtime",
                        static_cast<double>(s.cpu.total_ns()) / 1e6);
  const auto line = [&](std::string_view name, int64_t value) {
    absl::StrAppendFormat(&text, "%-45s:%21d\n", name, value);
  };
  line("nr_switches", static_cast<int64_t>(yielded + preempted));
  line("nr_voluntary_switches", static_cast<int64_t>(yielded));
  line("nr_involuntary_switches", static_cast<int64_t>(preempted));
  line("policy", s.policy);
  line("prio", 100 + PriorityOf(s));
  return text;
}

// Nanoseconds on a processor and waiting for one, and how often it was given one.
Result<std::string> SchedstatText(const Subject& subject) {
  const Snapshot s = TRY(TakeSnapshot(subject));
  if (s.mm) {
    auto host = (*s.mm)->memory().space().HostProc(platform::AddressSpace::HostFile::kSchedstat,
                                                   s.host_tid);
    if (host.ok()) return host;
  }
  return absl::StrCat(s.cpu.total_ns(), " 0 0\n");
}

}  // namespace sentry::proc
