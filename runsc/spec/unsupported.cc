#include "runsc/spec/unsupported.h"

#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/mount.h>
#include <sys/personality.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "runsc/spec/names.h"

namespace runsc::spec {

namespace {

struct Refusal {
  bool asked;
  const char* field;
  const char* why;
};

absl::Status Check(std::initializer_list<Refusal> refusals) {
  for (const Refusal& refusal : refusals) {
    if (refusal.asked) {
      return absl::UnimplementedError(absl::StrCat(refusal.field, ": ", refusal.why));
    }
  }
  return absl::OkStatus();
}

bool Has(const Spec& spec, bool (*test)(const Mount&)) {
  return std::any_of(spec.mounts.begin(), spec.mounts.end(), test);
}

// What the host mounts in there later does not arrive, and nothing goes the other way.
bool WantsTheHostsMounts(const Mount& mount) {
  const auto shares = [](uint64_t flags) { return (flags & (MS_SHARED | MS_SLAVE)) != 0; };
  return mount.IsBind() && std::any_of(mount.propagation.begin(), mount.propagation.end(), shares);
}

bool HasPath(const Linux& linux_, NamespaceType type) {
  const Namespace* found = linux_.Find(type);
  return found != nullptr && !found->path.empty();
}

bool Notifies(const std::optional<Seccomp>& seccomp) {
  if (!seccomp) return false;
  const auto notify = [](uint32_t action) {
    return (action & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_USER_NOTIF;
  };
  return !seccomp->listener_path.empty() || notify(seccomp->default_action) ||
         std::any_of(seccomp->rules.begin(), seccomp->rules.end(),
                     [&](const SeccompRule& rule) { return notify(rule.action); });
}

absl::Status CheckMounts(const Spec& spec) {
  return Check({
      {Has(spec, [](const Mount& m) { return m.idmapped; }), "mounts",
       "id-mapped mounts are not supported"},
      {Has(spec, WantsTheHostsMounts), "mounts",
       "mounts are not shared with the host: of a bind mount there is no propagation but private"},
      {Has(spec, [](const Mount& m) { return m.tmpcopyup && m.type != "tmpfs"; }), "mounts",
       "the option tmpcopyup is for tmpfs alone"},
      {Has(spec, [](const Mount& m) { return (m.flags & MS_REMOUNT) != 0; }), "mounts",
       "the option remount is not supported"},
      {Has(spec, [](const Mount& m) { return (m.flags & MS_MANDLOCK) != 0; }), "mounts",
       "the option mand is not supported; Linux dropped it, too"},
  });
}

absl::Status CheckLinux(const Linux& linux_) {
  return Check({
      {linux_.intel_rdt, "linux.intelRdt", "resctrl is not supported"},
      {linux_.memory_policy, "linux.memoryPolicy", "NUMA policies are not supported"},
      {linux_.net_devices, "linux.netDevices", "moving network devices is not supported"},
      {linux_.time_offsets, "linux.timeOffsets", "clock offsets are not supported"},
      {HasPath(linux_, NamespaceType::kTime), "linux.namespaces",
       "joining a time namespace is not supported"},
      {HasPath(linux_, NamespaceType::kUser), "linux.namespaces",
       "joining a user namespace is not supported"},
      {HasPath(linux_, NamespaceType::kMount), "linux.namespaces",
       "joining a mount namespace is not supported: mounts are the sandbox's own"},
      {HasPath(linux_, NamespaceType::kPid), "linux.namespaces",
       "joining a pid namespace is not supported"},
      {HasPath(linux_, NamespaceType::kIpc), "linux.namespaces",
       "joining an ipc namespace is not supported"},
      {HasPath(linux_, NamespaceType::kUts), "linux.namespaces",
       "joining a uts namespace is not supported"},
      {HasPath(linux_, NamespaceType::kCgroup), "linux.namespaces",
       "joining a cgroup namespace is not supported"},
      {linux_.personality.value_or(PER_LINUX) != PER_LINUX, "linux.personality",
       "LINUX32 is not supported: there are no 32-bit programs inside"},
      {Notifies(linux_.seccomp), "linux.seccomp",
       "SCMP_ACT_NOTIFY and listenerPath are not supported"},
  });
}

}  // namespace

absl::Status CheckSupported(const Process& process) {
  const uint32_t policy = process.scheduler ? process.scheduler->policy : SCHED_NORMAL;
  return Check({
      {policy != SCHED_NORMAL && policy != SCHED_BATCH && policy != SCHED_IDLE, "process.scheduler",
       "real-time policies are not supported"},
      {process.exec_cpu_affinity.has_value(), "process.execCPUAffinity", "is not supported"},
  });
}

absl::Status CheckSupported(const Spec& spec) {
  if (!spec.foreign.empty()) {
    return absl::UnimplementedError(
        absl::StrCat(spec.foreign[0], ": is not supported, this is a runtime for Linux"));
  }
  if (absl::Status s = CheckMounts(spec); !s.ok()) return s;
  if (absl::Status s = CheckLinux(spec.linux_); !s.ok()) return s;
  return spec.process ? CheckSupported(*spec.process) : absl::OkStatus();
}

std::vector<std::string> Remarks(const Spec& spec) {
  std::vector<std::string> remarks;
  const auto remark = [&](bool asked, std::string text) {
    if (asked) remarks.push_back(std::move(text));
  };
  const Process process = spec.process.value_or(Process{});
  remark(!process.apparmor_profile.empty(),
         "process.apparmorProfile: has no effect, the program never reaches the host's kernel");
  remark(!process.selinux_label.empty(),
         "process.selinuxLabel: has no effect, the program never reaches the host's kernel");
  remark(!spec.linux_.mount_label.empty(),
         "linux.mountLabel: has no effect, mounts are the sandbox's own");
  remark(process.io_priority.has_value(),
         "process.ioPriority: is recorded, not passed to the host");
  remark(process.scheduler.has_value(), "process.scheduler: is recorded, not passed to the host");
  for (const Name& name : NamespaceNames()) {
    const auto type = static_cast<NamespaceType>(name.value);
    const bool own_anyway = type == NamespaceType::kPid || type == NamespaceType::kIpc ||
                            type == NamespaceType::kMount || type == NamespaceType::kUts;
    remark(own_anyway && spec.linux_.Find(type) == nullptr,
           absl::StrCat("linux.namespaces: ", std::string(name.name),
                        " is not the host's although none is asked for: the sandbox has its own"));
  }
  return remarks;
}

}  // namespace runsc::spec
