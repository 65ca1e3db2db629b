// rtnetlink(7): links, and how requests are answered and refused.
#include <net/if_arp.h>
#include <sys/ioctl.h>

#include "tests/conformance/netlink_support.h"

namespace {

int LoIndex() { return static_cast<int>(if_nametoindex("lo")); }

const NlMessage* FindLo(const std::vector<NlMessage>& messages) {
  for (const NlMessage& message : messages) {
    if (message.header.nlmsg_type == RTM_NEWLINK &&
        message.Body<ifinfomsg>().ifi_index == LoIndex()) {
      return &message;
    }
  }
  return nullptr;
}

NlMessage Lo() {
  Netlink nl;
  const auto answer = nl.Ask(RTM_GETLINK, 0, Bytes(LinkBody(LoIndex())));
  EXPECT_EQ(answer.size(), 1u);
  return answer.empty() ? NlMessage() : answer[0];
}

// A request as an ordinary user: its errno.
int TryAsNobody(uint16_t type, uint16_t flags, const std::string& payload) {
  const int status = InChild([&] {
    CHILD_CHECK(setresuid(65534, 65534, 65534) == 0);
    return Netlink().Try(type, flags, payload);
  });
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(NetlinkLink, ByIndex) {
  const NlMessage lo = Lo();
  EXPECT_EQ(lo.header.nlmsg_type, RTM_NEWLINK);
  EXPECT_EQ(lo.header.nlmsg_flags, 0);
  EXPECT_EQ(lo.header.nlmsg_seq, 1u);
  const auto body = lo.Body<ifinfomsg>();
  EXPECT_EQ(body.ifi_family, AF_UNSPEC);
  EXPECT_EQ(body.ifi_type, ARPHRD_LOOPBACK);
  EXPECT_EQ(body.ifi_index, 1);
  EXPECT_EQ(body.ifi_flags, static_cast<unsigned>(IFF_UP | IFF_LOOPBACK | IFF_RUNNING |
                                                  0x10000 /* IFF_LOWER_UP */));
}

TEST(NetlinkLink, TheAnswerNamesTheAsker) {
  Netlink nl;
  const auto answer = nl.Ask(RTM_GETLINK, 0, Bytes(LinkBody(LoIndex())), 77);
  ASSERT_EQ(answer.size(), 1u);
  EXPECT_EQ(answer[0].header.nlmsg_pid, nl.Name().nl_pid);
  EXPECT_EQ(answer[0].header.nlmsg_seq, 77u);
}

TEST(NetlinkLink, ByName) {
  Netlink nl;
  const auto answer =
      nl.Ask(RTM_GETLINK, 0, Bytes(LinkBody()) + Attribute(IFLA_IFNAME, std::string("lo", 3)));
  ASSERT_EQ(answer.size(), 1u);
  EXPECT_EQ(answer[0].Body<ifinfomsg>().ifi_index, LoIndex());
}

TEST(NetlinkLink, Unknown) {
  Netlink nl;
  EXPECT_EQ(nl.Try(RTM_GETLINK, 0, Bytes(LinkBody(12345))), ENODEV);
  EXPECT_EQ(
      nl.Try(RTM_GETLINK, 0, Bytes(LinkBody()) + Attribute(IFLA_IFNAME, std::string("nope0", 6))),
      ENODEV);
  EXPECT_EQ(nl.Try(RTM_GETLINK, 0, Bytes(LinkBody())), EINVAL);
  EXPECT_EQ(nl.Try(RTM_GETLINK, 0, Bytes(LinkBody(-1))), EINVAL);
}

TEST(NetlinkLink, NameAndSizes) {
  const Attributes lo = Lo().Tail<ifinfomsg>();
  EXPECT_EQ(lo.at(IFLA_IFNAME), std::string("lo", 3));
  EXPECT_EQ(As<uint32_t>(lo.at(IFLA_MTU)), 65536u);
  EXPECT_EQ(As<uint32_t>(lo.at(IFLA_TXQLEN)), 1000u);
  EXPECT_EQ(lo.at(IFLA_QDISC), std::string("noqueue", 8));
}

TEST(NetlinkLink, HardwareAddress) {
  const Attributes lo = Lo().Tail<ifinfomsg>();
  EXPECT_EQ(lo.at(IFLA_ADDRESS), std::string(6, '\0'));
  EXPECT_EQ(lo.at(IFLA_BROADCAST), std::string(6, '\0'));
}

TEST(NetlinkLink, States) {
  const Attributes lo = Lo().Tail<ifinfomsg>();
  EXPECT_EQ(As<uint8_t>(lo.at(IFLA_OPERSTATE)), 0);  // Unknown.
  EXPECT_EQ(As<uint8_t>(lo.at(IFLA_LINKMODE)), 0);
  EXPECT_EQ(As<uint8_t>(lo.at(IFLA_CARRIER)), 1);
  EXPECT_EQ(As<uint32_t>(lo.at(IFLA_GROUP)), 0u);
  EXPECT_EQ(As<uint32_t>(lo.at(IFLA_PROMISCUITY)), 0u);
}

TEST(NetlinkLink, Counters) {
  const Attributes lo = Lo().Tail<ifinfomsg>();
  ASSERT_GE(lo.at(IFLA_STATS64).size(), 23 * sizeof(uint64_t));
  ASSERT_GE(lo.at(IFLA_STATS).size(), 23 * sizeof(uint32_t));
  const auto stats = As<rtnl_link_stats64>(lo.at(IFLA_STATS64));
  EXPECT_EQ(stats.rx_packets, stats.tx_packets);
  EXPECT_EQ(stats.rx_bytes, stats.tx_bytes);
  EXPECT_EQ(stats.rx_errors, 0u);
}

TEST(NetlinkLink, Queues) {
  const Attributes lo = Lo().Tail<ifinfomsg>();
  EXPECT_EQ(As<uint32_t>(lo.at(IFLA_NUM_TX_QUEUES)), 1u);
  EXPECT_EQ(As<uint32_t>(lo.at(IFLA_NUM_RX_QUEUES)), 1u);
}

TEST(NetlinkLink, Dump) {
  Netlink nl;
  const auto all = nl.Ask(RTM_GETLINK, NLM_F_DUMP, Bytes(LinkBody()), 9);
  ASSERT_GE(all.size(), 2u);
  for (const NlMessage& message : all) {
    EXPECT_EQ(message.header.nlmsg_flags & NLM_F_MULTI, NLM_F_MULTI);
    EXPECT_EQ(message.header.nlmsg_seq, 9u);
    EXPECT_EQ(message.header.nlmsg_pid, nl.Name().nl_pid);
  }
  EXPECT_EQ(all.back().header.nlmsg_type, NLMSG_DONE);
  EXPECT_EQ(all.back().header.nlmsg_len, NLMSG_LENGTH(sizeof(int)));
  EXPECT_EQ(all.back().Error(), 0);
  ASSERT_NE(FindLo(all), nullptr);
  EXPECT_EQ(FindLo(all)->Tail<ifinfomsg>().at(IFLA_IFNAME), std::string("lo", 3));
}

TEST(NetlinkLink, DumpOfOneFamilyByteOnly) {
  // What getifaddrs(3) of glibc sends: a struct rtgenmsg.
  Netlink nl;
  const auto all = nl.Ask(RTM_GETLINK, NLM_F_DUMP, std::string(1, '\0'));
  ASSERT_GE(all.size(), 2u);
  EXPECT_NE(FindLo(all), nullptr);
}

TEST(NetlinkLink, AnyDumpBitDumps) {
  for (const int flag : {NLM_F_ROOT, NLM_F_MATCH}) {
    Netlink nl;
    const auto all = nl.Ask(RTM_GETLINK, static_cast<uint16_t>(flag), Bytes(LinkBody()));
    ASSERT_GE(all.size(), 2u) << flag;
    EXPECT_EQ(all.back().header.nlmsg_type, NLMSG_DONE);
  }
}

TEST(NetlinkLink, DumpsFollowEachOther) {
  Netlink nl;
  for (uint32_t seq = 1; seq < 20; ++seq) {
    const auto all = nl.Ask(RTM_GETLINK, NLM_F_DUMP, Bytes(LinkBody()), seq);
    ASSERT_GE(all.size(), 2u);
    ASSERT_EQ(all.back().header.nlmsg_seq, seq);
  }
}

TEST(NetlinkLink, StrictDumpTakesNoIndexOfNothing) {
  Netlink nl;
  nl.Set(NETLINK_GET_STRICT_CHK);
  nl.Set(NETLINK_EXT_ACK);
  ifinfomsg body = LinkBody();
  body.ifi_change = 5;
  const auto all = nl.Ask(RTM_GETLINK, NLM_F_DUMP, Bytes(body));
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].header.nlmsg_type, NLMSG_DONE);
  EXPECT_EQ(all[0].Error(), -EINVAL);
}

