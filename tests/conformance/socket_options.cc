// Options that every kind of socket has, and their limits: socket(7), net/core/sock.c; what ip(7),
// ipv6(7) and tcp(7) say of options that are for others.
#include <linux/netlink.h>

#include "tests/conformance/inet_support.h"

namespace {

// Numbers that older headers lack.
constexpr int kReceiveTimeoutNew = 66, kSendTimeoutNew = 67, kPreferBusyPoll = 69, kBufferLock = 72,
              kTxRehash = 74, kPassPidfd = 76, kPeerPidfd = 77, kPassRights = 83, kIpProtocol = 52;

struct Kind {
  const char* name;
  int domain, type, protocol;
};
std::string KindName(const testing::TestParamInfo<Kind>& info) { return info.param.name; }

class AnySocket : public testing::TestWithParam<Kind> {
 protected:
  UniqueFd Make() const {
    return UniqueFd(socket(GetParam().domain, GetParam().type, GetParam().protocol));
  }
  bool is_inet() const { return GetParam().domain == AF_INET || GetParam().domain == AF_INET6; }
  bool is_tcp() const { return is_inet() && GetParam().type == SOCK_STREAM; }
  int Get(int name) const { return GetInt(Make(), SOL_SOCKET, name); }
  // What getsockopt(2) answers for a fresh one: an errno, or 0.
  int ErrorOfGet(int name) const {
    const UniqueFd fd = Make();
    char value[256];
    socklen_t size = sizeof value;
    return getsockopt(fd.get(), SOL_SOCKET, name, value, &size) == 0 ? 0 : errno;
  }
  void ReadsBack(int name, int value, int read_back) const {
    const UniqueFd fd = Make();
    EXPECT_THAT(SetInt(fd, SOL_SOCKET, name, value), Returns(0)) << name;
    EXPECT_EQ(GetInt(fd, SOL_SOCKET, name), read_back) << name;
  }
};
INSTANTIATE_TEST_SUITE_P(Every, AnySocket,
                         testing::Values(Kind{"Tcp", AF_INET, SOCK_STREAM, 0},
                                         Kind{"Tcp6", AF_INET6, SOCK_STREAM, 0},
                                         Kind{"Udp", AF_INET, SOCK_DGRAM, 0},
                                         Kind{"Udp6", AF_INET6, SOCK_DGRAM, 0},
                                         Kind{"UnixStream", AF_UNIX, SOCK_STREAM, 0},
                                         Kind{"UnixDatagram", AF_UNIX, SOCK_DGRAM, 0},
                                         Kind{"Route", AF_NETLINK, SOCK_RAW, NETLINK_ROUTE}),
                         KindName);

TEST_P(AnySocket, BuffersThatWereChosenAreLocked) {
  const UniqueFd fd = Make();
  EXPECT_EQ(GetInt(fd, SOL_SOCKET, kBufferLock), 0);
  ASSERT_THAT(SetInt(fd, SOL_SOCKET, SO_SNDBUF, 20000), Returns(0));
  EXPECT_EQ(GetInt(fd, SOL_SOCKET, kBufferLock), 1);
  ASSERT_THAT(SetInt(fd, SOL_SOCKET, SO_RCVBUF, 20000), Returns(0));
  EXPECT_EQ(GetInt(fd, SOL_SOCKET, kBufferLock), 3);
  EXPECT_THAT(SetInt(fd, SOL_SOCKET, kBufferLock, 2), Returns(0));
  EXPECT_EQ(GetInt(fd, SOL_SOCKET, kBufferLock), 2);
  EXPECT_THAT(SetInt(fd, SOL_SOCKET, kBufferLock, 4), FailsWith(EINVAL));
}

TEST_P(AnySocket, MemoryInformation) {
  const UniqueFd fd = Make();
  uint32_t info[16] = {};
  socklen_t size = sizeof info;
  ASSERT_THAT(getsockopt(fd.get(), SOL_SOCKET, SO_MEMINFO, info, &size), Returns(0));
  EXPECT_EQ(size, 36u);
  EXPECT_EQ(info[0], 0u);
  EXPECT_EQ(info[1], static_cast<uint32_t>(GetInt(fd, SOL_SOCKET, SO_RCVBUF)));
  EXPECT_EQ(info[3], static_cast<uint32_t>(GetInt(fd, SOL_SOCKET, SO_SNDBUF)));
  EXPECT_EQ(info[8], 0u);
}

TEST_P(AnySocket, TimeoutsUnderTheirNewNumbers) {
  const UniqueFd fd = Make();
  const int64_t wanted[2] = {7, 250000};
  for (const int name : {kReceiveTimeoutNew, kSendTimeoutNew}) {
    EXPECT_THAT(setsockopt(fd.get(), SOL_SOCKET, name, wanted, sizeof wanted), Returns(0));
    int64_t got[2] = {};
    socklen_t size = sizeof got;
    EXPECT_THAT(getsockopt(fd.get(), SOL_SOCKET,
                           name == kReceiveTimeoutNew ? SO_RCVTIMEO : SO_SNDTIMEO, got, &size),
                Returns(0));
    EXPECT_EQ(got[0], 7);
    // In ticks of the kernel, of which there are at least 100 a second.
    EXPECT_GE(got[1], 250000);
    EXPECT_LT(got[1], 260000);
    EXPECT_THAT(setsockopt(fd.get(), SOL_SOCKET, name, wanted, 8), FailsWith(EINVAL));
  }
}

TEST_P(AnySocket, SwitchesThatNobodySeesAnEffectOf) {
  ReadsBack(SO_WIFI_STATUS, 5, 1);
  ReadsBack(SO_NOFCS, 5, 1);
  ReadsBack(kPreferBusyPoll, 5, 1);
  ReadsBack(kPreferBusyPoll, 0, 0);
}

TEST_P(AnySocket, SharingAPortIsForPorts) {
  EXPECT_EQ(Get(SO_REUSEPORT), 0);
  ReadsBack(SO_REUSEPORT, 0, 0);
  if (is_inet()) {
    ReadsBack(SO_REUSEPORT, 1, 1);
  } else {
    EXPECT_THAT(SetInt(Make(), SOL_SOCKET, SO_REUSEPORT, 1), FailsWith(EOPNOTSUPP));
  }
}

TEST_P(AnySocket, RehashingIsForTcp) {
  const UniqueFd fd = Make();
  if (!is_tcp()) {
    EXPECT_EQ(ErrorOfGet(kTxRehash), EOPNOTSUPP);
    EXPECT_THAT(SetInt(fd, SOL_SOCKET, kTxRehash, 0), FailsWith(EOPNOTSUPP));
    return;
  }
  EXPECT_EQ(Get(kTxRehash), 1);
  ReadsBack(kTxRehash, 0, 0);
  ReadsBack(kTxRehash, -1, 1);
  EXPECT_THAT(SetInt(fd, SOL_SOCKET, kTxRehash, 2), FailsWith(EINVAL));
}

TEST_P(AnySocket, TheLoopbackDeviceByNameAndNumber) {
  const UniqueFd fd = Make();
  const auto name = [&] {
    char value[16] = "none";
    socklen_t size = sizeof value;
    EXPECT_THAT(getsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, value, &size), Returns(0));
    return size == 0 ? std::string() : std::string(value);
  };
  EXPECT_EQ(name(), "");
  EXPECT_THAT(SetInt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, 1), Returns(0));
  EXPECT_EQ(name(), "lo");
  EXPECT_EQ(GetInt(fd, SOL_SOCKET, SO_BINDTOIFINDEX), 1);
  EXPECT_THAT(SetInt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, 0), Returns(0));
  EXPECT_EQ(name(), "");
  EXPECT_THAT(setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, "lo", 3), Returns(0));
  EXPECT_EQ(GetInt(fd, SOL_SOCKET, SO_BINDTOIFINDEX), 1);
  EXPECT_THAT(setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, "", 1), Returns(0));
  EXPECT_EQ(GetInt(fd, SOL_SOCKET, SO_BINDTOIFINDEX), 0);
  EXPECT_THAT(setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, "nope0", 6), FailsWith(ENODEV));
  EXPECT_THAT(SetInt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, -1), FailsWith(EINVAL));
}

