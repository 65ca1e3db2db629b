#include "sentry/net/namespace.h"

#include "sentry/net/unix/unix_sockets.h"

namespace sentry {

NetworkNamespace::NetworkNamespace() : unix_sockets_(std::make_unique<UnixSockets>()) {}

NetworkNamespace::~NetworkNamespace() = default;

}  // namespace sentry
