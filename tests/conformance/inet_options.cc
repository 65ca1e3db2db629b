// Options at the levels IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP and IPPROTO_UDP, and SOL_SOCKET as
// internet sockets see it: ip(7), ipv6(7), tcp(7), udp(7), socket(7).
#include <linux/filter.h>
#include <netinet/udp.h>

#include "tests/conformance/inet_support.h"

namespace {

INET_SUITE(InetSocket);
INET_SUITE(TcpOptions);

struct IntOption {
  const char* name;
  int level, option, initial, value, read_back;
};
std::string OptionName(const testing::TestParamInfo<IntOption>& info) { return info.param.name; }

// Reads the initial value, sets another, reads it back.
void RoundTrip(const UniqueFd& fd, const IntOption& option) {
  EXPECT_EQ(GetInt(fd, option.level, option.option), option.initial);
  ASSERT_THAT(SetInt(fd, option.level, option.option, option.value), Returns(0));
  EXPECT_EQ(GetInt(fd, option.level, option.option), option.read_back);
  EXPECT_THAT(setsockopt(fd.get(), option.level, option.option, reinterpret_cast<void*>(8), 4),
              FailsWith(EFAULT));
}

class TcpOption : public testing::TestWithParam<IntOption> {};
TEST_P(TcpOption, RoundTrip) { RoundTrip(NewSocket(AF_INET, SOCK_STREAM), GetParam()); }
INSTANTIATE_TEST_SUITE_P(
    Inet, TcpOption,
    testing::Values(IntOption{"NoDelay", IPPROTO_TCP, TCP_NODELAY, 0, 7, 1},
                    IntOption{"Cork", IPPROTO_TCP, TCP_CORK, 0, 1, 1},
                    IntOption{"KeepIdle", IPPROTO_TCP, TCP_KEEPIDLE, 7200, 60, 60},
                    IntOption{"KeepInterval", IPPROTO_TCP, TCP_KEEPINTVL, 75, 10, 10},
                    IntOption{"KeepCount", IPPROTO_TCP, TCP_KEEPCNT, 9, 3, 3},
                    IntOption{"SynCount", IPPROTO_TCP, TCP_SYNCNT, 6, 2, 2},
                    IntOption{"Linger2", IPPROTO_TCP, TCP_LINGER2, 60, 30, 30},
                    IntOption{"UserTimeout", IPPROTO_TCP, TCP_USER_TIMEOUT, 0, 5000, 5000},
                    IntOption{"DeferAccept", IPPROTO_TCP, TCP_DEFER_ACCEPT, 0, 1, 1},
                    IntOption{"NotSentLowWater", IPPROTO_TCP, TCP_NOTSENT_LOWAT, 0, 16384, 16384},
                    IntOption{"MaxSegment", IPPROTO_TCP, TCP_MAXSEG, 536, 1000, 1000}),
    OptionName);

class IpOption : public testing::TestWithParam<IntOption> {};
TEST_P(IpOption, RoundTrip) { RoundTrip(NewSocket(AF_INET, SOCK_DGRAM), GetParam()); }
INSTANTIATE_TEST_SUITE_P(
    Inet, IpOption,
    testing::Values(IntOption{"Tos", IPPROTO_IP, IP_TOS, 0, 0x10, 0x10},
                    IntOption{"Ttl", IPPROTO_IP, IP_TTL, 64, 9, 9},
                    IntOption{"DefaultTtl", IPPROTO_IP, IP_TTL, 64, -1, 64},
                    IntOption{"ReceiveTtl", IPPROTO_IP, IP_RECVTTL, 0, 1, 1},
                    IntOption{"ReceiveTos", IPPROTO_IP, IP_RECVTOS, 0, 1, 1},
                    IntOption{"ReceiveErrors", IPPROTO_IP, IP_RECVERR, 0, 1, 1},
                    IntOption{"PacketInfo", IPPROTO_IP, IP_PKTINFO, 0, 1, 1},
                    IntOption{"ReceiveOptions", IPPROTO_IP, IP_RECVOPTS, 0, 1, 1},
                    IntOption{"FreeBind", IPPROTO_IP, IP_FREEBIND, 0, 1, 1},
                    IntOption{"Transparent", IPPROTO_IP, IP_TRANSPARENT, 0, 1, 1},
                    IntOption{"MtuDiscover", IPPROTO_IP, IP_MTU_DISCOVER, 1, 2, 2},
                    IntOption{"MulticastAll", IPPROTO_IP, IP_MULTICAST_ALL, 1, 0, 0},
                    IntOption{"BindNoPort", IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 0, 1, 1},
                    IntOption{"MinTtl", IPPROTO_IP, IP_MINTTL, 0, 5, 5},
                    IntOption{"OriginalDestination", IPPROTO_IP, 20, 0, 1, 1}),
    OptionName);

class Ipv6Option : public testing::TestWithParam<IntOption> {};
TEST_P(Ipv6Option, RoundTrip) { RoundTrip(NewSocket(AF_INET6, SOCK_DGRAM), GetParam()); }
INSTANTIATE_TEST_SUITE_P(
    Inet, Ipv6Option,
    testing::Values(IntOption{"V6Only", IPPROTO_IPV6, IPV6_V6ONLY, 0, 1, 1},
                    IntOption{"UnicastHops", IPPROTO_IPV6, IPV6_UNICAST_HOPS, 64, 9, 9},
                    IntOption{"MulticastHops", IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 1, 9, 9},
                    IntOption{"MulticastLoop", IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1, 0, 0},
                    IntOption{"TrafficClass", IPPROTO_IPV6, IPV6_TCLASS, 0, 0x20, 0x20},
                    IntOption{"ReceivePacketInfo", IPPROTO_IPV6, IPV6_RECVPKTINFO, 0, 1, 1},
                    IntOption{"ReceiveHopLimit", IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 0, 1, 1},
                    IntOption{"ReceiveClass", IPPROTO_IPV6, IPV6_RECVTCLASS, 0, 1, 1},
                    IntOption{"ReceiveErrors", IPPROTO_IPV6, IPV6_RECVERR, 0, 1, 1},
                    IntOption{"MtuDiscover", IPPROTO_IPV6, IPV6_MTU_DISCOVER, 1, 2, 2},
                    IntOption{"FreeBind", IPPROTO_IPV6, 78, 0, 1, 1},
                    IntOption{"AutoFlowLabel", IPPROTO_IPV6, 70, 1, 0, 0}),
    OptionName);

TEST_P(InetSocket, KindsThatExist) {
  EXPECT_THAT(UniqueFd(socket(GetParam(), SOCK_STREAM, 0)).get(), Succeeds());
  EXPECT_THAT(UniqueFd(socket(GetParam(), SOCK_STREAM, IPPROTO_TCP)).get(), Succeeds());
  EXPECT_THAT(UniqueFd(socket(GetParam(), SOCK_DGRAM, 0)).get(), Succeeds());
  EXPECT_THAT(UniqueFd(socket(GetParam(), SOCK_DGRAM, IPPROTO_UDP)).get(), Succeeds());
}

TEST_P(InetSocket, KindsThatDoNot) {
  EXPECT_THAT(socket(GetParam(), SOCK_STREAM, IPPROTO_UDP), FailsWith(EPROTONOSUPPORT));
  EXPECT_THAT(socket(GetParam(), SOCK_DGRAM, IPPROTO_TCP), FailsWith(EPROTONOSUPPORT));
  EXPECT_THAT(socket(GetParam(), SOCK_SEQPACKET, 0), FailsWith(ESOCKTNOSUPPORT));
  EXPECT_THAT(socket(GetParam(), SOCK_RAW, 0), FailsWith(EPROTONOSUPPORT));
  EXPECT_THAT(socket(GetParam(), SOCK_STREAM, 1000), FailsWith(EINVAL));
  EXPECT_THAT(socket(GetParam(), SOCK_STREAM, -1), FailsWith(EINVAL));
  int pair[2];
  EXPECT_THAT(socketpair(GetParam(), SOCK_STREAM, 0, pair), FailsWith(EOPNOTSUPP));
}

TEST_P(InetSocket, RawNeedsACapability) {
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(setresuid(1234, 1234, 1234) == 0);
                CHILD_CHECK(socket(GetParam(), SOCK_RAW, IPPROTO_ICMP) == -1 && errno == EPERM);
                return 0;
              }),
              Exited(0));
}