TEST_P(AnySocket, WhoHasNoPeer) {
  const bool route = GetParam().domain == AF_NETLINK;
  EXPECT_EQ(ErrorOfGet(SO_PEERNAME), route ? EINVAL : ENOTCONN);
  if (GetParam().domain == AF_UNIX) return;
  EXPECT_EQ(ErrorOfGet(SO_PEERGROUPS), ENODATA);
  EXPECT_EQ(ErrorOfGet(kPeerPidfd), ENODATA);
}

TEST_P(AnySocket, DescriptorsArriveOnUnixSocketsOnly) {
  for (const int name : {kPassPidfd, kPassRights}) {
    if (GetParam().domain == AF_UNIX) {
      ReadsBack(name, 1, 1);
    } else {
      EXPECT_EQ(ErrorOfGet(name), EOPNOTSUPP) << name;
      EXPECT_THAT(SetInt(Make(), SOL_SOCKET, name, 1), FailsWith(EOPNOTSUPP)) << name;
    }
  }
}

TEST_P(AnySocket, PeekOffset) {
  if (GetParam().domain == AF_NETLINK) {
    EXPECT_EQ(ErrorOfGet(SO_PEEK_OFF), EOPNOTSUPP);
    EXPECT_THAT(SetInt(Make(), SOL_SOCKET, SO_PEEK_OFF, 0), FailsWith(EOPNOTSUPP));
  } else {
    EXPECT_EQ(Get(SO_PEEK_OFF), -1);
    ReadsBack(SO_PEEK_OFF, 3, 3);
  }
}

