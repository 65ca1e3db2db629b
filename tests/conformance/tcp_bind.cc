// Addresses and ports of TCP sockets: bind(2), ip(7), ipv6(7), tcp(7).
#include "tests/conformance/inet_support.h"

namespace {

INET_SUITE(TcpBind);

TEST_P(TcpBind, NewSocketHasNoName) {
  const UniqueFd fd = NewSocket(GetParam(), SOCK_STREAM);
  const InetAddress name = NameOf(fd.get());
  EXPECT_EQ(name.family(), GetParam());
  EXPECT_EQ(name.text(), Any(GetParam()).text());
  EXPECT_EQ(name.size, GetParam() == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
  InetAddress peer;
  EXPECT_THAT(getpeername(fd.get(), peer.get(), &peer.size), FailsWith(ENOTCONN));
}

TEST_P(TcpBind, PortZeroTakesAnEphemeralPort) {
  const UniqueFd fd = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Bind(fd, Loopback(GetParam())), Returns(0));
  EXPECT_GE(NameOf(fd.get()).port(), 1024);
  EXPECT_EQ(NameOf(fd.get()).host(), Loopback(GetParam()).host());
}

TEST_P(TcpBind, OnlyOnce) {
  const UniqueFd fd = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Bind(fd, Loopback(GetParam())), Returns(0));
  EXPECT_THAT(Bind(fd, Loopback(GetParam())), FailsWith(EINVAL));
}

TEST_P(TcpBind, ShortAddress) {
  const UniqueFd fd = NewSocket(GetParam(), SOCK_STREAM);
  const InetAddress address = Loopback(GetParam());
  const socklen_t least = GetParam() == AF_INET ? sizeof(sockaddr_in) : 24;  // RFC 2133.
  EXPECT_THAT(bind(fd.get(), address.get(), least - 1), FailsWith(EINVAL));
  EXPECT_THAT(bind(fd.get(), address.get(), 2), FailsWith(EINVAL));
  EXPECT_THAT(bind(fd.get(), address.get(), least), Returns(0));
}

TEST_P(TcpBind, LongAddressIsFine) {
  const UniqueFd fd = NewSocket(GetParam(), SOCK_STREAM);
  const InetAddress address = Loopback(GetParam());
  EXPECT_THAT(bind(fd.get(), address.get(), sizeof(sockaddr_storage)), Returns(0));
  const UniqueFd other = NewSocket(GetParam(), SOCK_STREAM);
  EXPECT_THAT(bind(other.get(), address.get(), sizeof(sockaddr_storage) + 1), FailsWith(EINVAL));
}

TEST_P(TcpBind, BadPointer) {
  const UniqueFd fd = NewSocket(GetParam(), SOCK_STREAM);
  EXPECT_THAT(bind(fd.get(), reinterpret_cast<sockaddr*>(8), 28), FailsWith(EFAULT));
}

TEST_P(TcpBind, WrongFamily) {
  const UniqueFd fd = NewSocket(GetParam(), SOCK_STREAM);
  InetAddress address = Loopback(GetParam());
  address.storage.ss_family = AF_UNIX;
  EXPECT_THAT(bind(fd.get(), address.get(), 28), FailsWith(EAFNOSUPPORT));
}

TEST_P(TcpBind, AddressThatIsNotLocal) {
  const UniqueFd fd = NewSocket(GetParam(), SOCK_STREAM);
  EXPECT_THAT(Bind(fd, At(GetParam() == AF_INET ? "203.0.113.7" : "2001:db8::7")),
              FailsWith(EADDRNOTAVAIL));
}

TEST_P(TcpBind, FreebindAllowsAnyAddress) {
  const UniqueFd fd = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(SetInt(fd, GetParam() == AF_INET ? int{IPPROTO_IP} : int{IPPROTO_IPV6},
                     GetParam() == AF_INET ? 15 : 78, 1),
              Returns(0));
  EXPECT_THAT(Bind(fd, At(GetParam() == AF_INET ? "203.0.113.7" : "2001:db8::7")), Returns(0));
}

