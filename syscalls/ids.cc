#include "syscalls/ids.h"

#include <linux/capability.h>
#include <linux/securebits.h>

#include <algorithm>
#include <array>
#include <vector>

#include "sentry/task/kernel.h"
#include "syscalls/common.h"

namespace syscalls {
namespace {

using sentry::Credentials;

constexpr uint32_t kKeep = ~uint32_t{0};  // "Leave it as it is."
constexpr int kMaxGroups = 65536;
constexpr uint64_t kFsCapabilities =
    uint64_t{1} << CAP_CHOWN | uint64_t{1} << CAP_MKNOD | uint64_t{1} << CAP_DAC_OVERRIDE |
    uint64_t{1} << CAP_DAC_READ_SEARCH | uint64_t{1} << CAP_FOWNER | uint64_t{1} << CAP_FSETID |
    uint64_t{1} << CAP_LINUX_IMMUTABLE | uint64_t{1} << CAP_MAC_OVERRIDE;

// What changes of user ids do to capabilities (capabilities(7), "Effect of user ID changes").
void FixCapabilities(const Credentials& before, Credentials& after) {
  if ((after.securebits & 1u << SECURE_NO_SETUID_FIXUP) != 0) return;
  const bool was_root = before.uid == 0 || before.euid == 0 || before.suid == 0;
  const bool is_root = after.uid == 0 || after.euid == 0 || after.suid == 0;
  if (was_root && !is_root) {
    const bool keep = (after.securebits & 1u << SECURE_KEEP_CAPS) != 0;
    if (!keep) after.permitted = after.effective = 0;
    after.ambient = 0;
  }
  if (before.euid == 0 && after.euid != 0) after.effective = 0;
  if (before.euid != 0 && after.euid == 0) after.effective = after.permitted;
}

void Commit(Task& task, Credentials after) {
  after.fsuid = after.euid;
  FixCapabilities(task.creds(), after);
  task.set_creds(std::move(after));
}

void CommitGroups(Task& task, Credentials after) {
  after.fsgid = after.egid;
  task.set_creds(std::move(after));
}

bool IsOneOf(uint32_t id, uint32_t a, uint32_t b, uint32_t c) {
  return id == a || id == b || id == c;
}

}  // namespace

Result<int64_t> Getuid(Task& task) { return int64_t{task.creds().uid}; }
Result<int64_t> Geteuid(Task& task) { return int64_t{task.creds().euid}; }
Result<int64_t> Getgid(Task& task) { return int64_t{task.creds().gid}; }
Result<int64_t> Getegid(Task& task) { return int64_t{task.creds().egid}; }

Status Getresuid(Task& task, UserPtr<uint32_t> ruid, UserPtr<uint32_t> euid,
                 UserPtr<uint32_t> suid) {
  TRY(task.mem().Write(ruid, task.creds().uid));
  TRY(task.mem().Write(euid, task.creds().euid));
  return task.mem().Write(suid, task.creds().suid);
}

Status Getresgid(Task& task, UserPtr<uint32_t> rgid, UserPtr<uint32_t> egid,
                 UserPtr<uint32_t> sgid) {
  TRY(task.mem().Write(rgid, task.creds().gid));
  TRY(task.mem().Write(egid, task.creds().egid));
  return task.mem().Write(sgid, task.creds().sgid);
}

Status Setuid(Task& task, uint32_t uid) {
  if (uid == kKeep) return Errno(EINVAL);
  Credentials creds = task.creds();
  if (HasCapability(task, CAP_SETUID)) {
    creds.uid = creds.suid = uid;
  } else if (uid != creds.uid && uid != creds.suid) {
    return Errno(EPERM);
  }
  creds.euid = uid;
  Commit(task, std::move(creds));
  return kOk;
}

Status Setgid(Task& task, uint32_t gid) {
  if (gid == kKeep) return Errno(EINVAL);
  Credentials creds = task.creds();
  if (HasCapability(task, CAP_SETGID)) {
    creds.gid = creds.sgid = gid;
  } else if (gid != creds.gid && gid != creds.sgid) {
    return Errno(EPERM);
  }
  creds.egid = gid;
  CommitGroups(task, std::move(creds));
  return kOk;
}

Status Setreuid(Task& task, uint32_t ruid, uint32_t euid) {
  const Credentials& old = task.creds();
  const bool capable = HasCapability(task, CAP_SETUID);
  if (!capable && ruid != kKeep && ruid != old.uid && ruid != old.euid) return Errno(EPERM);
  if (!capable && euid != kKeep && !IsOneOf(euid, old.uid, old.euid, old.suid)) {
    return Errno(EPERM);
  }
  Credentials creds = old;
  if (ruid != kKeep) creds.uid = ruid;
  if (euid != kKeep) creds.euid = euid;
  if (ruid != kKeep || (euid != kKeep && euid != old.uid)) creds.suid = creds.euid;
  Commit(task, std::move(creds));
  return kOk;
}

Status Setregid(Task& task, uint32_t rgid, uint32_t egid) {
  const Credentials& old = task.creds();
  const bool capable = HasCapability(task, CAP_SETGID);
  if (!capable && rgid != kKeep && rgid != old.gid && rgid != old.egid) return Errno(EPERM);
  if (!capable && egid != kKeep && !IsOneOf(egid, old.gid, old.egid, old.sgid)) {
    return Errno(EPERM);
  }
  Credentials creds = old;
  if (rgid != kKeep) creds.gid = rgid;
  if (egid != kKeep) creds.egid = egid;
  if (rgid != kKeep || (egid != kKeep && egid != old.gid)) creds.sgid = creds.egid;
  CommitGroups(task, std::move(creds));
  return kOk;
}

Status Setresuid(Task& task, uint32_t ruid, uint32_t euid, uint32_t suid) {
  const Credentials& old = task.creds();
  if (!HasCapability(task, CAP_SETUID)) {
    for (uint32_t id : {ruid, euid, suid}) {
      if (id != kKeep && !IsOneOf(id, old.uid, old.euid, old.suid)) return Errno(EPERM);
    }
  }
  Credentials creds = old;
  if (ruid != kKeep) creds.uid = ruid;
  if (euid != kKeep) creds.euid = euid;
  if (suid != kKeep) creds.suid = suid;
  Commit(task, std::move(creds));
  return kOk;
}

Status Setresgid(Task& task, uint32_t rgid, uint32_t egid, uint32_t sgid) {
  const Credentials& old = task.creds();
  if (!HasCapability(task, CAP_SETGID)) {
    for (uint32_t id : {rgid, egid, sgid}) {
      if (id != kKeep && !IsOneOf(id, old.gid, old.egid, old.sgid)) return Errno(EPERM);
    }
  }
  Credentials creds = old;
  if (rgid != kKeep) creds.gid = rgid;
  if (egid != kKeep) creds.egid = egid;
  if (sgid != kKeep) creds.sgid = sgid;
  CommitGroups(task, std::move(creds));
  return kOk;
}

Result<int64_t> Setfsuid(Task& task, uint32_t uid) {
  const Credentials& old = task.creds();
  const uint32_t before = old.fsuid;
  const bool allowed = IsOneOf(uid, old.uid, old.euid, old.suid) || uid == before ||
                       HasCapability(task, CAP_SETUID);
  if (uid == kKeep || uid == before || !allowed) return int64_t{before};
  Credentials creds = old;
  creds.fsuid = uid;
  if ((creds.securebits & 1u << SECURE_NO_SETUID_FIXUP) == 0) {
    if (before == 0) creds.effective &= ~kFsCapabilities;
    if (uid == 0) creds.effective |= creds.permitted & kFsCapabilities;
  }
  task.set_creds(std::move(creds));
  return int64_t{before};
}

Result<int64_t> Setfsgid(Task& task, uint32_t gid) {
  const Credentials& old = task.creds();
  const uint32_t before = old.fsgid;
  const bool allowed = IsOneOf(gid, old.gid, old.egid, old.sgid) || gid == before ||
                       HasCapability(task, CAP_SETGID);
  if (gid == kKeep || gid == before || !allowed) return int64_t{before};
  Credentials creds = old;
  creds.fsgid = gid;
  task.set_creds(std::move(creds));
  return int64_t{before};
}

Result<int64_t> Getgroups(Task& task, int size, UserPtr<uint32_t> list) {
  if (size < 0) return Errno(EINVAL);
  const std::vector<uint32_t>& groups = task.creds().groups;
  if (size != 0) {
    if (groups.size() > static_cast<size_t>(size)) return Errno(EINVAL);
    TRY(task.mem().WriteArray<uint32_t>(list, groups));
  }
  return static_cast<int64_t>(groups.size());
}

Status Setgroups(Task& task, int size, UserPtr<const uint32_t> list) {
  if (!HasCapability(task, CAP_SETGID)) return Errno(EPERM);
  if (size < 0 || size > kMaxGroups) return Errno(EINVAL);
  Credentials creds = task.creds();
  creds.groups = TRY(task.mem().ReadArray(list, static_cast<size_t>(size)));
  constexpr uint32_t kNone = ~uint32_t{0};
  if (std::ranges::find(creds.groups, kNone) != creds.groups.end()) return Errno(EINVAL);
  std::sort(creds.groups.begin(), creds.groups.end());  // Which getgroups(2) shows.
  task.set_creds(std::move(creds));
  return kOk;
}

namespace {

// 32-bit halves per capability set: one in the first version, two since.
Result<size_t> HalvesOf(Task& task, UserPtr<abi::CapHeader> user, abi::CapHeader& header) {
  header = TRY(task.mem().Read(user));
  switch (header.version) {
    case _LINUX_CAPABILITY_VERSION_1:
      return size_t{1};
    case _LINUX_CAPABILITY_VERSION_2:
    case _LINUX_CAPABILITY_VERSION_3:
      return size_t{2};
    default:
      header.version = _LINUX_CAPABILITY_VERSION_3;
      TRY(task.mem().Write(user, header));
      return Errno(EINVAL);
  }
}

uint32_t Half(uint64_t set, size_t i) { return static_cast<uint32_t>(set >> 32 * i); }

}  // namespace

Status Capget(Task& task, UserPtr<abi::CapHeader> user, UserPtr<abi::CapData> data) {
  abi::CapHeader header;
  const Result<size_t> halves = HalvesOf(task, user, header);
  // Asking for the version only is fine.
  if (!halves.ok()) return halves.error() == Errno(EINVAL) && !data ? Status(kOk) : halves.error();
  if (header.pid < 0) return Errno(EINVAL);
  Result<Credentials> creds =
      header.pid == 0 ? task.creds() : task.kernel().CredentialsOf(header.pid);
  if (!creds.ok()) return creds.error();
  if (!data) return kOk;
  std::vector<abi::CapData> sets(*halves);
  for (size_t i = 0; i < *halves; ++i) {
    sets[i] = {Half(creds->effective, i), Half(creds->permitted, i), Half(creds->inheritable, i)};
  }
  return task.mem().WriteArray<abi::CapData>(data, sets);
}

Status Capset(Task& task, UserPtr<abi::CapHeader> user, UserPtr<const abi::CapData> data) {
  abi::CapHeader header;
  const size_t halves = TRY(HalvesOf(task, user, header));
  if (header.pid != 0 && header.pid != task.tid()) return Errno(EPERM);
  const std::vector<abi::CapData> sets = TRY(task.mem().ReadArray(data, halves));
  uint64_t effective = 0, permitted = 0, inheritable = 0;
  for (size_t i = 0; i < halves; ++i) {
    effective |= uint64_t{sets[i].effective} << 32 * i;
    permitted |= uint64_t{sets[i].permitted} << 32 * i;
    inheritable |= uint64_t{sets[i].inheritable} << 32 * i;
  }
  effective &= Credentials::kAllCapabilities;
  permitted &= Credentials::kAllCapabilities;
  inheritable &= Credentials::kAllCapabilities;
  const Credentials& old = task.creds();
  const uint64_t addable = HasCapability(task, CAP_SETPCAP) ? old.bounding : old.permitted;
  if ((inheritable & ~(old.inheritable | addable)) != 0) return Errno(EPERM);
  if ((inheritable & ~(old.inheritable | old.bounding)) != 0) return Errno(EPERM);
  if ((permitted & ~old.permitted) != 0) return Errno(EPERM);
  if ((effective & ~permitted) != 0) return Errno(EPERM);
  Credentials creds = old;
  creds.effective = effective;
  creds.permitted = permitted;
  creds.inheritable = inheritable;
  creds.ambient &= permitted & inheritable;
  task.set_creds(std::move(creds));
  return kOk;
}

}  // namespace syscalls
