#include "tests/conformance/netlink_support.h"

namespace conformance {

Attributes ParseAttributes(std::string_view bytes) {
  Attributes found;
  while (bytes.size() >= sizeof(rtattr)) {
    const auto header = As<rtattr>(bytes);
    if (header.rta_len < sizeof(rtattr) || header.rta_len > bytes.size()) break;
    found[header.rta_type & NLA_TYPE_MASK] =
        bytes.substr(sizeof(rtattr), header.rta_len - sizeof(rtattr));
    bytes.remove_prefix(std::min<size_t>(RTA_ALIGN(header.rta_len), bytes.size()));
  }
  return found;
}

std::string Attribute(uint16_t type, std::string_view value) {
  rtattr header{};
  header.rta_len = static_cast<unsigned short>(RTA_LENGTH(value.size()));
  header.rta_type = type;
  std::string bytes = Bytes(header) + std::string(value);
  bytes.resize(RTA_ALIGN(bytes.size()));
  return bytes;
}

std::string Address4(const char* text) {
  in_addr address{};
  EXPECT_EQ(inet_pton(AF_INET, text, &address), 1);
  return Bytes(address);
}

std::string Address6(const char* text) {
  in6_addr address{};
  EXPECT_EQ(inet_pton(AF_INET6, text, &address), 1);
  return Bytes(address);
}

std::vector<NlMessage> ParseMessages(std::string_view bytes) {
  std::vector<NlMessage> messages;
  while (bytes.size() >= sizeof(nlmsghdr)) {
    const auto header = As<nlmsghdr>(bytes);
    if (header.nlmsg_len < sizeof(nlmsghdr) || header.nlmsg_len > bytes.size()) break;
    messages.push_back(
        {header, std::string(bytes.substr(sizeof(nlmsghdr), header.nlmsg_len - sizeof(nlmsghdr)))});
    bytes.remove_prefix(std::min<size_t>(NLMSG_ALIGN(header.nlmsg_len), bytes.size()));
  }
  return messages;
}

Netlink::Netlink(int protocol, int type) : fd_(socket(AF_NETLINK, type, protocol)) {
  EXPECT_TRUE(fd_.valid()) << ErrnoName(errno);
  // Keeps a broken kernel from hanging the suite.
  const timeval patience{5, 0};
  setsockopt(fd(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
}

std::string Netlink::Request(uint16_t type, uint16_t flags, std::string_view payload,
                             uint32_t seq) {
  nlmsghdr header{};
  header.nlmsg_len = static_cast<uint32_t>(NLMSG_LENGTH(payload.size()));
  header.nlmsg_type = type;
  header.nlmsg_flags = flags;
  header.nlmsg_seq = seq;
  std::string bytes = Bytes(header) + std::string(payload);
  bytes.resize(NLMSG_ALIGN(bytes.size()));
  return bytes;
}

std::string Netlink::ReceiveBytes() {
  std::string buffer(1 << 16, '\0');
  const ssize_t count = recv(fd(), buffer.data(), buffer.size(), 0);
  buffer.resize(count > 0 ? static_cast<size_t>(count) : 0);
  return buffer;
}

std::vector<NlMessage> Netlink::Ask(uint16_t type, uint16_t flags, std::string_view payload,
                                    uint32_t seq) {
  std::vector<NlMessage> all;
  if (Send(Request(type, flags | NLM_F_REQUEST, payload, seq)) < 0) return all;
  for (;;) {
    const std::vector<NlMessage> some = ParseMessages(ReceiveBytes());
    if (some.empty()) return all;
    all.insert(all.end(), some.begin(), some.end());
    if ((all.back().header.nlmsg_flags & NLM_F_MULTI) == 0 ||
        all.back().header.nlmsg_type == NLMSG_DONE) {
      return all;
    }
  }
}

int Netlink::Try(uint16_t type, uint16_t flags, std::string_view payload) {
  const std::vector<NlMessage> answer = Ask(type, flags | NLM_F_ACK, payload);
  if (answer.empty() || answer.back().header.nlmsg_type != NLMSG_ERROR) return -1;
  return -answer.back().Error();
}

sockaddr_nl Netlink::Name() const {
  sockaddr_nl name{};
  socklen_t size = sizeof(name);
  EXPECT_THAT(getsockname(fd(), reinterpret_cast<sockaddr*>(&name), &size), Returns(0));
  EXPECT_EQ(size, sizeof(name));
  return name;
}

void Netlink::Set(int option, int value) {
  EXPECT_THAT(setsockopt(fd(), SOL_NETLINK, option, &value, sizeof(value)), Returns(0));
}

}  // namespace conformance
