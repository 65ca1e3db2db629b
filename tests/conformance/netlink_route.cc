// rtnetlink(7): addresses, routes, rules and neighbours of the loopback interface.
#include <ifaddrs.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>

#include "tests/conformance/netlink_support.h"

namespace {

// Of the loopback interface and one family.
std::vector<NlMessage> LoAddresses(int family) {
  std::vector<NlMessage> found;
  Netlink nl;
  for (const NlMessage& message : nl.Ask(RTM_GETADDR, NLM_F_DUMP, Bytes(AddressBody(family)))) {
    if (message.header.nlmsg_type == RTM_NEWADDR && message.Body<ifaddrmsg>().ifa_index == 1) {
      found.push_back(message);
    }
  }
  return found;
}

std::vector<NlMessage> Routes(int family, uint32_t table, bool strict = false) {
  Netlink nl;
  rtmsg body = RouteBody(family);
  if (strict) {
    nl.Set(NETLINK_GET_STRICT_CHK);
    body.rtm_table = static_cast<unsigned char>(table);
  }
  std::vector<NlMessage> found;
  for (const NlMessage& message : nl.Ask(RTM_GETROUTE, NLM_F_DUMP, Bytes(body))) {
    if (message.header.nlmsg_type == RTM_NEWROUTE && message.Body<rtmsg>().rtm_table == table) {
      found.push_back(message);
    }
  }
  return found;
}

const NlMessage* FindRoute(const std::vector<NlMessage>& routes, const std::string& destination,
                           int bits) {
  for (const NlMessage& route : routes) {
    const Attributes attributes = route.Tail<rtmsg>();
    if (route.Body<rtmsg>().rtm_dst_len == bits && attributes.contains(RTA_DST) &&
        attributes.at(RTA_DST) == destination) {
      return &route;
    }
  }
  return nullptr;
}

// What a packet to `destination` would take; an error message if none.
NlMessage Lookup(int family, const std::string& destination, const std::string& more = "",
                 unsigned flags = 0) {
  Netlink nl;
  rtmsg body = RouteBody(family, static_cast<int>(destination.size() * 8));
  body.rtm_flags = flags;
  const auto answer = nl.Ask(RTM_GETROUTE, 0, Bytes(body) + Attribute(RTA_DST, destination) + more);
  EXPECT_EQ(answer.size(), 1u);
  return answer.empty() ? NlMessage() : answer[0];
}

TEST(NetlinkAddress, OfLo) {
  const auto found = LoAddresses(AF_INET);
  ASSERT_EQ(found.size(), 1u);
  const auto body = found[0].Body<ifaddrmsg>();
  EXPECT_EQ(body.ifa_family, AF_INET);
  EXPECT_EQ(body.ifa_prefixlen, 8);
  EXPECT_EQ(body.ifa_scope, RT_SCOPE_HOST);
  EXPECT_EQ(body.ifa_flags, IFA_F_PERMANENT);
  const Attributes attributes = found[0].Tail<ifaddrmsg>();
  EXPECT_EQ(attributes.at(IFA_ADDRESS), Address4("127.0.0.1"));
  EXPECT_EQ(attributes.at(IFA_LOCAL), Address4("127.0.0.1"));
  EXPECT_EQ(attributes.at(IFA_LABEL), std::string("lo", 3));
  EXPECT_EQ(As<uint32_t>(attributes.at(IFA_FLAGS)), static_cast<uint32_t>(IFA_F_PERMANENT));
  EXPECT_FALSE(attributes.contains(IFA_BROADCAST));
}

TEST(NetlinkAddress, LivesForever) {
  const auto found = LoAddresses(AF_INET);
  ASSERT_EQ(found.size(), 1u);
  const auto lifetimes = As<ifa_cacheinfo>(found[0].Tail<ifaddrmsg>().at(IFA_CACHEINFO));
  EXPECT_EQ(lifetimes.ifa_prefered, 0xffffffffu);
  EXPECT_EQ(lifetimes.ifa_valid, 0xffffffffu);
}

TEST(NetlinkAddress, OfLoInVersion6) {
  const auto found = LoAddresses(AF_INET6);
  ASSERT_EQ(found.size(), 1u);
  const auto body = found[0].Body<ifaddrmsg>();
  EXPECT_EQ(body.ifa_family, AF_INET6);
  EXPECT_EQ(body.ifa_prefixlen, 128);
  EXPECT_EQ(body.ifa_scope, RT_SCOPE_HOST);
  const Attributes attributes = found[0].Tail<ifaddrmsg>();
  EXPECT_EQ(attributes.at(IFA_ADDRESS), Address6("::1"));
  EXPECT_FALSE(attributes.contains(IFA_LABEL));
  EXPECT_EQ(As<uint32_t>(attributes.at(IFA_FLAGS)) & IFA_F_PERMANENT,
            static_cast<uint32_t>(IFA_F_PERMANENT));
}

TEST(NetlinkAddress, AllFamilies) {
  bool seen[2] = {};
  for (const NlMessage& message : LoAddresses(AF_UNSPEC)) {
    seen[message.Body<ifaddrmsg>().ifa_family == AF_INET6] = true;
  }
  EXPECT_TRUE(seen[0]);
  EXPECT_TRUE(seen[1]);
}

TEST(NetlinkAddress, OfAnInterfaceOnly) {
  Netlink nl;
  nl.Set(NETLINK_GET_STRICT_CHK);
  bool found = false;
  for (const NlMessage& message : nl.Ask(RTM_GETADDR, NLM_F_DUMP, Bytes(AddressBody(AF_INET, 1)))) {
    if (message.header.nlmsg_type == NLMSG_DONE) continue;
    EXPECT_EQ(message.Body<ifaddrmsg>().ifa_index, 1u);
    EXPECT_EQ(message.header.nlmsg_flags & NLM_F_DUMP_FILTERED, NLM_F_DUMP_FILTERED);
    found |= message.Tail<ifaddrmsg>().at(IFA_LOCAL) == Address4("127.0.0.1");
  }
  EXPECT_TRUE(found);
}

TEST(NetlinkAddress, OfNoInterface) {
  Netlink nl;
  nl.Set(NETLINK_GET_STRICT_CHK);
  const auto all = nl.Ask(RTM_GETADDR, NLM_F_DUMP, Bytes(AddressBody(AF_INET, 12345)));
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].header.nlmsg_type, NLMSG_DONE);
  EXPECT_EQ(all[0].Error(), -ENODEV);
}

