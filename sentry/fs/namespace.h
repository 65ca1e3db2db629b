// What every kind of namespace has: namespaces(7). Linux: struct ns_common.
#ifndef SENTRY_FS_NAMESPACE_H_
#define SENTRY_FS_NAMESPACE_H_

#include <sched.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/ref.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

namespace sentry {

// Of user, pid, cgroup and time namespaces there is one each.
enum class NamespaceKind : uint8_t { kCgroup, kIpc, kMount, kNetwork, kPid, kTime, kUser, kUts };

class Namespace : public RefCounted {
 public:
  // No more of them in all, whatever a user may (ENOSPC).
  static constexpr int kMost = 8192;
  // Those of the sandbox's start have the numbers that Linux gives its own.
  static constexpr uint64_t FirstIno(NamespaceKind kind) {
    constexpr uint64_t kFirst[] = {4026531835, 4026531839, 4026531832, 4026531833,
                                   4026531836, 4026531834, 4026531837, 4026531838};
    return kFirst[static_cast<size_t>(kind)];
  }
  static uint64_t NextIno() {
    static std::atomic<uint64_t> next{4026532600};  // Above all that are numbered at start.
    return next.fetch_add(1, std::memory_order_relaxed);
  }

  Namespace(NamespaceKind kind, uint64_t ino) : kind_(kind), ino_(ino) {
    count_.fetch_add(1, std::memory_order_relaxed);
  }
  ~Namespace() override { count_.fetch_sub(1, std::memory_order_relaxed); }

  NamespaceKind kind() const { return kind_; }
  uint64_t ino() const { return ino_; }  // As /proc/PID/ns shows it.
  // CLONE_NEW*.
  uint64_t flag() const {
    constexpr uint64_t kFlags[] = {CLONE_NEWCGROUP, CLONE_NEWIPC,  CLONE_NEWNS,   CLONE_NEWNET,
                                   CLONE_NEWPID,    CLONE_NEWTIME, CLONE_NEWUSER, CLONE_NEWUTS};
    return kFlags[static_cast<size_t>(kind_)];
  }
  // "uts:[4026531838]".
  std::string name() const {
    constexpr std::string_view kNames[] = {"cgroup", "ipc",  "mnt",  "net",
                                           "pid",    "time", "user", "uts"};
    return std::string(kNames[static_cast<size_t>(kind_)]) + ":[" + std::to_string(ino_) + "]";
  }

  static bool TooMany() { return count_.load(std::memory_order_relaxed) >= kMost; }

 private:
  static inline std::atomic<int> count_{0};

  const NamespaceKind kind_;
  const uint64_t ino_;
};

}  // namespace sentry

#endif  // SENTRY_FS_NAMESPACE_H_
