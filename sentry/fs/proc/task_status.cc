// /proc/PID/status: numbers for people.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/host_cpus.h"
#include "sentry/fs/proc/host_info.h"
#include "sentry/fs/proc/snapshot.h"

namespace sentry::proc {
namespace {

std::string_view StateName(char state) {
  switch (state) {
    case 'R':
      return "R (running)";
    case 'S':
      return "S (sleeping)";
    case 'D':
      return "D (disk sleep)";
    case 'T':
      return "T (stopped)";
    default:
      return "Z (zombie)";
  }
}

// Linux escapes what would break the line.
std::string EscapedName(std::string_view comm) {
  std::string out;
  for (const char c : comm) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\\') {
      out += "\\\\";
    } else {
      out += c;
    }
  }
  return out;
}

// Sizes as the host counts them; code is told apart by the program's layout, since the host's idea
// of it is the sentry's own.
void AppendMemory(const Snapshot& s, const HostStatus& host, std::string& text) {
  const auto line = [&](std::string_view name, uint64_t kib) {
    absl::StrAppendFormat(&text, "%s:\t%8u kB\n", name, kib);
  };
  const Mm::Layout layout = (*s.mm)->layout();
  const uint64_t size = VirtualSize(**s.mm) / 1024;
  const uint64_t stub = host.Number("VmSize") - std::min(host.Number("VmSize"), size);
  const uint64_t peak = host.Number("VmPeak") - std::min(host.Number("VmPeak"), stub);
  const uint64_t page = kPageSize / 1024;
  const uint64_t code = (layout.end_code - layout.start_code + kPageSize - 1) / kPageSize * page;
  const uint64_t executable = host.Number("VmExe") + host.Number("VmLib");
  line("VmPeak", std::max(size, peak));
  line("VmSize", size);
  for (const char* name :
       {"VmLck", "VmPin", "VmHWM", "VmRSS", "RssAnon", "RssFile", "RssShmem", "VmData", "VmStk"}) {
    line(name, host.Number(name));
  }
  line("VmExe", code);
  line("VmLib", executable - std::min(executable, code));
  for (const char* name : {"VmPTE", "VmSwap", "HugetlbPages"}) line(name, host.Number(name));
  text += "CoreDumping:\t0\nTHP_enabled:\t1\nuntag_mask:\t0xffffffffffffffff\n";
}

// "0-1,3" and the mask in groups of 32 bits.
void AppendAffinity(const Snapshot& s, std::string& text) {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int count = std::min(HostCpuCount(), CPU_SETSIZE);
  for (int i = 0; i < count; ++i) CPU_SET(i, &set);
  if (s.affinity) set = *s.affinity;
  std::string list, mask;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (!CPU_ISSET(i, &set)) continue;
    int last = i;
    while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, &set)) ++last;
    absl::StrAppend(&list, list.empty() ? "" : ",", i);
    if (last > i) absl::StrAppend(&list, "-", last);
    i = last;
  }
  const int words = (count + 31) / 32;
  for (int word = words - 1; word >= 0; --word) {
    uint32_t bits = 0;
    for (int i = 0; i < 32; ++i) bits |= CPU_ISSET(word * 32 + i, &set) ? uint32_t{1} << i : 0;
    if (mask.empty() && words == 1) {
      absl::StrAppendFormat(&mask, "%x", bits);
    } else {
      absl::StrAppendFormat(&mask, "%s%08x", mask.empty() ? "" : ",", bits);
    }
  }
  absl::StrAppend(&text, "Cpus_allowed:\t", mask, "\nCpus_allowed_list:\t", list, "\n");
}

void AppendIds(const Subject& subject, const Snapshot& s, std::string& text) {
  const Credentials& c = s.creds;
  absl::StrAppendFormat(&text, "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\n", c.uid, c.euid,
                        c.suid, c.fsuid, c.gid, c.egid, c.sgid, c.fsgid);
  size_t fd_size = s.mm ? 64 : 0;
  while (fd_size != 0 && fd_size < s.fd_size) fd_size *= 2;
  absl::StrAppendFormat(&text, "FDSize:\t%u\nGroups:\t", fd_size);
  for (const uint32_t gid : c.groups) absl::StrAppend(&text, gid, " ");
  absl::StrAppendFormat(
      &text, "%s\nNStgid:\t%d\nNSpid:\t%d\nNSpgid:\t%d\nNSsid:\t%d\nKthread:\t0\n",
      c.groups.empty() ? " " : "", subject.tgid, subject.pid(), s.group, s.session);
}

}  // namespace

Result<std::string> StatusText(const Subject& subject) {
  const Snapshot s = TRY(TakeSnapshot(subject));
  const HostStatus host = s.mm ? HostStatus(**s.mm, s.host_tid) : HostStatus();
  std::string text = absl::StrFormat("Name:\t%s\n", EscapedName(s.comm));
  if (s.mm) absl::StrAppendFormat(&text, "Umask:\t%04o\n", s.umask);
  absl::StrAppendFormat(&text,
                        "State:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n",
                        StateName(s.state), subject.tgid, subject.pid(), s.ppid);
  AppendIds(subject, s, text);
  if (s.mm) AppendMemory(s, host, text);
  absl::StrAppendFormat(&text,
                        "Threads:\t%d\nSigQ:\t%u/%u\nSigPnd:\t%016x\nShdPnd:\t%016x\n"
                        "SigBlk:\t%016x\nSigIgn:\t%016x\nSigCgt:\t%016x\n",
                        s.threads, s.queued, s.queue_limit, s.pending, s.group_pending, s.blocked,
                        s.ignored, s.caught);
  const Credentials& c = s.creds;
  absl::StrAppendFormat(&text,
                        "CapInh:\t%016x\nCapPrm:\t%016x\nCapEff:\t%016x\nCapBnd:\t%016x\n"
                        "CapAmb:\t%016x\nNoNewPrivs:\t%d\nSeccomp:\t%d\nSeccomp_filters:\t%d\n",
                        c.inheritable, c.permitted, c.effective, c.bounding, c.ambient,
                        c.no_new_privs ? 1 : 0, s.seccomp_mode, s.seccomp_filters);
  AppendAffinity(s, text);
  absl::StrAppendFormat(&text,
                        "Mems_allowed:\t00000000,00000001\nMems_allowed_list:\t0\n"
                        "voluntary_ctxt_switches:\t%u\nnonvoluntary_ctxt_switches:\t%u\n",
                        host.Number("voluntary_ctxt_switches"),
                        host.Number("nonvoluntary_ctxt_switches"));
  return text;
}

}  // namespace sentry::proc