TEST_P(TcpBind, PortInUse) {
  const UniqueFd first = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Bind(first, Loopback(GetParam())), Returns(0));
  const UniqueFd second = NewSocket(GetParam(), SOCK_STREAM);
  EXPECT_THAT(Bind(second, NameOf(first.get())), FailsWith(EADDRINUSE));
  EXPECT_THAT(Bind(second, Any(GetParam(), NameOf(first.get()).port())), FailsWith(EADDRINUSE));
  EXPECT_EQ(NameOf(second.get()).port(), 0);
}

TEST_P(TcpBind, SpecificAfterAny) {
  const UniqueFd first = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Bind(first, Any(GetParam())), Returns(0));
  const UniqueFd second = NewSocket(GetParam(), SOCK_STREAM);
  EXPECT_THAT(Bind(second, Loopback(GetParam(), NameOf(first.get()).port())),
              FailsWith(EADDRINUSE));
}

TEST_P(TcpBind, CloseFreesThePort) {
  UniqueFd first = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Bind(first, Loopback(GetParam())), Returns(0));
  const InetAddress name = NameOf(first.get());
  first.reset();
  const UniqueFd second = NewSocket(GetParam(), SOCK_STREAM);
  EXPECT_THAT(Bind(second, name), Returns(0));
}

TEST_P(TcpBind, ReuseAddressSharesAmongThoseThatDoNotListen) {
  const UniqueFd first = NewSocket(GetParam(), SOCK_STREAM);
  const UniqueFd second = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(SetInt(first, SOL_SOCKET, SO_REUSEADDR, 1), Returns(0));
  ASSERT_THAT(Bind(first, Loopback(GetParam())), Returns(0));
  EXPECT_THAT(Bind(second, NameOf(first.get())), FailsWith(EADDRINUSE));
  ASSERT_THAT(SetInt(second, SOL_SOCKET, SO_REUSEADDR, 1), Returns(0));
  EXPECT_THAT(Bind(second, NameOf(first.get())), Returns(0));
  EXPECT_THAT(listen(first.get(), 1), Returns(0));
  EXPECT_THAT(listen(second.get(), 1), FailsWith(EADDRINUSE));
}

TEST_P(TcpBind, ReuseAddressDoesNotShareAListener) {
  const UniqueFd first = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(SetInt(first, SOL_SOCKET, SO_REUSEADDR, 1), Returns(0));
  ASSERT_THAT(Bind(first, Loopback(GetParam())), Returns(0));
  ASSERT_THAT(listen(first.get(), 1), Returns(0));
  const UniqueFd second = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(SetInt(second, SOL_SOCKET, SO_REUSEADDR, 1), Returns(0));
  EXPECT_THAT(Bind(second, NameOf(first.get())), FailsWith(EADDRINUSE));
}

TEST_P(TcpBind, ReusePortSharesListeners) {
  const UniqueFd first = NewSocket(GetParam(), SOCK_STREAM);
  const UniqueFd second = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(SetInt(first, SOL_SOCKET, SO_REUSEPORT, 1), Returns(0));
  ASSERT_THAT(SetInt(second, SOL_SOCKET, SO_REUSEPORT, 1), Returns(0));
  ASSERT_THAT(Bind(first, Loopback(GetParam())), Returns(0));
  EXPECT_THAT(Bind(second, NameOf(first.get())), Returns(0));
  EXPECT_THAT(listen(first.get(), 1), Returns(0));
  EXPECT_THAT(listen(second.get(), 1), Returns(0));
  const UniqueFd third = NewSocket(GetParam(), SOCK_STREAM);
  EXPECT_THAT(Bind(third, NameOf(first.get())), FailsWith(EADDRINUSE));
}