TEST_P(InetSocket, Identity) {
  const UniqueFd tcp = NewSocket(GetParam(), SOCK_STREAM);
  EXPECT_EQ(GetInt(tcp, SOL_SOCKET, SO_DOMAIN), GetParam());
  EXPECT_EQ(GetInt(tcp, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
  EXPECT_EQ(GetInt(tcp, SOL_SOCKET, SO_PROTOCOL), IPPROTO_TCP);
  const UniqueFd udp = NewSocket(GetParam(), SOCK_DGRAM);
  EXPECT_EQ(GetInt(udp, SOL_SOCKET, SO_TYPE), SOCK_DGRAM);
  EXPECT_EQ(GetInt(udp, SOL_SOCKET, SO_PROTOCOL), IPPROTO_UDP);
}

TEST_P(InetSocket, BufferSizesAreDoubled) {
  const UniqueFd tcp = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(SetInt(tcp, SOL_SOCKET, SO_SNDBUF, 50'000), Returns(0));
  EXPECT_EQ(GetInt(tcp, SOL_SOCKET, SO_SNDBUF), 100'000);
  ASSERT_THAT(SetInt(tcp, SOL_SOCKET, SO_RCVBUF, 50'000), Returns(0));
  EXPECT_EQ(GetInt(tcp, SOL_SOCKET, SO_RCVBUF), 100'000);
  ASSERT_THAT(SetInt(tcp, SOL_SOCKET, SO_SNDBUF, 1), Returns(0));
  EXPECT_EQ(GetInt(tcp, SOL_SOCKET, SO_SNDBUF), 4608);
  ASSERT_THAT(SetInt(tcp, SOL_SOCKET, SO_RCVBUF, 1), Returns(0));
  EXPECT_EQ(GetInt(tcp, SOL_SOCKET, SO_RCVBUF), 2304);
}

TEST_P(InetSocket, Linger) {
  const UniqueFd tcp = NewSocket(GetParam(), SOCK_STREAM);
  linger value = {1, 9};
  ASSERT_THAT(setsockopt(tcp.get(), SOL_SOCKET, SO_LINGER, &value, sizeof value), Returns(0));
  value = {};
  socklen_t size = sizeof value;
  ASSERT_THAT(getsockopt(tcp.get(), SOL_SOCKET, SO_LINGER, &value, &size), Returns(0));
  EXPECT_EQ(value.l_onoff, 1);
  EXPECT_EQ(value.l_linger, 9);
}

TEST_P(InetSocket, LevelsAndNamesThatDoNotExist) {
  const UniqueFd tcp = NewSocket(GetParam(), SOCK_STREAM);
  EXPECT_THAT(SetInt(tcp, IPPROTO_TCP, 12345, 1), FailsWith(ENOPROTOOPT));
  EXPECT_THAT(SetInt(tcp, IPPROTO_IP, 12345, 1), FailsWith(ENOPROTOOPT));
  EXPECT_THAT(SetInt(tcp, SOL_SOCKET, 12345, 1), FailsWith(ENOPROTOOPT));
  EXPECT_THAT(SetInt(tcp, 12345, 1, 1), FailsWith(ENOPROTOOPT));
  int value;
  socklen_t size = sizeof value;
  EXPECT_THAT(getsockopt(tcp.get(), IPPROTO_TCP, 12345, &value, &size), FailsWith(ENOPROTOOPT));
  EXPECT_THAT(getsockopt(tcp.get(), IPPROTO_UDP, UDP_CORK, &value, &size),
              FailsWith(GetParam() == AF_INET ? EOPNOTSUPP : ENOPROTOOPT));
}

TEST_P(InetSocket, ShortValues) {
  const UniqueFd tcp = NewSocket(GetParam(), SOCK_STREAM);
  const int one = 1;
  EXPECT_THAT(setsockopt(tcp.get(), IPPROTO_TCP, TCP_NODELAY, &one, 3), FailsWith(EINVAL));
  EXPECT_THAT(setsockopt(tcp.get(), SOL_SOCKET, SO_REUSEADDR, &one, 3), FailsWith(EINVAL));
  int value = 0x55555555;
  socklen_t size = 1;
  EXPECT_THAT(getsockopt(tcp.get(), IPPROTO_TCP, TCP_NODELAY, &value, &size), Returns(0));
  EXPECT_EQ(size, 1u);
  EXPECT_EQ(value, 0x55555500);
}

TEST_P(InetSocket, BindToDevice) {
  const UniqueFd fd = NewSocket(GetParam(), SOCK_STREAM);
  char name[16] = {};
  socklen_t size = sizeof name;
  EXPECT_THAT(getsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, name, &size), Returns(0));
  EXPECT_EQ(size, 0u);
  EXPECT_THAT(setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, "nosuch0", 8), FailsWith(ENODEV));
  EXPECT_THAT(setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, "lo", 3), Returns(0));
  size = sizeof name;
  EXPECT_THAT(getsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, name, &size), Returns(0));
  EXPECT_STREQ(name, "lo");
}

// Anybody may choose a device once; to leave or to change it takes CAP_NET_RAW.
TEST_P(InetSocket, BindToDeviceWithoutRights) {
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(geteuid() != 0 || setresuid(65534, 65534, 65534) == 0);
                const UniqueFd fd = NewSocket(GetParam(), SOCK_DGRAM);
                const auto choose = [&](const char* name) {
                  return setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, name,
                                    static_cast<socklen_t>(strlen(name)));
                };
                CHILD_CHECK(choose("") == 0);
                CHILD_CHECK(choose("lo") == 0);
                CHILD_CHECK(choose("lo") == -1 && errno == EPERM);
                CHILD_CHECK(choose("") == -1 && errno == EPERM);
                CHILD_CHECK(choose("nosuch0") == -1 && errno == ENODEV);
                return 0;
              }),
              Exited(0));
}

