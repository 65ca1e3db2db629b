// rtnetlink(7): who has joined a group hears of changes, as `ip monitor` does.
#include <sched.h>

#include "tests/conformance/netlink_support.h"

namespace {

// A socket in groups of NETLINK_ROUTE (bits of RTMGRP_*).
class Monitor {
 public:
  explicit Monitor(uint32_t groups) {
    sockaddr_nl name{};
    name.nl_family = AF_NETLINK;
    name.nl_groups = groups;
    CHILD_CHECK(bind(netlink_.fd(), reinterpret_cast<sockaddr*>(&name), sizeof name) == 0);
  }
  // What has come, in order.
  std::vector<NlMessage> Heard() {
    std::vector<NlMessage> all;
    for (;;) {
      char bytes[8192];
      socklen_t size = sizeof from_;
      const ssize_t count = recvfrom(netlink_.fd(), bytes, sizeof bytes, MSG_DONTWAIT,
                                     reinterpret_cast<sockaddr*>(&from_), &size);
      if (count < 0) return all;
      for (NlMessage& one : ParseMessages({bytes, static_cast<size_t>(count)})) {
        all.push_back(std::move(one));
      }
    }
  }
  // The next of that type; waits for it, since addresses of version 6 are checked first.
  NlMessage Await(uint16_t type) {
    for (;;) {
      char bytes[8192];
      const ssize_t count = recv(netlink_.fd(), bytes, sizeof bytes, 0);
      CHILD_CHECK(count > 0);
      for (NlMessage& one : ParseMessages({bytes, static_cast<size_t>(count)})) {
        if (one.header.nlmsg_type == type) return std::move(one);
      }
    }
  }
  Netlink& netlink() { return netlink_; }
  const sockaddr_nl& from() const { return from_; }