TEST(PeerName, IsThatOfGetpeername) {
  const UniqueFd listener = NewSocket(AF_INET, SOCK_STREAM);
  ASSERT_THAT(Bind(listener, At("127.0.0.1")), Returns(0));
  ASSERT_THAT(listen(listener.get(), 1), Returns(0));
  const UniqueFd client = NewSocket(AF_INET, SOCK_STREAM);
  const InetAddress to = NameOf(listener.get());
  ASSERT_THAT(Connect(client, to), Returns(0));
  char name[sizeof(sockaddr_in)] = {};
  socklen_t size = sizeof name;
  EXPECT_THAT(getsockopt(client.get(), SOL_SOCKET, SO_PEERNAME, name, &size), Returns(0));
  EXPECT_EQ(size, sizeof name);
  EXPECT_EQ(memcmp(name, to.get(), sizeof name), 0);
  size = 8;
  EXPECT_THAT(getsockopt(client.get(), SOL_SOCKET, SO_PEERNAME, name, &size), Returns(0));
  EXPECT_EQ(size, 8u);
  char large[100];
  size = sizeof large;
  EXPECT_THAT(getsockopt(client.get(), SOL_SOCKET, SO_PEERNAME, large, &size), FailsWith(EINVAL));
}

TEST(ForeignOptions, StreamsLookAtThoseOfMessages) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_STREAM);
  EXPECT_EQ(GetInt(fd, IPPROTO_IP, IP_HDRINCL), 0);
  EXPECT_EQ(GetInt(fd, IPPROTO_IP, IP_NODEFRAG), 0);
  EXPECT_EQ(GetInt(fd, IPPROTO_IP, IP_ROUTER_ALERT), 0);
  EXPECT_EQ(GetInt(fd, IPPROTO_IP, IP_MULTICAST_IF), 0);
  EXPECT_EQ(GetInt(fd, IPPROTO_IP, IP_MULTICAST_TTL), 1);
  EXPECT_THAT(SetInt(fd, IPPROTO_IP, IP_MULTICAST_TTL, 1), FailsWith(EINVAL));
  EXPECT_THAT(SetInt(fd, IPPROTO_IP, IP_MULTICAST_IF, 0), FailsWith(EINVAL));
  EXPECT_THAT(SetInt(fd, IPPROTO_IP, IP_RECVFRAGSIZE, 1), FailsWith(EINVAL));
  EXPECT_THAT(SetInt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, 1), FailsWith(EPROTO));
  EXPECT_THAT(SetInt(fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, 1), FailsWith(EPROTO));
}

TEST(ForeignOptions, TheProtocolOfWhatIsNotRawIsThePort) {
  for (const int type : {SOCK_STREAM, SOCK_DGRAM}) {
    const UniqueFd fd = NewSocket(AF_INET, type);
    EXPECT_EQ(GetInt(fd, IPPROTO_IP, kIpProtocol), 0);
    ASSERT_THAT(Bind(fd, At("127.0.0.1")), Returns(0));
    EXPECT_EQ(GetInt(fd, IPPROTO_IP, kIpProtocol), NameOf(fd.get()).port());
  }
}

