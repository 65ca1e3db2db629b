// Answers of netlink(7): what a request gives, cut into datagrams.
#ifndef SENTRY_NET_NETLINK_MESSAGE_H_
#define SENTRY_NET_NETLINK_MESSAGE_H_

#include <linux/netlink.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sentry/net/devices/wire.h"

namespace sentry {

// One request, as it was sent.
struct NlRequest {
  nlmsghdr header{};
  std::string_view payload;
  uint32_t port = 0;       // Of the socket.
  bool strict = false;     // NETLINK_GET_STRICT_CHK
  bool may_admin = false;  // CAP_NET_ADMIN
  uint32_t uid = 0;

  bool has(uint16_t flag) const { return (header.nlmsg_flags & flag) != 0; }
  // The first byte of every body of rtnetlink and sock_diag.
  int family() const { return payload.empty() ? 0 : static_cast<uint8_t>(payload[0]); }
};

// Collects the messages of an answer. Those of a dump fill datagrams up to the size that programs
// with a page to read into can take (Linux gives 8 KiB to those that have shown more room).
class NlReply {
 public:
  explicit NlReply(const NlRequest& request) : request_(request) {}

  // A message with the request's sequence number.
  void Add(uint16_t type, std::string_view payload, uint16_t flags = 0);
  // The end of a dump, with 0 or the negative errno that ended it.
  void Done(int error);
  // Why the request failed, in words (NLMSGERR_ATTR_MSG); with NETLINK_EXT_ACK only.
  void Explain(std::string_view words) { words_ = words; }
  std::string_view words() const { return words_; }
  std::vector<std::string> Take() { return std::move(datagrams_); }

 private:
  static constexpr size_t kDatagram = 3776;

  const NlRequest& request_;
  std::vector<std::string> datagrams_;
  std::string words_;
};

// NLMSG_ERROR: an acknowledgement when `error` is 0.
std::string NlError(const NlRequest& request, int error, bool capped, std::string_view words);

}  // namespace sentry

#endif  // SENTRY_NET_NETLINK_MESSAGE_H_
