#include "sentry/task/namespaces.h"

#include <array>
#include <utility>

#include "sentry/ipc/namespace.h"
#include "sentry/net/namespace.h"

namespace sentry {
namespace {

// Of the kinds that nobody can make another of.
class OnlyNamespace final : public Namespace {
 public:
  explicit OnlyNamespace(NamespaceKind kind) : Namespace(kind, FirstIno(kind)) {}
};

Ref<Namespace> Only(NamespaceKind kind) {
  static const auto& all = *new std::array<Ref<Namespace>, 4>{
      MakeRef<OnlyNamespace>(NamespaceKind::kCgroup), MakeRef<OnlyNamespace>(NamespaceKind::kPid),
      MakeRef<OnlyNamespace>(NamespaceKind::kTime), MakeRef<OnlyNamespace>(NamespaceKind::kUser)};
  for (const Ref<Namespace>& one : all) {
    if (one->kind() == kind) return one;
  }
  return all.back();
}

}  // namespace

Namespaces::Namespaces(Ref<UtsNamespace> uts, Ref<IpcNamespace> ipc, Ref<NetworkNamespace> network)
    : uts_(std::move(uts)), ipc_(std::move(ipc)), network_(std::move(network)) {}

Namespaces::~Namespaces() = default;

Ref<Namespace> Namespaces::Find(NamespaceKind kind) const {
  switch (kind) {
    case NamespaceKind::kUts:
      return uts_;
    case NamespaceKind::kIpc:
      return ipc_;
    case NamespaceKind::kNetwork:
      return network_;
    default:
      return Only(kind);
  }
}

Result<Ref<Namespaces>> Namespaces::Unshare(uint64_t flags) const {
  if (Namespace::TooMany()) return Errno(ENOSPC);
  Ref<UtsNamespace> uts = uts_;
  Ref<IpcNamespace> ipc = ipc_;
  Ref<NetworkNamespace> network = network_;
  if ((flags & CLONE_NEWUTS) != 0) {
    uts = MakeRef<UtsNamespace>(Namespace::NextIno(), uts_->names());
  }
  if ((flags & CLONE_NEWIPC) != 0) ipc = MakeRef<IpcNamespace>(Namespace::NextIno());
  if ((flags & CLONE_NEWNET) != 0) network = NetworkNamespace::CreateEmpty();
  return MakeRef<Namespaces>(std::move(uts), std::move(ipc), std::move(network));
}

Ref<Namespaces> Namespaces::Enter(const Namespaces& from, uint64_t flags) const {
  return MakeRef<Namespaces>((flags & CLONE_NEWUTS) != 0 ? from.uts_ : uts_,
                             (flags & CLONE_NEWIPC) != 0 ? from.ipc_ : ipc_,
                             (flags & CLONE_NEWNET) != 0 ? from.network_ : network_);
}

Ref<Namespaces> Namespaces::Enter(Namespace& one) const {
  Ref<UtsNamespace> uts = uts_;
  Ref<IpcNamespace> ipc = ipc_;
  Ref<NetworkNamespace> network = network_;
  switch (one.kind()) {
    case NamespaceKind::kUts:
      uts = Ref<UtsNamespace>::Share(static_cast<UtsNamespace&>(one));
      break;
    case NamespaceKind::kIpc:
      ipc = Ref<IpcNamespace>::Share(static_cast<IpcNamespace&>(one));
      break;
    case NamespaceKind::kNetwork:
      network = Ref<NetworkNamespace>::Share(static_cast<NetworkNamespace&>(one));
      break;
    default:
      break;
  }
  return MakeRef<Namespaces>(std::move(uts), std::move(ipc), std::move(network));
}

}  // namespace sentry