TEST(ForeignOptions, ThoseOfTheOtherFamily) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_DGRAM);
  int value = 0;
  socklen_t size = sizeof value;
  EXPECT_THAT(getsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &value, &size),
              FailsWith(EOPNOTSUPP));
  EXPECT_THAT(SetInt(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1), FailsWith(ENOPROTOOPT));
}

TEST(ForeignOptions, OldSwitchesOfIpv6) {
  for (const int name : {IPV6_2292HOPOPTS, IPV6_2292DSTOPTS, IPV6_2292RTHDR}) {
    const UniqueFd fd = NewSocket(AF_INET6, SOCK_DGRAM);
    EXPECT_EQ(GetInt(fd, IPPROTO_IPV6, name), 0);
    EXPECT_THAT(SetInt(fd, IPPROTO_IPV6, name, 1), Returns(0));
    EXPECT_EQ(GetInt(fd, IPPROTO_IPV6, name), 1);
  }
}

TEST(ForeignOptions, SizesOfFragments) {
  const UniqueFd fd = NewSocket(AF_INET6, SOCK_DGRAM);
  EXPECT_THAT(SetInt(fd, IPPROTO_IPV6, IPV6_MTU, 0), Returns(0));
  EXPECT_THAT(SetInt(fd, IPPROTO_IPV6, IPV6_MTU, 1280), Returns(0));
  EXPECT_THAT(SetInt(fd, IPPROTO_IPV6, IPV6_MTU, 1279), FailsWith(EINVAL));
}

TEST(TcpLimits, TimesAndWindows) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_STREAM);
  const auto after = [&](int name, int value) {
    EXPECT_THAT(SetInt(fd, IPPROTO_TCP, name, value), Returns(0));
    return GetInt(fd, IPPROTO_TCP, name);
  };
  EXPECT_EQ(after(TCP_LINGER2, 0), 60);
  EXPECT_EQ(after(TCP_LINGER2, -5), -1);
  EXPECT_EQ(after(TCP_LINGER2, 121), 120);
  EXPECT_EQ(after(TCP_LINGER2, 120), 120);
  EXPECT_EQ(after(TCP_WINDOW_CLAMP, 1), 1152);
  EXPECT_EQ(after(TCP_WINDOW_CLAMP, 5000), 5000);
  EXPECT_EQ(after(TCP_WINDOW_CLAMP, 0), 0);
  EXPECT_EQ(after(TCP_THIN_DUPACK, 1), 0);
  EXPECT_THAT(SetInt(fd, IPPROTO_TCP, TCP_THIN_DUPACK, 2), FailsWith(EINVAL));
  EXPECT_THAT(SetInt(fd, IPPROTO_TCP, TCP_TIMESTAMP, 1), FailsWith(EPERM));
}

TEST(TcpLimits, NoSynWasSaved) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_STREAM);
  char value[64];
  socklen_t size = sizeof value;
  EXPECT_THAT(getsockopt(fd.get(), IPPROTO_TCP, TCP_SAVED_SYN, value, &size), Returns(0));
  EXPECT_EQ(size, 0u);
}

TEST(TcpLimits, InformationHasTheKernelsSize) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_STREAM);
  char value[512];
  socklen_t size = sizeof value;
  EXPECT_THAT(getsockopt(fd.get(), IPPROTO_TCP, TCP_INFO, value, &size), Returns(0));
  EXPECT_GE(size, 232u);  // Linux 5.5.
  size = 100;
  EXPECT_THAT(getsockopt(fd.get(), IPPROTO_TCP, TCP_INFO, value, &size), Returns(0));
  EXPECT_EQ(size, 100u);
}

TEST(RawSocket, MaySharePorts) {
  const UniqueFd fd(socket(AF_INET, SOCK_RAW, 200));
  if (fd.get() < 0) GTEST_SKIP() << "no raw sockets of any protocol here";
  EXPECT_EQ(GetInt(fd, SOL_SOCKET, SO_REUSEADDR), 1);
}

}  // namespace
