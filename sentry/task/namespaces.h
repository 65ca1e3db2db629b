// The namespaces that a task is in, but for that of mounts, which its FsContext has. Linux: struct
// nsproxy.
#ifndef SENTRY_TASK_NAMESPACES_H_
#define SENTRY_TASK_NAMESPACES_H_

#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/namespace.h"

namespace sentry {

class IpcNamespace;
class NetworkNamespace;

// uts_namespaces(7). Thread-safe.
class UtsNamespace final : public Namespace {
 public:
  struct Names {
    std::string host, domain;
  };
  UtsNamespace(uint64_t ino, Names names)
      : Namespace(NamespaceKind::kUts, ino), names_(std::move(names)) {}

  Names names() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return names_;
  }
  void set_hostname(std::string name) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    std::swap(names_.host, name);
  }
  void set_domainname(std::string name) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    std::swap(names_.domain, name);
  }

 private:
  mutable absl::Mutex mu_;  // Leaf.
  Names names_ ABSL_GUARDED_BY(mu_);
};

// Never changes: a task that enters another namespace gets another set. No last reference may be
// dropped under a lock: it may take the namespaces along.
class Namespaces final : public RefCounted {
 public:
  // CLONE_NEW* of those that clone(2), unshare(2) and setns(2) make or enter here.
  static constexpr uint64_t kFlags = CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET;

  Namespaces(Ref<UtsNamespace> uts, Ref<IpcNamespace> ipc, Ref<NetworkNamespace> network);
  ~Namespaces() override;

  UtsNamespace& uts() const { return *uts_; }
  IpcNamespace& ipc() const { return *ipc_; }
  NetworkNamespace& network() const { return *network_; }
  // The one of a kind that a task may have another of, or the only one there is. Not of mounts.
  Ref<Namespace> Find(NamespaceKind kind) const;

  // With new ones of the kinds in `flags` (kFlags). ENOSPC.
  Result<Ref<Namespaces>> Unshare(uint64_t flags) const;
  // With those of `from` that `flags` names.
  Ref<Namespaces> Enter(const Namespaces& from, uint64_t flags) const;
  // With that one.
  Ref<Namespaces> Enter(Namespace& one) const;

 private:
  const Ref<UtsNamespace> uts_;
  const Ref<IpcNamespace> ipc_;
  const Ref<NetworkNamespace> network_;
};

}  // namespace sentry

#endif  // SENTRY_TASK_NAMESPACES_H_