TEST(NetlinkAddress, Getifaddrs) {
  ifaddrs* list = nullptr;
  ASSERT_THAT(getifaddrs(&list), Returns(0));
  bool packet = false, inet = false, inet6 = false;
  for (const ifaddrs* one = list; one != nullptr; one = one->ifa_next) {
    if (std::string_view(one->ifa_name) != "lo" || one->ifa_addr == nullptr) continue;
    EXPECT_EQ(one->ifa_flags & (IFF_UP | IFF_LOOPBACK),
              static_cast<unsigned>(IFF_UP | IFF_LOOPBACK));
    const int family = one->ifa_addr->sa_family;
    packet |= family == AF_PACKET;
    inet |= family == AF_INET &&
            reinterpret_cast<const sockaddr_in*>(one->ifa_netmask)->sin_addr.s_addr ==
                htonl(0xff000000);
    inet6 |= family == AF_INET6;
  }
  freeifaddrs(list);
  EXPECT_TRUE(packet);
  EXPECT_TRUE(inet);
  EXPECT_TRUE(inet6);
}

TEST(NetlinkAddress, IfNameIndex) {
  struct if_nameindex* list = if_nameindex();
  ASSERT_NE(list, nullptr);
  EXPECT_EQ(list[0].if_index, 1u);
  EXPECT_STREQ(list[0].if_name, "lo");
  if_freenameindex(list);
}

TEST(NetlinkRoute, LocalTable) {
  const auto routes = Routes(AF_INET, RT_TABLE_LOCAL);
  const NlMessage* net = FindRoute(routes, Address4("127.0.0.0"), 8);
  ASSERT_NE(net, nullptr);
  const auto body = net->Body<rtmsg>();
  EXPECT_EQ(body.rtm_type, RTN_LOCAL);
  EXPECT_EQ(body.rtm_protocol, RTPROT_KERNEL);
  EXPECT_EQ(body.rtm_scope, RT_SCOPE_HOST);
  EXPECT_EQ(body.rtm_src_len, 0);
  const Attributes attributes = net->Tail<rtmsg>();
  EXPECT_EQ(As<uint32_t>(attributes.at(RTA_OIF)), 1u);
  EXPECT_EQ(As<uint32_t>(attributes.at(RTA_TABLE)), static_cast<uint32_t>(RT_TABLE_LOCAL));
  EXPECT_EQ(attributes.at(RTA_PREFSRC), Address4("127.0.0.1"));
}