 private:
  Netlink netlink_;
  sockaddr_nl from_{};
};

// In a network namespace of its own, where nobody else changes anything.
template <typename Body>
int InNewNetwork(Body body) {
  return InChild([&] {
    CHILD_CHECK(unshare(CLONE_NEWNET) == 0);
    body();
    return 0;
  });
}

int SetLink(uint32_t flags, uint32_t mask, const std::string& attributes = "") {
  ifinfomsg body = LinkBody(1);
  body.ifi_flags = flags;
  body.ifi_change = mask;
  return Netlink().Try(RTM_SETLINK, 0, Bytes(body) + attributes);
}

int ChangeAddress(uint16_t type, int family, const std::string& address) {
  ifaddrmsg body = AddressBody(family, 1);
  body.ifa_prefixlen = family == AF_INET ? 32 : 128;
  const uint16_t flags = type == RTM_NEWADDR ? NLM_F_CREATE | NLM_F_EXCL : 0;
  return Netlink().Try(type, flags, Bytes(body) + Attribute(IFA_LOCAL, address));
}

class NetlinkMonitor : public testing::Test {
 protected:
  void SetUp() override {
    if (getuid() != 0) GTEST_SKIP() << "needs a network namespace of its own";
  }
};

TEST_F(NetlinkMonitor, ALinkThatComesUpAndChanges) {
  EXPECT_EQ(InNewNetwork([] {
              Monitor monitor(RTMGRP_LINK);
              CHILD_CHECK(monitor.Heard().empty());
              CHILD_CHECK(SetLink(IFF_UP, IFF_UP) == 0);
              auto heard = monitor.Heard();
              CHILD_CHECK(heard.size() == 1);
              CHILD_CHECK(heard[0].header.nlmsg_type == RTM_NEWLINK);
              CHILD_CHECK(heard[0].Body<ifinfomsg>().ifi_index == 1);
              CHILD_CHECK((heard[0].Body<ifinfomsg>().ifi_flags & IFF_UP) != 0);
              CHILD_CHECK(heard[0].Tail<ifinfomsg>()[IFLA_IFNAME] == std::string("lo", 3));
              CHILD_CHECK(monitor.from().nl_pid == 0);
              CHILD_CHECK(monitor.from().nl_groups == RTMGRP_LINK);
              CHILD_CHECK(SetLink(0, 0, Attribute(IFLA_MTU, Bytes(uint32_t{9000}))) == 0);
              heard = monitor.Heard();
              CHILD_CHECK(!heard.empty());
              CHILD_CHECK(As<uint32_t>(heard.back().Tail<ifinfomsg>()[IFLA_MTU]) == 9000);
              CHILD_CHECK(SetLink(0, IFF_UP) == 0);
              heard = monitor.Heard();
              CHILD_CHECK(!heard.empty());
              CHILD_CHECK((heard.back().Body<ifinfomsg>().ifi_flags & IFF_UP) == 0);
            }),
            0);
}

TEST_F(NetlinkMonitor, AddressesThatComeAndGo) {
  EXPECT_EQ(InNewNetwork([] {
              CHILD_CHECK(SetLink(IFF_UP, IFF_UP) == 0);
              Monitor four(RTMGRP_IPV4_IFADDR), six(RTMGRP_IPV6_IFADDR);
              const std::string address4 = Address4("127.5.6.7"), address6 = Address6("fd00::7");
              CHILD_CHECK(ChangeAddress(RTM_NEWADDR, AF_INET, address4) == 0);
              auto heard = four.Heard();
              CHILD_CHECK(heard.size() == 1);
              CHILD_CHECK(heard[0].header.nlmsg_type == RTM_NEWADDR);
              CHILD_CHECK(heard[0].Tail<ifaddrmsg>()[IFA_LOCAL] == address4);
              CHILD_CHECK(four.from().nl_groups == RTMGRP_IPV4_IFADDR);
              CHILD_CHECK(ChangeAddress(RTM_NEWADDR, AF_INET6, address6) == 0);
              CHILD_CHECK(six.Await(RTM_NEWADDR).Tail<ifaddrmsg>()[IFA_ADDRESS] == address6);
              CHILD_CHECK(ChangeAddress(RTM_DELADDR, AF_INET, address4) == 0);
              CHILD_CHECK(ChangeAddress(RTM_DELADDR, AF_INET6, address6) == 0);
              heard = four.Heard();
              CHILD_CHECK(heard.size() == 1);
              CHILD_CHECK(heard[0].header.nlmsg_type == RTM_DELADDR);
              CHILD_CHECK(heard[0].Tail<ifaddrmsg>()[IFA_LOCAL] == address4);
              CHILD_CHECK(six.Await(RTM_DELADDR).Tail<ifaddrmsg>()[IFA_ADDRESS] == address6);
            }),
            0);
}

TEST_F(NetlinkMonitor, RoutesThatComeWithAnAddress) {
  EXPECT_EQ(InNewNetwork([] {
              CHILD_CHECK(SetLink(IFF_UP, IFF_UP) == 0);
              Monitor monitor(RTMGRP_IPV4_ROUTE);
              const std::string address = Address4("127.5.6.7");
              CHILD_CHECK(ChangeAddress(RTM_NEWADDR, AF_INET, address) == 0);
              auto heard = monitor.Heard();
              CHILD_CHECK(heard.size() == 1);
              CHILD_CHECK(heard[0].header.nlmsg_type == RTM_NEWROUTE);
              CHILD_CHECK(heard[0].Body<rtmsg>().rtm_type == RTN_LOCAL);
              CHILD_CHECK(heard[0].Tail<rtmsg>()[RTA_DST] == address);
              CHILD_CHECK(ChangeAddress(RTM_DELADDR, AF_INET, address) == 0);
              heard = monitor.Heard();
              CHILD_CHECK(heard.size() == 1);
              CHILD_CHECK(heard[0].header.nlmsg_type == RTM_DELROUTE);
            }),
            0);
}

TEST_F(NetlinkMonitor, ThatWhichFailsIsNotTold) {
  EXPECT_EQ(
      InNewNetwork([] {
        CHILD_CHECK(SetLink(IFF_UP, IFF_UP) == 0);
        Monitor monitor(RTMGRP_IPV4_IFADDR | RTMGRP_LINK);
        CHILD_CHECK(ChangeAddress(RTM_DELADDR, AF_INET, Address4("127.5.6.7")) == EADDRNOTAVAIL);
        CHILD_CHECK(ChangeAddress(RTM_NEWADDR, AF_INET, Address4("127.5.6.7")) == 0);
        CHILD_CHECK(monitor.Heard().size() == 1);
        CHILD_CHECK(ChangeAddress(RTM_NEWADDR, AF_INET, Address4("127.5.6.7")) == EEXIST);
        CHILD_CHECK(monitor.Heard().empty());
      }),
      0);
}

TEST_F(NetlinkMonitor, MembershipsByNumber) {
  EXPECT_EQ(InNewNetwork([] {
              Monitor monitor(0);
              monitor.netlink().Set(NETLINK_ADD_MEMBERSHIP, RTNLGRP_LINK);
              monitor.netlink().Set(NETLINK_PKTINFO);
              CHILD_CHECK(SetLink(IFF_UP, IFF_UP) == 0);
              char bytes[8192];
              alignas(cmsghdr) char control[64];
              iovec vec{bytes, sizeof bytes};
              msghdr message{};
              message.msg_iov = &vec;
              message.msg_iovlen = 1;
              message.msg_control = control;
              message.msg_controllen = sizeof control;
              CHILD_CHECK(recvmsg(monitor.netlink().fd(), &message, MSG_DONTWAIT) > 0);
              const cmsghdr* const found = CMSG_FIRSTHDR(&message);
              CHILD_CHECK(found != nullptr && found->cmsg_type == NETLINK_PKTINFO);
              nl_pktinfo info{};
              memcpy(&info, CMSG_DATA(found), sizeof info);
              CHILD_CHECK(info.group == RTNLGRP_LINK);
              monitor.netlink().Set(NETLINK_DROP_MEMBERSHIP, RTNLGRP_LINK);
              CHILD_CHECK(SetLink(0, IFF_UP) == 0);
              CHILD_CHECK(monitor.Heard().empty());
            }),
            0);
}

TEST_F(NetlinkMonitor, OtherNamespacesHearNothing) {
  Monitor monitor(RTMGRP_IPV4_IFADDR);
  EXPECT_EQ(InNewNetwork([] {
              CHILD_CHECK(SetLink(IFF_UP, IFF_UP) == 0);
              CHILD_CHECK(ChangeAddress(RTM_NEWADDR, AF_INET, Address4("127.9.9.9")) == 0);
            }),
            0);
  for (const NlMessage& one : monitor.Heard()) {
    EXPECT_NE(one.Tail<ifaddrmsg>()[IFA_LOCAL], Address4("127.9.9.9"));
  }
}

}  // namespace