TEST(NetlinkLink, StrictDump) {
  Netlink nl;
  nl.Set(NETLINK_GET_STRICT_CHK);
  const auto all = nl.Ask(RTM_GETLINK, NLM_F_DUMP, Bytes(LinkBody()));
  ASSERT_GE(all.size(), 2u);
  EXPECT_NE(FindLo(all), nullptr);
}

TEST(NetlinkErrors, CarryTheRequest) {
  Netlink nl;
  const std::string payload = Bytes(LinkBody(12345));
  const auto answer = nl.Ask(RTM_GETLINK, 0, payload, 31);
  ASSERT_EQ(answer.size(), 1u);
  EXPECT_EQ(answer[0].header.nlmsg_type, NLMSG_ERROR);
  EXPECT_EQ(answer[0].header.nlmsg_flags, 0);
  EXPECT_EQ(answer[0].header.nlmsg_seq, 31u);
  EXPECT_EQ(answer[0].Error(), -ENODEV);
  const auto error = answer[0].Body<nlmsgerr>();
  EXPECT_EQ(error.msg.nlmsg_type, RTM_GETLINK);
  EXPECT_EQ(error.msg.nlmsg_len, NLMSG_LENGTH(payload.size()));
  EXPECT_EQ(answer[0].payload.substr(sizeof(nlmsgerr)), payload);
}

