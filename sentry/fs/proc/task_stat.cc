// /proc/PID/stat, status and statm.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sentry/fs/proc/host_info.h"
#include "sentry/fs/proc/proc_internal.h"
#include "sentry/task/task.h"
#include "sentry/time/clocks.h"

namespace sentry::proc {
namespace {

constexpr int64_t kTickNs = kNsPerSecond / 100;  // USER_HZ.
constexpr uint64_t kPageSize = 4096;

// Everything of the process tree that the texts show, taken at one moment.
struct Snapshot {
  std::string comm;
  char state = 'Z';
  Pid ppid = 0, group = 0, session = 0, foreground = -1;
  uint64_t terminal = 0;
  int threads = 0, exit_signal = 0, exit_status = 0, nice = 0;
  uint64_t cpu_ns = 0, children_cpu_ns = 0;
  int64_t start_time_ns = 0;
  uint64_t pending = 0, group_pending = 0, blocked = 0, ignored = 0, caught = 0;
  Credentials creds;
};

void ReadSignalsLocked(const ThreadGroup& group, Task* task, Snapshot& out) {
  out.group_pending = group.pending.pending().bits();
  if (task != nullptr) {
    out.pending = task->pending_signals().pending().bits();
    out.blocked = task->signal_mask().bits();
  }
  if (!group.handlers) return;
  for (int sig = 1; sig <= kSignalCount; ++sig) {
    const uint64_t handler = group.handlers->actions[sig].handler;
    const uint64_t bit = SignalSet::Of(sig).bits();
    if (handler == reinterpret_cast<uint64_t>(SIG_IGN)) out.ignored |= bit;
    if (handler > reinterpret_cast<uint64_t>(SIG_IGN)) out.caught |= bit;
  }
}

Result<Snapshot> Take(const Subject& subject) {
  const Ref<ThreadGroup> group = TRY(subject.Group());
  const auto task = subject.AnyTask();
  if (!task.ok() && subject.tid != 0) return task.error();
  Snapshot out;
  Ref<Terminal> terminal;
  const auto creds = subject.kernel->CredentialsOf(subject.pid());
  if (creds.ok()) out.creds = *creds;
  {
    absl::MutexLock lock(&subject.kernel->mu());
    if (task.ok()) {
      out.comm = (*task)->comm;
      const Pid shown = subject.tid != 0 ? subject.tid : subject.tgid;
      const bool alive = (*task)->tid() == shown && (*task)->alive();
      out.state = !alive ? 'Z' : group->stopped ? 'T' : task->get() == Task::Current() ? 'R' : 'S';
      out.nice = (*task)->nice.load(std::memory_order_relaxed);
    }
    out.ppid = group->parent != nullptr ? group->parent->id : 0;
    out.group = group->group;
    if (group->session) {
      out.session = group->session->id;
    }
    terminal = group->terminal;
    if (terminal) out.foreground = terminal->foreground;
    out.threads = static_cast<int>(group->tasks.size());
    out.exit_signal = group->exit_signal;
    out.exit_status = group->exit_status;
    out.children_cpu_ns = group->children_cpu_ns;
    out.start_time_ns = group->start_time_ns;
    ReadSignalsLocked(*group, task.ok() ? task->get() : nullptr, out);
  }
  out.cpu_ns = subject.tid != 0 ? (*task)->CpuTimeNs() : ProcessCpuNs(*subject.kernel, *group);
  if (terminal) out.terminal = terminal->device();
  return out;
}

uint64_t SizeOf(const Subject& subject) {
  const auto task = subject.AnyTask();
  return task.ok() ? VirtualSize(*(*task)->mm_ref()) : 0;
}

Mm::Layout LayoutOf(const Subject& subject) {
  const auto task = subject.AnyTask();
  return task.ok() ? (*task)->mm_ref()->layout() : Mm::Layout{};
}

std::string_view StateName(char state) {
  switch (state) {
    case 'R': return "R (running)";
    case 'S': return "S (sleeping)";
    case 'T': return "T (stopped)";
    default: return "Z (zombie)";
  }
}

}  // namespace

// proc_pid_stat(5). What the sentry does not count (faults, resident pages) is 0, and CPU time is all
// user time, since the host tells only the sum.
Result<std::string> StatText(const Subject& subject) {
  const Snapshot s = TRY(Take(subject));
  const Mm::Layout layout = LayoutOf(subject);
  std::string text = absl::StrFormat("%d (%s) %c %d %d %d %d %d 0 0 0 0 0 %u 0 %u 0 %d %d %d 0 ",
                                     subject.pid(), s.comm, s.state, s.ppid, s.group, s.session,
                                     s.terminal, s.foreground, s.cpu_ns / kTickNs,
                                     s.children_cpu_ns / kTickNs, 20 + s.nice, s.nice, s.threads);
  absl::StrAppendFormat(&text, "%d %u 0 18446744073709551615 %u %u %u 0 0 %u %u %u %u 0 0 0 %d 0 ",
                        s.start_time_ns / kTickNs, SizeOf(subject), layout.start_code,
                        layout.end_code, layout.stack_top, s.pending & 0x7fffffff,
                        s.blocked & 0x7fffffff, s.ignored & 0x7fffffff, s.caught & 0x7fffffff,
                        s.exit_signal);
  absl::StrAppendFormat(&text, "0 0 0 0 0 %u %u %u %u %u %u %u %d\n", layout.start_data,
                        layout.end_data, layout.start_brk, layout.arg_start, layout.arg_end,
                        layout.env_start, layout.env_end, s.exit_status);
  return text;
}

Result<std::string> StatusText(const Subject& subject) {
  const Snapshot s = TRY(Take(subject));
  std::string text = absl::StrFormat("Name:\t%s\n", s.comm);
  const auto task = subject.AnyTask();
  if (task.ok()) absl::StrAppendFormat(&text, "Umask:\t%04o\n", (*task)->fs_ref()->umask());
  absl::StrAppendFormat(&text,
                        "State:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n",
                        StateName(s.state), subject.tgid, subject.pid(), s.ppid);
  const Credentials& c = s.creds;
  absl::StrAppendFormat(&text, "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\n", c.uid, c.euid, c.suid,
                        c.fsuid, c.gid, c.egid, c.sgid, c.fsgid);
  const size_t fds = task.ok() ? (*task)->fds_ref()->List().size() : 0;
  absl::StrAppendFormat(&text, "FDSize:\t%u\nGroups:\t", std::max<size_t>(fds, 64));
  for (const uint32_t gid : c.groups) absl::StrAppend(&text, gid, " ");
  absl::StrAppendFormat(&text, "\nNStgid:\t%d\nNSpid:\t%d\nNSpgid:\t%d\nNSsid:\t%d\n", subject.tgid,
                        subject.pid(), s.group, s.session);
  if (task.ok()) absl::StrAppendFormat(&text, "VmSize:\t%8u kB\n", SizeOf(subject) / 1024);
  absl::StrAppendFormat(&text,
                        "Threads:\t%d\nSigQ:\t0/0\nSigPnd:\t%016x\nShdPnd:\t%016x\nSigBlk:\t%016x\n"
                        "SigIgn:\t%016x\nSigCgt:\t%016x\n",
                        s.threads, s.pending, s.group_pending, s.blocked, s.ignored, s.caught);
  absl::StrAppendFormat(&text,
                        "CapInh:\t%016x\nCapPrm:\t%016x\nCapEff:\t%016x\nCapBnd:\t%016x\n"
                        "CapAmb:\t%016x\nNoNewPrivs:\t%d\nSeccomp:\t0\nSeccomp_filters:\t0\n",
                        c.inheritable, c.permitted, c.effective, c.bounding, c.ambient,
                        c.no_new_privs ? 1 : 0);
  const int cpus = std::min(ProcessorCount(), 64);
  const uint64_t mask = cpus == 64 ? ~uint64_t{0} : (uint64_t{1} << cpus) - 1;
  absl::StrAppendFormat(&text,
                        "Cpus_allowed:\t%x\nCpus_allowed_list:\t0-%d\nMems_allowed:\t1\n"
                        "Mems_allowed_list:\t0\nvoluntary_ctxt_switches:\t0\n"
                        "nonvoluntary_ctxt_switches:\t0\n",
                        mask, cpus - 1);
  return text;
}

Result<std::string> StatmText(const Subject& subject) {
  TRY(subject.Group());
  // The host tells what is mapped, not what is resident.
  return absl::StrFormat("%u 0 0 0 0 0 0\n", SizeOf(subject) / kPageSize);
}

}  // namespace sentry::proc