TEST_P(InetSocket, StatShowsASocket) {
  const UniqueFd fd = NewSocket(GetParam(), SOCK_STREAM);
  char target[64] = {};
  const std::string link = "/proc/self/fd/" + std::to_string(fd.get());
  EXPECT_GT(readlink(link.c_str(), target, sizeof target - 1), 0);
  EXPECT_EQ(std::string(target).substr(0, 8), "socket:[");
}

TEST_P(TcpOptions, Congestion) {
  const UniqueFd fd = NewSocket(GetParam(), SOCK_STREAM);
  EXPECT_THAT(setsockopt(fd.get(), IPPROTO_TCP, TCP_CONGESTION, "reno", 4), Returns(0));
  char name[16] = {};
  socklen_t size = sizeof name;
  EXPECT_THAT(getsockopt(fd.get(), IPPROTO_TCP, TCP_CONGESTION, name, &size), Returns(0));
  EXPECT_STREQ(name, "reno");
  EXPECT_EQ(size, 16u);
  EXPECT_THAT(setsockopt(fd.get(), IPPROTO_TCP, TCP_CONGESTION, "nosuch", 6), FailsWith(ENOENT));
}

TEST_P(TcpOptions, UpperLayerProtocols) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(setsockopt(pair.client.get(), IPPROTO_TCP, TCP_ULP, "nosuch", 6), FailsWith(ENOENT));
  char name[16];
  socklen_t size = sizeof name;
  EXPECT_THAT(getsockopt(pair.client.get(), IPPROTO_TCP, TCP_ULP, name, &size), Returns(0));
  EXPECT_EQ(size, 0u);
}

