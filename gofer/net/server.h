// The network gofer: the only process of a sandbox that can make sockets of the host. It lives in
// the network namespace that the sandbox is to use and serves one sentry.
#ifndef GOFER_NET_SERVER_H_
#define GOFER_NET_SERVER_H_

#include <functional>

#include "base/unique_fd.h"

namespace gofer {

// Serves on `socket` until the other end is gone; see protocol/net_messages.h. `lock_down` is
// called when all that needs to be open is. Returns the exit status.
int ServeNetwork(UniqueFd socket, const std::function<bool()>& lock_down);

}  // namespace gofer

#endif  // GOFER_NET_SERVER_H_