TEST(NetlinkErrors, CappedOnRequest) {
  Netlink nl;
  nl.Set(NETLINK_CAP_ACK);
  const auto answer = nl.Ask(RTM_GETLINK, 0, Bytes(LinkBody(12345)));
  ASSERT_EQ(answer.size(), 1u);
  EXPECT_EQ(answer[0].header.nlmsg_flags, NLM_F_CAPPED);
  EXPECT_EQ(answer[0].payload.size(), sizeof(nlmsgerr));
}

TEST(NetlinkErrors, AcknowledgementIsAnErrorOfZero) {
  Netlink nl;
  const auto answer = nl.Ask(RTM_GETLINK, NLM_F_ACK, Bytes(LinkBody(LoIndex())));
  ASSERT_EQ(answer.size(), 1u);
  const auto ack = ParseMessages(nl.ReceiveBytes());
  ASSERT_EQ(ack.size(), 1u);
  EXPECT_EQ(ack[0].header.nlmsg_type, NLMSG_ERROR);
  EXPECT_EQ(ack[0].header.nlmsg_flags, NLM_F_CAPPED);
  EXPECT_EQ(ack[0].Error(), 0);
  EXPECT_EQ(ack[0].payload.size(), sizeof(nlmsgerr));
}

TEST(NetlinkErrors, ExtendedOnesHaveWords) {
  Netlink nl;
  nl.Set(NETLINK_EXT_ACK);
  nl.Set(NETLINK_CAP_ACK);
  const auto answer = nl.Ask(RTM_GETROUTE, 0,
                             Bytes(RouteBody(AF_INET)) + Attribute(RTA_DST, Address4("127.0.0.1")) +
                                 Attribute(RTA_IIF, Bytes(uint32_t{12345})));
  ASSERT_EQ(answer.size(), 1u);
  EXPECT_EQ(answer[0].header.nlmsg_type, NLMSG_ERROR);
  EXPECT_NE(answer[0].Error(), 0);
}