TEST(NetlinkRoute, LocalAddress) {
  const auto routes = Routes(AF_INET, RT_TABLE_LOCAL);
  const NlMessage* host = FindRoute(routes, Address4("127.0.0.1"), 32);
  ASSERT_NE(host, nullptr);
  EXPECT_EQ(host->Body<rtmsg>().rtm_type, RTN_LOCAL);
  const NlMessage* broadcast = FindRoute(routes, Address4("127.255.255.255"), 32);
  ASSERT_NE(broadcast, nullptr);
  EXPECT_EQ(broadcast->Body<rtmsg>().rtm_type, RTN_BROADCAST);
  EXPECT_EQ(broadcast->Body<rtmsg>().rtm_scope, RT_SCOPE_LINK);
}

TEST(NetlinkRoute, LocalTableInVersion6) {
  const auto routes = Routes(AF_INET6, RT_TABLE_LOCAL);
  const NlMessage* host = FindRoute(routes, Address6("::1"), 128);
  ASSERT_NE(host, nullptr);
  EXPECT_EQ(host->Body<rtmsg>().rtm_type, RTN_LOCAL);
  const Attributes attributes = host->Tail<rtmsg>();
  EXPECT_EQ(As<uint32_t>(attributes.at(RTA_OIF)), 1u);
  EXPECT_EQ(As<uint32_t>(attributes.at(RTA_PRIORITY)), 0u);
}

TEST(NetlinkRoute, StrictDumpOfATable) {
  const auto routes = Routes(AF_INET, RT_TABLE_LOCAL, true);
  EXPECT_NE(FindRoute(routes, Address4("127.0.0.1"), 32), nullptr);
}

TEST(NetlinkRoute, StrictDumpOfNoTable) {
  Netlink nl;
  nl.Set(NETLINK_GET_STRICT_CHK);
  rtmsg body = RouteBody(AF_INET);
  body.rtm_table = 77;
  const auto all = nl.Ask(RTM_GETROUTE, NLM_F_DUMP, Bytes(body));
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].Error(), -ENOENT);
}

TEST(NetlinkRoute, StrictDumpChecks) {
  Netlink nl;
  nl.Set(NETLINK_GET_STRICT_CHK);
  const auto all = nl.Ask(RTM_GETROUTE, NLM_F_DUMP, Bytes(RouteBody(AF_INET, 8)));
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].Error(), -EINVAL);
}

TEST(NetlinkRoute, ToOneself) {
  const NlMessage route = Lookup(AF_INET, Address4("127.0.0.1"));
  ASSERT_EQ(route.header.nlmsg_type, RTM_NEWROUTE);
  const auto body = route.Body<rtmsg>();
  EXPECT_EQ(body.rtm_type, RTN_LOCAL);
  EXPECT_EQ(body.rtm_dst_len, 32);
  EXPECT_EQ(body.rtm_flags & RTM_F_CLONED, static_cast<unsigned>(RTM_F_CLONED));
  const Attributes attributes = route.Tail<rtmsg>();
  EXPECT_EQ(attributes.at(RTA_DST), Address4("127.0.0.1"));
  EXPECT_EQ(attributes.at(RTA_PREFSRC), Address4("127.0.0.1"));
  EXPECT_EQ(As<uint32_t>(attributes.at(RTA_OIF)), 1u);
  EXPECT_TRUE(attributes.contains(RTA_CACHEINFO));
}

TEST(NetlinkRoute, ToTheLoopbackNetwork) {
  const NlMessage route = Lookup(AF_INET, Address4("127.1.2.3"));
  ASSERT_EQ(route.header.nlmsg_type, RTM_NEWROUTE);
  const Attributes attributes = route.Tail<rtmsg>();
  EXPECT_EQ(attributes.at(RTA_PREFSRC), Address4("127.0.0.1"));
}

TEST(NetlinkRoute, ToOneselfInVersion6) {
  const NlMessage route = Lookup(AF_INET6, Address6("::1"));
  ASSERT_EQ(route.header.nlmsg_type, RTM_NEWROUTE);
  EXPECT_EQ(route.Body<rtmsg>().rtm_type, RTN_LOCAL);
  EXPECT_EQ(As<uint32_t>(route.Tail<rtmsg>().at(RTA_OIF)), 1u);
}

