// The address families: what socket(2) and socketpair(2) can make.
#ifndef SENTRY_NET_FAMILY_H_
#define SENTRY_NET_FAMILY_H_

#include <utility>

#include "base/ref.h"
#include "base/result.h"
#include "sentry/net/socket.h"

namespace sentry {

using SocketPair = std::pair<Ref<Socket>, Ref<Socket>>;

// One row for each family. `create` answers ESOCKTNOSUPPORT, EPROTONOSUPPORT, EPERM, … as Linux
// does for the family; `create_pair` may be nullptr (EOPNOTSUPP).
struct SocketFamily {
  int domain;
  Result<Ref<Socket>> (*create)(Task& task, const SocketKind& what, OpenFlags flags);
  Result<SocketPair> (*create_pair)(Task& task, const SocketKind& what, OpenFlags flags);
};

// EAFNOSUPPORT for a domain without a row. `what.type` has no flags.
Result<Ref<Socket>> CreateSocket(Task& task, const SocketKind& what, OpenFlags flags);
Result<SocketPair> CreateSocketPair(Task& task, const SocketKind& what, OpenFlags flags);

}  // namespace sentry

#endif  // SENTRY_NET_FAMILY_H_