TEST(NetlinkErrors, NotARequest) {
  Netlink nl;
  ASSERT_THAT(nl.Send(Netlink::Request(RTM_GETLINK, 0, Bytes(LinkBody(LoIndex())))), Succeeds());
  char byte;
  EXPECT_THAT(recv(nl.fd(), &byte, 1, MSG_DONTWAIT), FailsWith(EAGAIN));
  ASSERT_THAT(nl.Send(Netlink::Request(RTM_GETLINK, NLM_F_ACK, Bytes(LinkBody(LoIndex())))),
              Succeeds());
  const auto ack = ParseMessages(nl.ReceiveBytes());
  ASSERT_EQ(ack.size(), 1u);
  EXPECT_EQ(ack[0].Error(), 0);
}

TEST(NetlinkErrors, ControlMessagesAreAcknowledgedOnly) {
  Netlink nl;
  EXPECT_EQ(nl.Try(NLMSG_NOOP, 0, ""), 0);
  EXPECT_EQ(nl.Try(NLMSG_DONE, 0, "1234"), 0);
}

TEST(NetlinkErrors, UnknownTypes) {
  Netlink nl;
  EXPECT_EQ(nl.Try(1000, 0, std::string(16, '\0')), EOPNOTSUPP);
}

TEST(NetlinkErrors, WithoutAFamilyNothingHappens) {
  Netlink nl;
  EXPECT_EQ(nl.Try(RTM_GETLINK, 0, ""), 0);
}

TEST(NetlinkErrors, ShortBodies) {
  Netlink nl;
  EXPECT_EQ(nl.Try(RTM_GETLINK, 0, std::string(8, '\0')), EINVAL);
}

TEST(NetlinkErrors, TruncatedMessagesAreIgnored) {
  Netlink nl;
  EXPECT_THAT(nl.Send("abcd"), Returns(4));
  std::string lying = Netlink::Request(RTM_GETLINK, NLM_F_REQUEST, Bytes(LinkBody(LoIndex())));
  reinterpret_cast<nlmsghdr*>(lying.data())->nlmsg_len = 1000;
  EXPECT_THAT(nl.Send(lying), Returns(static_cast<ssize_t>(lying.size())));
  reinterpret_cast<nlmsghdr*>(lying.data())->nlmsg_len = 3;
  EXPECT_THAT(nl.Send(lying), Returns(static_cast<ssize_t>(lying.size())));
  char byte;
  EXPECT_THAT(recv(nl.fd(), &byte, 1, MSG_DONTWAIT), FailsWith(EAGAIN));
}

TEST(NetlinkErrors, OrdinaryUsersChangeNothing) {
  const std::string lo = Bytes(LinkBody(1));
  EXPECT_EQ(TryAsNobody(RTM_NEWLINK, 0, lo), EPERM);
  EXPECT_EQ(TryAsNobody(RTM_SETLINK, 0, lo), EPERM);
  EXPECT_EQ(TryAsNobody(RTM_DELLINK, 0, lo), EPERM);
  EXPECT_EQ(TryAsNobody(RTM_NEWADDR, NLM_F_CREATE, Bytes(AddressBody(AF_INET, 1))), EPERM);
  EXPECT_EQ(TryAsNobody(RTM_DELADDR, 0, Bytes(AddressBody(AF_INET6, 1))), EPERM);
  EXPECT_EQ(TryAsNobody(RTM_NEWROUTE, NLM_F_CREATE, Bytes(RouteBody(AF_INET))), EPERM);
  EXPECT_EQ(TryAsNobody(RTM_DELROUTE, 0, Bytes(RouteBody(AF_INET))), EPERM);
  EXPECT_EQ(TryAsNobody(RTM_NEWRULE, NLM_F_CREATE, Bytes(RouteBody(AF_INET))), EPERM);
}

TEST(NetlinkErrors, OrdinaryUsersLook) {
  EXPECT_EQ(TryAsNobody(RTM_GETLINK, 0, Bytes(LinkBody(12345))), ENODEV);
}

}  // namespace
