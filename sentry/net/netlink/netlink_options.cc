// Options at level SOL_NETLINK: netlink(7).
#include <linux/netlink.h>
#include <sys/socket.h>

#include "sentry/net/netlink/netlink_socket.h"

namespace sentry {

uint32_t NetlinkSocket::FlagOf(int option) {
  switch (option) {
    case NETLINK_PKTINFO:
      return kPacketInfo;
    case NETLINK_BROADCAST_ERROR:
      return kBroadcastError;
    case NETLINK_NO_ENOBUFS:
      return kNoBufferErrors;
    case NETLINK_LISTEN_ALL_NSID:
      return kListenAll;
    case NETLINK_CAP_ACK:
      return kCappedAck;
    case NETLINK_EXT_ACK:
      return kExtendedAck;
    case NETLINK_GET_STRICT_CHK:
      return kStrictChecks;
    default:
      return 0;
  }
}

Status NetlinkSocket::ChangeMembership(int option, uint32_t group) {
  if (group == 0 || group > kMaxGroup) return Errno(EINVAL);
  const uint64_t bit = uint64_t{1} << (group - 1);
  absl::MutexLock lock(&mu_);
  groups_ = option == NETLINK_ADD_MEMBERSHIP ? groups_ | bit : groups_ & ~bit;
  return kOk;
}

Status NetlinkSocket::SetOption(Task& task, int level, int name, std::span<const std::byte> value) {
  if (level != SOL_NETLINK) return Socket::SetOption(task, level, name, value);
  const int number = value.size() >= sizeof(int) ? TRY(ReadIntOption(value)) : 0;
  if (name == NETLINK_ADD_MEMBERSHIP || name == NETLINK_DROP_MEMBERSHIP) {
    return ChangeMembership(name, static_cast<uint32_t>(number));
  }
  const uint32_t flag = FlagOf(name);
  if (flag == 0) return Errno(ENOPROTOOPT);
  absl::MutexLock lock(&mu_);
  flags_ = number != 0 ? flags_ | flag : flags_ & ~flag;
  return kOk;
}

Result<std::string> NetlinkSocket::GetOption(Task& task, int level, int name, size_t room) {
  if (level != SOL_NETLINK) return Socket::GetOption(task, level, name, room);
  if (name == NETLINK_LIST_MEMBERSHIPS) {
    absl::MutexLock lock(&mu_);
    return OptionBytes(groups_);
  }
  const uint32_t flag = FlagOf(name);
  if (flag == 0) return Errno(ENOPROTOOPT);
  if (room < sizeof(int)) return Errno(EINVAL);
  absl::MutexLock lock(&mu_);
  return OptionBytes((flags_ & flag) != 0 ? 1 : 0);
}

}  // namespace sentry
