// The process section (config.md, "Process"); `exec --process` takes it alone.
#include <sys/resource.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "runsc/spec/parse.h"
#include "runsc/spec/sections.h"

namespace runsc::spec {

namespace {

// The largest number means "leave it" to setresuid(2).
constexpr uint32_t kNoId = UINT32_MAX;
constexpr int kOomScoreLimit = 1000;  // OOM_SCORE_ADJ_MAX
constexpr size_t kMaxGroups = 65536;  // NGROUPS_MAX

void ReadUser(const Reader& in, User& user) {
  in["uid"].Read(user.uid);
  in["gid"].Read(user.gid);
  in["umask"].Read(user.umask);
  in["additionalGids"].Read(user.additional_gids);
  if (user.uid == kNoId) in["uid"].Fail("4294967295 is nobody's");
  if (user.gid == kNoId) in["gid"].Fail("4294967295 is nobody's");
  if (user.umask.value_or(0) > 0777) in["umask"].Fail("has more than nine bits");
  if (user.additional_gids.size() > kMaxGroups) in["additionalGids"].Fail("has more than 65536");
  std::string name;
  in["username"].Read(name);  // Windows'.
  if (!name.empty()) in["username"].Fail("is for another system");
}

void ReadCapabilitySet(const Reader& in, uint64_t& set) {
  for (const Reader& element : in.Elements()) {
    const std::optional<uint32_t> bit = ReadName(element, CapabilityNames(), "capability");
    if (bit) set |= uint64_t{1} << *bit;
  }
}

void ReadCapabilities(const Reader& in, Capabilities& sets) {
  ReadCapabilitySet(in["bounding"], sets.bounding);
  ReadCapabilitySet(in["effective"], sets.effective);
  ReadCapabilitySet(in["inheritable"], sets.inheritable);
  ReadCapabilitySet(in["permitted"], sets.permitted);
  ReadCapabilitySet(in["ambient"], sets.ambient);
}

void ReadRlimit(const Reader& in, Rlimit& limit) {
  if (!in["type"].present()) in["type"].Fail("is missing");
  limit.resource =
      static_cast<int>(ReadName(in["type"], RlimitNames(), "resource of setrlimit(2)").value_or(0));
  in["soft"].Require(limit.soft);
  in["hard"].Require(limit.hard);
  if (limit.soft > limit.hard) in["soft"].Fail("is above hard");
}

void ReadRlimits(const Reader& in, std::vector<Rlimit>& limits) {
  ReadEach(in, limits, ReadRlimit);
  uint32_t seen = 0;
  for (const Rlimit& limit : limits) {
    const uint32_t bit = 1u << limit.resource;
    if ((seen & bit) != 0) in.Fail("names a resource twice");
    seen |= bit;
  }
}

void ReadScheduler(const Reader& in, Scheduler& scheduler) {
  if (!in["policy"].present()) in["policy"].Fail("is missing");
  scheduler.policy =
      ReadName(in["policy"], SchedulerPolicies(), "policy of sched_setattr(2)").value_or(0);
  in["nice"].Read(scheduler.nice);
  in["priority"].Read(scheduler.priority);
  for (const Reader& flag : in["flags"].Elements()) {
    scheduler.flags |= ReadName(flag, SchedulerFlags(), "flag of sched_setattr(2)").value_or(0);
  }
  in["runtime"].Read(scheduler.runtime);
  in["deadline"].Read(scheduler.deadline);
  in["period"].Read(scheduler.period);
}

void ReadIoPriority(const Reader& in, IoPriority& io) {
  if (!in["class"].present()) in["class"].Fail("is missing");
  io.io_class =
      static_cast<int>(ReadName(in["class"], IoClasses(), "class of ioprio_set(2)").value_or(0));
  in["priority"].Read(io.priority);
  if (io.priority < 0 || io.priority > 7) in["priority"].Fail("is not from 0 to 7");
}

void ReadConsoleSize(const Reader& in, std::optional<ConsoleSize>& out) {
  if (!in.present()) return;
  ConsoleSize size;
  in["height"].Require(size.rows);
  in["width"].Require(size.columns);
  out = size;
}

// What the kernel is given, and when.
void ReadSettings(const Reader& in, Process& process) {
  if (in["capabilities"].present()) {
    ReadCapabilities(in["capabilities"], process.capabilities.emplace());
  }
  ReadRlimits(in["rlimits"], process.rlimits);
  in["noNewPrivileges"].Read(process.no_new_privileges);
  in["oomScoreAdj"].Read(process.oom_score_adj);
  const int score = process.oom_score_adj.value_or(0);
  if (score < -kOomScoreLimit || score > kOomScoreLimit) {
    in["oomScoreAdj"].Fail(absl::StrCat(score, " is not from -1000 to 1000"));
  }
  if (in["scheduler"].present()) ReadScheduler(in["scheduler"], process.scheduler.emplace());
  if (in["ioPriority"].present()) ReadIoPriority(in["ioPriority"], process.io_priority.emplace());
  if (in["execCPUAffinity"].present()) {
    ExecCpuAffinity& affinity = process.exec_cpu_affinity.emplace();
    in["execCPUAffinity"]["initial"].Read(affinity.initial);
    in["execCPUAffinity"]["final"].Read(affinity.final);
  }
  in["apparmorProfile"].Read(process.apparmor_profile);
  in["selinuxLabel"].Read(process.selinux_label);
}

}  // namespace

void ReadProcess(const Reader& in, Process& process) {
  in["terminal"].Read(process.terminal);
  ReadConsoleSize(in["consoleSize"], process.console_size);
  ReadUser(in["user"], process.user);
  in["args"].Read(process.args);
  if (!in.failed() && process.args.empty()) {
    in["args"].Fail(in["args"].present() ? "is empty" : "is missing");
  }
  in["env"].Read(process.env);
  RequireAbsolute(in["cwd"], process.cwd);
  ReadSettings(in, process);
}

absl::StatusOr<int> ParseCapability(std::string_view name) {
  std::string upper = absl::AsciiStrToUpper(std::string(name));
  if (!upper.starts_with("CAP_")) upper.insert(0, "CAP_");
  const std::optional<uint32_t> bit = Lookup(CapabilityNames(), upper);
  if (!bit)
    return absl::InvalidArgumentError(absl::StrCat("\"", std::string(name), "\" is no capability"));
  return static_cast<int>(*bit);
}

}  // namespace runsc::spec
