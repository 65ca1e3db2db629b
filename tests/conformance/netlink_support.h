// A small client of netlink(7) for the conformance cases.
#ifndef TESTS_CONFORMANCE_NETLINK_SUPPORT_H_
#define TESTS_CONFORMANCE_NETLINK_SUPPORT_H_

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tests/conformance/support.h"

namespace conformance {

template <typename T>
std::string Bytes(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

// The front of `bytes`; zeroes where it is shorter.
template <typename T>
T As(std::string_view bytes) {
  T value{};
  memcpy(static_cast<void*>(&value), bytes.data(), std::min(sizeof(value), bytes.size()));
  return value;
}

using Attributes = std::map<uint16_t, std::string>;
Attributes ParseAttributes(std::string_view bytes);
// An attribute with its header, padded.
std::string Attribute(uint16_t type, std::string_view value);
std::string Address4(const char* text);
std::string Address6(const char* text);

struct NlMessage {
  nlmsghdr header{};
  std::string payload;

  template <typename T>
  T Body() const {
    return As<T>(payload);
  }
  // Those behind a body of type T.
  template <typename T>
  Attributes Tail() const {
    const size_t skip = NLMSG_ALIGN(sizeof(T));
    return payload.size() <= skip ? Attributes() : ParseAttributes(payload.substr(skip));
  }
  // Of NLMSG_ERROR, and of NLMSG_DONE.
  int Error() const { return Body<int>(); }
};

std::vector<NlMessage> ParseMessages(std::string_view bytes);

class Netlink {
 public:
  explicit Netlink(int protocol = NETLINK_ROUTE, int type = SOCK_RAW | SOCK_CLOEXEC);
  int fd() const { return fd_.get(); }
  void Close() { fd_.reset(); }

  static std::string Request(uint16_t type, uint16_t flags, std::string_view payload,
                             uint32_t seq = 1);
  ssize_t Send(std::string_view bytes) { return send(fd(), bytes.data(), bytes.size(), 0); }
  // One datagram; empty when nothing comes.
  std::string ReceiveBytes();
  // The answer to one request, with NLM_F_REQUEST added. For dumps all messages up to and with
  // NLMSG_DONE.
  std::vector<NlMessage> Ask(uint16_t type, uint16_t flags, std::string_view payload,
                             uint32_t seq = 1);
  // The errno of a request that is acknowledged; 0 when it succeeded, -1 without an answer.
  int Try(uint16_t type, uint16_t flags, std::string_view payload);
  sockaddr_nl Name() const;
  void Set(int option, int value = 1);

 private:
  UniqueFd fd_;
};

inline ifinfomsg LinkBody(int index = 0, int family = AF_UNSPEC) {
  ifinfomsg body{};
  body.ifi_family = static_cast<unsigned char>(family);
  body.ifi_index = index;
  return body;
}
inline ifaddrmsg AddressBody(int family, int index = 0) {
  ifaddrmsg body{};
  body.ifa_family = static_cast<unsigned char>(family);
  body.ifa_index = static_cast<unsigned>(index);
  return body;
}
inline rtmsg RouteBody(int family, int bits = 0) {
  rtmsg body{};
  body.rtm_family = static_cast<unsigned char>(family);
  body.rtm_dst_len = static_cast<unsigned char>(bits);
  return body;
}

}  // namespace conformance

#endif  // TESTS_CONFORMANCE_NETLINK_SUPPORT_H_