TEST_P(TcpOptions, Ranges) {
  const UniqueFd fd = NewSocket(GetParam(), SOCK_STREAM);
  EXPECT_THAT(SetInt(fd, IPPROTO_TCP, TCP_KEEPIDLE, 0), FailsWith(EINVAL));
  EXPECT_THAT(SetInt(fd, IPPROTO_TCP, TCP_KEEPIDLE, 32768), FailsWith(EINVAL));
  EXPECT_THAT(SetInt(fd, IPPROTO_TCP, TCP_KEEPINTVL, 0), FailsWith(EINVAL));
  EXPECT_THAT(SetInt(fd, IPPROTO_TCP, TCP_KEEPCNT, 128), FailsWith(EINVAL));
  EXPECT_THAT(SetInt(fd, IPPROTO_TCP, TCP_SYNCNT, 128), FailsWith(EINVAL));
  EXPECT_THAT(SetInt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, -1), FailsWith(EINVAL));
  EXPECT_THAT(SetInt(fd, IPPROTO_TCP, TCP_MAXSEG, 10), FailsWith(EINVAL));
}

TEST_P(TcpOptions, QuickAck) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(SetInt(pair.client, IPPROTO_TCP, TCP_QUICKACK, 1), Returns(0));
  EXPECT_EQ(GetInt(pair.client, IPPROTO_TCP, TCP_QUICKACK), 1);
}

TEST_P(TcpOptions, FastOpenOfAListener) {
  const UniqueFd listener = NewListener(GetParam());
  EXPECT_THAT(SetInt(listener, IPPROTO_TCP, TCP_FASTOPEN, 5), Returns(0));
  EXPECT_EQ(GetInt(listener, IPPROTO_TCP, TCP_FASTOPEN), 5);
}

TEST_P(TcpOptions, MtuNeedsAConnection) {
  const bool four = GetParam() == AF_INET;
  const int level = four ? int{IPPROTO_IP} : int{IPPROTO_IPV6};
  const UniqueFd fd = NewSocket(GetParam(), SOCK_STREAM);
  int value;
  socklen_t size = sizeof value;
  EXPECT_THAT(getsockopt(fd.get(), level, four ? IP_MTU : IPV6_MTU, &value, &size),
              FailsWith(ENOTCONN));
  const TcpPair pair(GetParam());
  EXPECT_EQ(GetInt(pair.client, level, four ? IP_MTU : IPV6_MTU), four ? 65535 : 65536);
}

