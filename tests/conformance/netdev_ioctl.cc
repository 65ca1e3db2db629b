// netdevice(7): what ioctl(2) on a socket tells of the loopback interface.
#include <arpa/inet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "tests/conformance/support.h"

namespace {

class NetdevIoctl : public testing::Test {
 protected:
  // The request's number, with the name in place.
  int Do(unsigned long request, const char* name = "lo", int fd = -1) {
    strncpy(request_.ifr_name, name, IFNAMSIZ);
    return ioctl(fd < 0 ? inet_.get() : fd, request, &request_);
  }
  sockaddr_in Address() const {
    sockaddr_in address{};
    memcpy(&address, &request_.ifr_addr, sizeof(address));
    return address;
  }

  UniqueFd inet_{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  ifreq request_{};
};

// A change as an ordinary user: its errno.
int ChangeAsNobody(unsigned long request) {
  const int status = InChild([&] {
    CHILD_CHECK(setresuid(65534, 65534, 65534) == 0);
    UniqueFd fd(socket(AF_INET, SOCK_DGRAM, 0));
    ifreq change{};
    strcpy(change.ifr_name, "lo");
    change.ifr_addr.sa_family = AF_INET;
    return ioctl(fd.get(), request, &change) == 0 ? 0 : errno;
  });
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(NetdevIoctl, Index) {
  EXPECT_THAT(Do(SIOCGIFINDEX), Returns(0));
  EXPECT_EQ(request_.ifr_ifindex, 1);
}

TEST_F(NetdevIoctl, Name) {
  request_.ifr_ifindex = 1;
  EXPECT_THAT(ioctl(inet_.get(), SIOCGIFNAME, &request_), Returns(0));
  EXPECT_STREQ(request_.ifr_name, "lo");
  request_.ifr_ifindex = 12345;
  EXPECT_THAT(ioctl(inet_.get(), SIOCGIFNAME, &request_), FailsWith(ENODEV));
}

TEST_F(NetdevIoctl, Flags) {
  EXPECT_THAT(Do(SIOCGIFFLAGS), Returns(0));
  EXPECT_EQ(request_.ifr_flags, IFF_UP | IFF_LOOPBACK | IFF_RUNNING);
}

TEST_F(NetdevIoctl, AddressOfLo) {
  EXPECT_THAT(Do(SIOCGIFADDR), Returns(0));
  EXPECT_EQ(Address().sin_family, AF_INET);
  EXPECT_EQ(Address().sin_addr.s_addr, htonl(INADDR_LOOPBACK));
  EXPECT_EQ(Address().sin_port, 0);
}

TEST_F(NetdevIoctl, Netmask) {
  EXPECT_THAT(Do(SIOCGIFNETMASK), Returns(0));
  EXPECT_EQ(Address().sin_family, AF_INET);
  EXPECT_EQ(Address().sin_addr.s_addr, htonl(0xff000000));
}

TEST_F(NetdevIoctl, BroadcastAndDestination) {
  EXPECT_THAT(Do(SIOCGIFBRDADDR), Returns(0));
  EXPECT_EQ(Address().sin_addr.s_addr, 0u);
  EXPECT_THAT(Do(SIOCGIFDSTADDR), Returns(0));
  EXPECT_EQ(Address().sin_addr.s_addr, htonl(INADDR_LOOPBACK));
}

TEST_F(NetdevIoctl, Mtu) {
  EXPECT_THAT(Do(SIOCGIFMTU), Returns(0));
  EXPECT_EQ(request_.ifr_mtu, 65536);
}

TEST_F(NetdevIoctl, HardwareAddress) {
  memset(&request_, 0xff, sizeof(request_));
  EXPECT_THAT(Do(SIOCGIFHWADDR), Returns(0));
  EXPECT_EQ(request_.ifr_hwaddr.sa_family, ARPHRD_LOOPBACK);
  EXPECT_EQ(std::string(request_.ifr_hwaddr.sa_data, 6), std::string(6, '\0'));
}

TEST_F(NetdevIoctl, QueueLength) {
  EXPECT_THAT(Do(SIOCGIFTXQLEN), Returns(0));
  EXPECT_EQ(request_.ifr_qlen, 1000);
}

TEST_F(NetdevIoctl, Metric) {
  request_.ifr_metric = 7;
  EXPECT_THAT(Do(SIOCGIFMETRIC), Returns(0));
  EXPECT_EQ(request_.ifr_metric, 0);
}

TEST_F(NetdevIoctl, Map) {
  memset(&request_, 0xff, sizeof(request_));
  EXPECT_THAT(Do(SIOCGIFMAP), Returns(0));
  EXPECT_EQ(request_.ifr_map.irq, 0);
  EXPECT_EQ(request_.ifr_map.mem_start, 0u);
}

TEST_F(NetdevIoctl, Unknown) {
  for (const unsigned long request : {SIOCGIFINDEX, SIOCGIFFLAGS, SIOCGIFADDR, SIOCGIFNETMASK,
                                      SIOCGIFMTU, SIOCGIFHWADDR, SIOCGIFTXQLEN}) {
    EXPECT_THAT(Do(request, "nope0"), FailsWith(ENODEV)) << request;
  }
}

TEST_F(NetdevIoctl, ALabelIsNoDevice) {
  EXPECT_THAT(Do(SIOCGIFADDR, "lo:1"), FailsWith(EADDRNOTAVAIL));
  // Everything else is the device's, whatever the label.
  EXPECT_THAT(Do(SIOCGIFFLAGS, "lo:1"), Returns(0));
  EXPECT_STREQ(request_.ifr_name, "lo:1");
}

TEST_F(NetdevIoctl, NamesNeedNoEnd) {
  memset(&request_, 'x', sizeof(request_));
  EXPECT_THAT(ioctl(inet_.get(), SIOCGIFINDEX, &request_), FailsWith(ENODEV));
}

TEST_F(NetdevIoctl, BadMemory) {
  EXPECT_THAT(ioctl(inet_.get(), SIOCGIFINDEX, 8), FailsWith(EFAULT));
  EXPECT_THAT(ioctl(inet_.get(), SIOCGIFCONF, 8), FailsWith(EFAULT));
}

TEST_F(NetdevIoctl, AnySocketWillDo) {
  UniqueFd unix_socket(socket(AF_UNIX, SOCK_STREAM, 0));
  EXPECT_THAT(Do(SIOCGIFINDEX, "lo", unix_socket.get()), Returns(0));
  EXPECT_EQ(request_.ifr_ifindex, 1);
  EXPECT_THAT(Do(SIOCGIFFLAGS, "lo", unix_socket.get()), Returns(0));
  UniqueFd netlink(socket(AF_NETLINK, SOCK_RAW, 0));
  EXPECT_THAT(Do(SIOCGIFMTU, "lo", netlink.get()), Returns(0));
  UniqueFd inet6(socket(AF_INET6, SOCK_DGRAM, 0));
  EXPECT_THAT(Do(SIOCGIFINDEX, "lo", inet6.get()), Returns(0));
}

TEST_F(NetdevIoctl, NoSocketNoInterface) {
  Pipe pipe;
  EXPECT_THAT(Do(SIOCGIFINDEX, "lo", pipe.read.get()), FailsWith(ENOTTY));
}

TEST_F(NetdevIoctl, Conf) {
  ifreq all[64];
  ifconf conf{};
  conf.ifc_len = sizeof(all);
  conf.ifc_req = all;
  EXPECT_THAT(ioctl(inet_.get(), SIOCGIFCONF, &conf), Returns(0));
  ASSERT_GE(conf.ifc_len, static_cast<int>(sizeof(ifreq)));
  EXPECT_EQ(conf.ifc_len % sizeof(ifreq), 0u);
  EXPECT_STREQ(all[0].ifr_name, "lo");
  sockaddr_in address{};
  memcpy(&address, &all[0].ifr_addr, sizeof(address));
  EXPECT_EQ(address.sin_family, AF_INET);
  EXPECT_EQ(address.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
}

TEST_F(NetdevIoctl, ConfTellsItsSize) {
  ifconf conf{};
  EXPECT_THAT(ioctl(inet_.get(), SIOCGIFCONF, &conf), Returns(0));
  EXPECT_GE(conf.ifc_len, static_cast<int>(sizeof(ifreq)));
}

TEST_F(NetdevIoctl, ConfTellsWhatFits) {
  ifreq one;
  ifconf conf{};
  conf.ifc_len = sizeof(one) - 1;
  conf.ifc_req = &one;
  EXPECT_THAT(ioctl(inet_.get(), SIOCGIFCONF, &conf), Returns(0));
  EXPECT_EQ(conf.ifc_len, 0);
}

TEST_F(NetdevIoctl, OrdinaryUsersChangeNothing) {
  for (const unsigned long request : {SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFBRDADDR,
                                      SIOCSIFMTU, SIOCSIFTXQLEN, SIOCSIFHWADDR, SIOCSIFNAME}) {
    EXPECT_EQ(ChangeAsNobody(request), EPERM) << request;
  }
}

TEST_F(NetdevIoctl, OrdinaryUsersAddNoRoutes) {
  EXPECT_EQ(ChangeAsNobody(SIOCADDRT), EPERM);
  EXPECT_EQ(ChangeAsNobody(SIOCDELRT), EPERM);
}

TEST_F(NetdevIoctl, IfNameToIndex) {
  EXPECT_EQ(if_nametoindex("lo"), 1u);
  EXPECT_EQ(if_nametoindex("nope0"), 0u);
  char name[IF_NAMESIZE];
  EXPECT_STREQ(if_indextoname(1, name), "lo");
  EXPECT_EQ(if_indextoname(12345, name), nullptr);
  EXPECT_EQ(errno, ENXIO);
}

}  // namespace
