#include "runsc/lockdown.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/securebits.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace runsc {

absl::Status HostError(const std::string& what) {
  const int error = errno;
  return absl::InternalError(absl::StrCat(what, ": ", strerror(error)));
}

void CloseAllBut(std::span<const int> keep) {
  std::vector<int> sorted(keep.begin(), keep.end());
  std::sort(sorted.begin(), sorted.end());
  unsigned next = 0;
  for (const int fd : sorted) {
    if (fd < 0) continue;
    const auto number = static_cast<unsigned>(fd);
    if (number > next) close_range(next, number - 1, 0);
    next = number + 1;
  }
  close_range(next, ~0u, 0);
}

absl::Status EnterNamespaces(NetworkNamespace network) {
  const int flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP |
                    (network == NetworkNamespace::kNew ? CLONE_NEWNET : 0);
  if (unshare(flags) != 0) return HostError("unshare");
  // What is mounted here stays here, and what the host mounts later does not come in.
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return HostError("mount --make-rprivate /");
  }
  return absl::OkStatus();
}

absl::Status TakeIdentity(uid_t uid, gid_t gid) {
  // Refused where an ordinary user made the namespace; the groups kept are then the user's own.
  if (setgroups(0, nullptr) != 0 && errno != EPERM) return HostError("setgroups");
  if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) return HostError("prctl(PR_SET_KEEPCAPS)");
  if (setresgid(gid, gid, gid) != 0) return HostError("setresgid");
  if (setresuid(uid, uid, uid) != 0) return HostError("setresuid");
  // Who was 0 until now kept what is permitted only.
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct sets[2];
  if (syscall(SYS_capget, &header, sets) != 0) return HostError("capget");
  for (__user_cap_data_struct& set : sets) set.effective = set.permitted;
  if (syscall(SYS_capset, &header, sets) != 0) return HostError("capset");
  return absl::OkStatus();
}

absl::Status BringUpLoopback() {
  const UniqueFd socket_fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  // A host without IPv4 has nothing to bring up.
  if (!socket_fd.valid()) return absl::OkStatus();
  ifreq request{};
  strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (ioctl(socket_fd.get(), SIOCSIFFLAGS, &request) != 0) return HostError("bringing up lo");
  return absl::OkStatus();
}

UniqueFd OpenDetachedProc() {
  // Raw numbers: glibc 2.36 has the calls, its static archive needs no more of them. fsconfig's
  // commands are those of linux/mount.h, which does not get along with sys/mount.h.
  constexpr unsigned kSetString = 1;
  constexpr unsigned kCreate = 6;
  constexpr unsigned kReadOnlyBare = 0x1 | 0x2 | 0x4 | 0x8;  // rdonly, nosuid, nodev, noexec
  const UniqueFd context(static_cast<int>(syscall(SYS_fsopen, "proc", 1 /* close on exec */)));
  if (!context.valid()) return UniqueFd();
  if (syscall(SYS_fsconfig, context.get(), kSetString, "subset", "pid", 0) != 0) return UniqueFd();
  if (syscall(SYS_fsconfig, context.get(), kCreate, nullptr, nullptr, 0) != 0) return UniqueFd();
  return UniqueFd(static_cast<int>(syscall(SYS_fsmount, context.get(), 1, kReadOnlyBare)));
}

absl::Status MountEmpty(const char* over) {
  constexpr unsigned long kFlags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (mount("none", over, "tmpfs", kFlags, "size=4k,nr_inodes=2,mode=0555") != 0) {
    return HostError(absl::StrCat("mount(tmpfs, ", over, ")"));
  }
  return absl::OkStatus();
}

absl::Status PivotTo(const char* mount_point) {
  if (chdir(mount_point) != 0) return HostError("chdir");
  // pivot_root(2), NOTES: stacks the old root on the new one, where it is detached.
  if (syscall(SYS_pivot_root, ".", ".") != 0) return HostError("pivot_root");
  if (umount2(".", MNT_DETACH) != 0) return HostError("umount2");
  if (chdir("/") != 0) return HostError("chdir");
  return absl::OkStatus();
}

absl::Status DropCapabilities(uint64_t kept) {
  // Root gets nothing from execve(2) or from changing ids, and that is final.
  constexpr int kBits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                        SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                        SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
  if (prctl(PR_SET_SECUREBITS, kBits, 0, 0, 0) != 0) return HostError("prctl(PR_SET_SECUREBITS)");
  for (int capability = 0; capability < 64; ++capability) {
    // EINVAL: beyond the last one that this host knows.
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) {
      if (errno == EINVAL) break;
      return HostError("prctl(PR_CAPBSET_DROP)");
    }
  }
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) {
    return HostError("prctl(PR_CAP_AMBIENT)");
  }
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  const auto low = static_cast<uint32_t>(kept);
  const auto high = static_cast<uint32_t>(kept >> 32);
  const __user_cap_data_struct sets[2] = {{.effective = low, .permitted = low, .inheritable = 0},
                                          {.effective = high, .permitted = high, .inheritable = 0}};
  if (syscall(SYS_capset, &header, sets) != 0) return HostError("capset");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return HostError("prctl(PR_SET_NO_NEW_PRIVS)");
  return absl::OkStatus();
}

absl::Status DieWithParent(int control) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return HostError("prctl(PR_SET_PDEATHSIG)");
  // The parent may have died before. It cannot be asked for: it is in another pid namespace.
  pollfd hangup{.fd = control, .events = 0, .revents = 0};
  if (poll(&hangup, 1, 0) != 0) return absl::AbortedError("the front-end is gone");
  return absl::OkStatus();
}

absl::Status SetLimits() {
  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return HostError("getrlimit");
  files.rlim_cur = files.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) return HostError("setrlimit(RLIMIT_NOFILE)");
  const rlimit no_core{.rlim_cur = 0, .rlim_max = 0};
  if (setrlimit(RLIMIT_CORE, &no_core) != 0) return HostError("setrlimit(RLIMIT_CORE)");
  return absl::OkStatus();
}

}  // namespace runsc
