// The multicast groups of a socket and whom of each it hears: RFC 3376, ip(7), net/ipv4/igmp.c.
#ifndef SENTRY_NET_INET_MEMBERSHIPS_H_
#define SENTRY_NET_INET_MEMBERSHIPS_H_

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "sentry/net/inet/inet_address.h"

namespace sentry {

// Of one socket, which guards it.
class Memberships {
 public:
  // A source of messages: those named are heard alone, or not heard.
  enum class Mode : uint8_t { kExclude, kInclude };
  enum class Change : uint8_t { kAdd, kRemove };

  struct Membership {
    IpAddress group;
    Mode mode = Mode::kExclude;
    bool listed = false;  // There have been sources: the mode stays.
    std::vector<IpAddress> sources;
  };
  // How many sources a list may have: net.ipv4.igmp_max_msf, net.ipv6.mld_max_msf.
  static size_t MaxSources(int domain) { return domain == AF_INET ? 10 : 64; }

  // IP_ADD_MEMBERSHIP: everybody is heard. EADDRINUSE, ENOBUFS; ENOMEM for too many of IPv6.
  Status Join(const IpAddress& group, Mode mode = Mode::kExclude);
  // IP_DROP_MEMBERSHIP: EADDRNOTAVAIL.
  Status Leave(const IpAddress& group);
  // IP_ADD_SOURCE_MEMBERSHIP and the like: EINVAL for groups of the other mode and for those that
  // were not joined, EADDRNOTAVAIL for what is so already, ENOBUFS.
  Status ChangeSource(const IpAddress& group, const IpAddress& source, Mode mode, Change change);
  // All sources at once, of a group that has been joined: EINVAL.
  Status SetSources(const IpAddress& group, Mode mode, std::vector<IpAddress> sources);
  // nullptr for groups that were not joined.
  const Membership* Get(const IpAddress& group) const;
  // Whether messages to the group from `source` are heard; nothing for those that are no members.
  std::optional<bool> Hears(const IpAddress& group, const IpAddress& source) const;

 private:
  std::vector<Membership>::iterator Find(const IpAddress& group);

  std::vector<Membership> groups_;
};

}  // namespace sentry

#endif  // SENTRY_NET_INET_MEMBERSHIPS_H_