TEST_P(TcpBind, ReusePortIsForOneUser) {
  const UniqueFd first = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(SetInt(first, SOL_SOCKET, SO_REUSEPORT, 1), Returns(0));
  ASSERT_THAT(Bind(first, Loopback(GetParam())), Returns(0));
  const InetAddress name = NameOf(first.get());
  EXPECT_THAT(
      InChild([&] {
        CHILD_CHECK(setresuid(1234, 1234, 1234) == 0);
        const UniqueFd second(socket(GetParam(), SOCK_STREAM, 0));
        const int one = 1;
        CHILD_CHECK(setsockopt(second.get(), SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) == 0);
        CHILD_CHECK(bind(second.get(), name.get(), name.size) == -1 && errno == EADDRINUSE);
        return 0;
      }),
      Exited(0));
}

TEST_P(TcpBind, PrivilegedPortNeedsACapability) {
  const char* const kSetting = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
  if (access(kSetting, R_OK) == 0 && ReadFile(kSetting) != "1024\n") GTEST_SKIP();
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(setresuid(1234, 1234, 1234) == 0);
                const UniqueFd fd(socket(GetParam(), SOCK_STREAM, 0));
                const InetAddress low = Loopback(GetParam(), 1023);
                CHILD_CHECK(bind(fd.get(), low.get(), low.size) == -1 && errno == EACCES);
                return 0;
              }),
              Exited(0));
}

TEST_P(TcpBind, ListenBindsByItself) {
  const UniqueFd fd = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(listen(fd.get(), 1), Returns(0));
  EXPECT_NE(NameOf(fd.get()).port(), 0);
  EXPECT_EQ(NameOf(fd.get()).host(), Any(GetParam()).host());
}

TEST_P(TcpBind, BindAddressNoPortWaitsForConnect) {
  const UniqueFd listener = NewListener(GetParam());
  const UniqueFd fd = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(SetInt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1), Returns(0));
  ASSERT_THAT(Bind(fd, Loopback(GetParam())), Returns(0));
  EXPECT_EQ(NameOf(fd.get()).port(), 0);
  ASSERT_THAT(Connect(fd, NameOf(listener.get())), Returns(0));
  EXPECT_NE(NameOf(fd.get()).port(), 0);
}

TEST_P(TcpBind, GetsocknameTruncates) {
  const UniqueFd fd = NewListener(GetParam());
  char short_name[4] = {};
  socklen_t size = sizeof short_name;
  EXPECT_THAT(getsockname(fd.get(), reinterpret_cast<sockaddr*>(short_name), &size), Returns(0));
  EXPECT_EQ(size, GetParam() == AF_INET ? 16u : 28u);
  size = -1;
  EXPECT_THAT(getsockname(fd.get(), reinterpret_cast<sockaddr*>(short_name), &size),
              FailsWith(EINVAL));
}

TEST(TcpBind4, AnyAddressOf127IsLocal) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_STREAM);
  EXPECT_THAT(Bind(fd, At("127.200.3.4")), Returns(0));
  ASSERT_THAT(listen(fd.get(), 1), Returns(0));
  const UniqueFd client = NewSocket(AF_INET, SOCK_STREAM);
  EXPECT_THAT(Connect(client, NameOf(fd.get())), Returns(0));
  EXPECT_EQ(PeerOf(client.get()).host(), "127.200.3.4");
}

TEST(TcpBind4, AddressesOfOnePortAreDistinct) {
  const UniqueFd first = NewSocket(AF_INET, SOCK_STREAM);
  ASSERT_THAT(Bind(first, At("127.0.0.1")), Returns(0));
  const uint16_t port = NameOf(first.get()).port();
  const UniqueFd second = NewSocket(AF_INET, SOCK_STREAM);
  EXPECT_THAT(Bind(second, At("127.0.0.2", port)), Returns(0));
}

TEST(TcpBind4, UnspecFamilyMeansAny) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_STREAM);
  InetAddress address = At("0.0.0.0");
  address.storage.ss_family = AF_UNSPEC;
  EXPECT_THAT(bind(fd.get(), address.get(), address.size), Returns(0));
  const UniqueFd other = NewSocket(AF_INET, SOCK_STREAM);
  address = At("127.0.0.1");
  address.storage.ss_family = AF_UNSPEC;
  EXPECT_THAT(bind(other.get(), address.get(), address.size), FailsWith(EAFNOSUPPORT));
}