TEST(NetlinkRoute, LookupOfTheEntry) {
  const NlMessage route = Lookup(AF_INET, Address4("127.1.2.3"), "", RTM_F_FIB_MATCH);
  ASSERT_EQ(route.header.nlmsg_type, RTM_NEWROUTE);
  EXPECT_EQ(route.Body<rtmsg>().rtm_dst_len, 8);
  EXPECT_EQ(route.Tail<rtmsg>().at(RTA_DST), Address4("127.0.0.0"));
}

TEST(NetlinkRoute, LookupThroughLo) {
  const NlMessage route =
      Lookup(AF_INET, Address4("127.0.0.1"), Attribute(RTA_OIF, Bytes(uint32_t{1})));
  ASSERT_EQ(route.header.nlmsg_type, RTM_NEWROUTE);
  EXPECT_EQ(As<uint32_t>(route.Tail<rtmsg>().at(RTA_OIF)), 1u);
}

TEST(NetlinkRoute, LookupChecks) {
  Netlink nl;
  const std::string to = Attribute(RTA_DST, Address4("127.0.0.1"));
  EXPECT_EQ(nl.Try(RTM_GETROUTE, 0,
                   Bytes(RouteBody(AF_INET, 32)) + to + Attribute(RTA_IIF, Bytes(uint32_t{12345}))),
            ENODEV);
  EXPECT_EQ(nl.Try(RTM_GETROUTE, 0, Bytes(RouteBody(AF_INET, 32)) + Attribute(RTA_DST, "ab")),
            ERANGE);
  EXPECT_EQ(nl.Try(RTM_GETROUTE, 0, std::string(4, '\2')), EINVAL);
}

std::map<uint32_t, uint32_t> Rules(int family) {
  std::map<uint32_t, uint32_t> rules;  // Priority and table.
  Netlink nl;
  fib_rule_hdr body{};
  body.family = static_cast<uint8_t>(family);
  for (const NlMessage& message : nl.Ask(RTM_GETRULE, NLM_F_DUMP, Bytes(body))) {
    if (message.header.nlmsg_type != RTM_NEWRULE) continue;
    const auto rule = message.Body<fib_rule_hdr>();
    const Attributes attributes = message.Tail<fib_rule_hdr>();
    EXPECT_EQ(rule.action, FR_ACT_TO_TBL);
    rules[attributes.contains(FRA_PRIORITY) ? As<uint32_t>(attributes.at(FRA_PRIORITY)) : 0] =
        As<uint32_t>(attributes.at(FRA_TABLE));
  }
  return rules;
}

TEST(NetlinkRule, TheThreeTables) {
  const auto rules = Rules(AF_INET);
  EXPECT_EQ(rules.at(0), static_cast<uint32_t>(RT_TABLE_LOCAL));
  EXPECT_EQ(rules.at(32766), static_cast<uint32_t>(RT_TABLE_MAIN));
  EXPECT_EQ(rules.at(32767), static_cast<uint32_t>(RT_TABLE_DEFAULT));
}

TEST(NetlinkRule, InVersion6) {
  const auto rules = Rules(AF_INET6);
  EXPECT_EQ(rules.at(0), static_cast<uint32_t>(RT_TABLE_LOCAL));
  EXPECT_EQ(rules.at(32766), static_cast<uint32_t>(RT_TABLE_MAIN));
}

TEST(NetlinkNeighbour, Dump) {
  Netlink nl;
  ndmsg body{};
  const auto all = nl.Ask(RTM_GETNEIGH, NLM_F_DUMP, Bytes(body));
  ASSERT_GE(all.size(), 1u);
  EXPECT_EQ(all.back().header.nlmsg_type, NLMSG_DONE);
  EXPECT_EQ(all.back().Error(), 0);
}

TEST(NetlinkNeighbour, OfNobody) {
  Netlink nl;
  ndmsg body{};
  body.ndm_family = AF_INET;
  body.ndm_ifindex = 1;
  EXPECT_EQ(nl.Try(RTM_GETNEIGH, 0, Bytes(body) + Attribute(NDA_DST, Address4("127.9.9.9"))),
            ENOENT);
}

}  // namespace