TEST_P(TcpOptions, MaxSegmentOfAConnection) {
  const TcpPair pair(GetParam());
  EXPECT_GT(GetInt(pair.client, IPPROTO_TCP, TCP_MAXSEG), 536);
}

TEST(IpOptions, Ranges) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_DGRAM);
  EXPECT_THAT(SetInt(fd, IPPROTO_IP, IP_TTL, 0), FailsWith(EINVAL));
  EXPECT_THAT(SetInt(fd, IPPROTO_IP, IP_TTL, 256), FailsWith(EINVAL));
  EXPECT_THAT(SetInt(fd, IPPROTO_IP, IP_MTU_DISCOVER, 99), FailsWith(EINVAL));
  EXPECT_THAT(SetInt(fd, IPPROTO_IP, IP_MINTTL, 256), FailsWith(EINVAL));
}

TEST(IpOptions, OneByteIsEnough) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_DGRAM);
  const uint8_t tos = 0x20;
  EXPECT_THAT(setsockopt(fd.get(), IPPROTO_IP, IP_TOS, &tos, 1), Returns(0));
  uint8_t value = 0;
  socklen_t size = 1;
  EXPECT_THAT(getsockopt(fd.get(), IPPROTO_IP, IP_TOS, &value, &size), Returns(0));
  EXPECT_EQ(size, 1u);
  EXPECT_EQ(value, 0x20);
}

TEST(IpOptions, TcpMasksTheCongestionBits) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_STREAM);
  EXPECT_THAT(SetInt(fd, IPPROTO_IP, IP_TOS, 0x13), Returns(0));
  EXPECT_EQ(GetInt(fd, IPPROTO_IP, IP_TOS), 0x10);
}

TEST(IpOptions, TransparentNeedsACapability) {
  EXPECT_THAT(
      InChild([] {
        CHILD_CHECK(setresuid(1234, 1234, 1234) == 0);
        const UniqueFd fd(socket(AF_INET, SOCK_STREAM, 0));
        const int one = 1;
        CHILD_CHECK(setsockopt(fd.get(), IPPROTO_IP, IP_TRANSPARENT, &one, sizeof one) == -1);
        CHILD_CHECK(errno == EPERM);
        CHILD_CHECK(setsockopt(fd.get(), SOL_SOCKET, SO_MARK, &one, sizeof one) == -1);
        CHILD_CHECK(errno == EPERM);
        return 0;
      }),
      Exited(0));
}

TEST(Ipv6Options, Ranges) {
  const UniqueFd fd = NewSocket(AF_INET6, SOCK_DGRAM);
  EXPECT_THAT(SetInt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 256), FailsWith(EINVAL));
  EXPECT_THAT(SetInt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, -2), FailsWith(EINVAL));
  EXPECT_THAT(SetInt(fd, IPPROTO_IPV6, IPV6_TCLASS, 256), FailsWith(EINVAL));
  EXPECT_THAT(SetInt(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 2), FailsWith(EINVAL));
}

TEST(Ipv6Options, LevelIsUnknownToFour) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_STREAM);
  EXPECT_THAT(SetInt(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1), FailsWith(ENOPROTOOPT));
}

TEST(Ipv6Options, SixHasTheOptionsOfFour) {
  const UniqueFd fd = NewSocket(AF_INET6, SOCK_STREAM);
  EXPECT_THAT(SetInt(fd, IPPROTO_IP, IP_TTL, 9), Returns(0));
  EXPECT_EQ(GetInt(fd, IPPROTO_IP, IP_TTL), 9);
}

TEST(UdpOptions, SegmentAndGro) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_DGRAM);
  EXPECT_EQ(GetInt(fd, IPPROTO_UDP, UDP_CORK), 0);
  EXPECT_THAT(SetInt(fd, IPPROTO_UDP, 103 /* UDP_SEGMENT */, 1000), Returns(0));
  EXPECT_EQ(GetInt(fd, IPPROTO_UDP, 103), 1000);
  EXPECT_THAT(SetInt(fd, IPPROTO_UDP, 103, 70000), FailsWith(EINVAL));
}

TEST(UdpOptions, SegmentsAreDatagrams) {
  const UniqueFd fd = NewUdp(AF_INET);
  ASSERT_THAT(SetInt(fd, IPPROTO_UDP, 103, 4), Returns(0));
  EXPECT_THAT(SendTo(fd, "aaaabbbbcc", NameOf(fd.get())), Returns(10));
  EXPECT_EQ(Receive(fd), "aaaa");
  EXPECT_EQ(Receive(fd), "bbbb");
  EXPECT_EQ(Receive(fd), "cc");
}

}  // namespace
