// What the sentry and the network gofer say to each other on a SOCK_SEQPACKET pair: one request,
// then its answer. The socket that a request is about travels with it (SCM_RIGHTS), so that the
// server remembers nothing; one that was made comes back the same way.
#ifndef GOFER_PROTOCOL_NET_MESSAGES_H_
#define GOFER_PROTOCOL_NET_MESSAGES_H_

#include <cstddef>
#include <cstdint>

namespace gofer {

enum class NetOp : uint32_t {
  kSocket = 1,  // a: domain, b: type, c: protocol; answered with the descriptor, non-blocking.
  kBind,        // data: the address.
  kConnect,     // data: the address. Never waits: EINPROGRESS.
  kListen,      // a: backlog.
  kLocalName,   // Answered with the address.
  kPeerName,    // Likewise.
  kShutdown,    // a: SHUT_*.
  kSetOption,   // a: level, b: name, data: the value.
  // a: level, b: name, c: bytes that the caller has room for, data: what the value says on its way
  // in, of options where it does; answered with the value.
  kGetOption,
  kDump,  // a: RTM_GET*. Answered in parts; the last has `more` 0.
};

// Of a request, and of most answers: the longest option is a list of 64 multicast sources. What
// is not a list is short.
inline constexpr size_t kNetData = 8448;
inline constexpr size_t kNetShortData = 512;
inline constexpr size_t kNetDumpPart = 32 << 10;  // Of an answer to kDump.

// Followed by its data, which is the rest of the message.
struct NetRequest {
  NetOp op = {};
  int32_t a = 0, b = 0, c = 0;
};

// Followed by `size` bytes of data.
struct NetReply {
  int32_t error = 0;  // An errno.
  uint32_t size = 0;
  uint32_t more = 0;
};

}  // namespace gofer

#endif  // GOFER_PROTOCOL_NET_MESSAGES_H_