TEST(TcpBind6, AnyCoversTheOtherFamily) {
  const UniqueFd six = NewSocket(AF_INET6, SOCK_STREAM);
  ASSERT_THAT(Bind(six, At("::")), Returns(0));
  const UniqueFd four = NewSocket(AF_INET, SOCK_STREAM);
  EXPECT_THAT(Bind(four, At("127.0.0.1", NameOf(six.get()).port())), FailsWith(EADDRINUSE));
  EXPECT_THAT(Bind(four, At("0.0.0.0", NameOf(six.get()).port())), FailsWith(EADDRINUSE));
}

// Whether a port that a socket of IPv6 has at `address` is left to one of IPv4. Not always: of that
// family somebody's connection may have had it a moment ago.
bool LeavesPorts(const char* address, int v6_only) {
  return Eventually([&] {
    const UniqueFd six = NewSocket(AF_INET6, SOCK_STREAM);
    EXPECT_THAT(SetInt(six, IPPROTO_IPV6, IPV6_V6ONLY, v6_only), Returns(0));
    EXPECT_THAT(Bind(six, At(address)), Returns(0));
    const UniqueFd four = NewSocket(AF_INET, SOCK_STREAM);
    return Bind(four, At("0.0.0.0", NameOf(six.get()).port())) == 0;
  });
}

TEST(TcpBind6, V6OnlyLeavesTheOtherFamily) { EXPECT_TRUE(LeavesPorts("::", 1)); }

TEST(TcpBind6, LoopbackLeavesTheOtherFamily) { EXPECT_TRUE(LeavesPorts("::1", 0)); }

TEST(TcpBind6, MappedAddressCollidesWithTheOtherFamily) {
  const UniqueFd six = NewSocket(AF_INET6, SOCK_STREAM);
  ASSERT_THAT(Bind(six, At("::ffff:127.0.0.1")), Returns(0));
  EXPECT_EQ(NameOf(six.get()).host(), "::ffff:127.0.0.1");
  const UniqueFd four = NewSocket(AF_INET, SOCK_STREAM);
  EXPECT_THAT(Bind(four, At("127.0.0.1", NameOf(six.get()).port())), FailsWith(EADDRINUSE));
  EXPECT_THAT(Bind(four, At("127.0.0.2", NameOf(six.get()).port())), Returns(0));
}

TEST(TcpBind6, V6OnlyRefusesMappedAddresses) {
  const UniqueFd six = NewSocket(AF_INET6, SOCK_STREAM);
  ASSERT_THAT(SetInt(six, IPPROTO_IPV6, IPV6_V6ONLY, 1), Returns(0));
  EXPECT_THAT(Bind(six, At("::ffff:127.0.0.1")), FailsWith(EINVAL));
}

TEST(TcpBind6, V6OnlyIsFixedByBind) {
  const UniqueFd six = NewSocket(AF_INET6, SOCK_STREAM);
  ASSERT_THAT(Bind(six, At("::")), Returns(0));
  EXPECT_THAT(SetInt(six, IPPROTO_IPV6, IPV6_V6ONLY, 1), FailsWith(EINVAL));
}

TEST(TcpBind6, AnAddressOfTheOtherFamilyIsShort) {
  const UniqueFd six = NewSocket(AF_INET6, SOCK_STREAM);
  EXPECT_THAT(Bind(six, At("127.0.0.1")), FailsWith(EINVAL));
}

TEST(TcpBind6, MulticastIsNoAddressOfATcpSocket) {
  const UniqueFd six = NewSocket(AF_INET6, SOCK_STREAM);
  EXPECT_THAT(Bind(six, At("ff02::1")), FailsWith(EINVAL));
}

}  // namespace
