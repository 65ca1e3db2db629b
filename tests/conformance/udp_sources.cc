// Whom a member of a multicast group hears: sources of IPv6, whole lists (RFC 3678).
#include <array>

#include "tests/conformance/inet_support.h"

namespace {

constexpr int kLoopback = 1;  // The index of "lo", in every network namespace.

struct Filter {
  group_filter header = {};
  // The list of the header is its first.
  std::array<sockaddr_storage, 80> more = {};

  sockaddr_storage& source(size_t i) { return i == 0 ? header.gf_slist[0] : more[i - 1]; }
  static socklen_t SizeFor(size_t count) {
    return static_cast<socklen_t>(GROUP_FILTER_SIZE(count));
  }
};

Filter FilterOf(const char* group, uint32_t mode, const std::vector<const char*>& sources) {
  Filter filter;
  filter.header.gf_interface = kLoopback;
  filter.header.gf_group = At(group).storage;
  filter.header.gf_fmode = mode;
  filter.header.gf_numsrc = static_cast<uint32_t>(sources.size());
  for (size_t i = 0; i < sources.size(); ++i) filter.source(i) = At(sources[i]).storage;
  return filter;
}

int LevelOf(int family) { return family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6; }

struct Groups {
  const char *group, *a, *b, *none;
};
const Groups& Of(int family) {
  static const Groups v4 = {"239.1.2.20", "127.0.0.1", "127.0.0.2", "127.0.0.1"};
  static const Groups v6 = {"ff11::1:20", "::1", "::2", "::1"};
  return family == AF_INET ? v4 : v6;
}

class Sources : public testing::TestWithParam<int> {
 protected:
  int family() const { return GetParam(); }
  int level() const { return LevelOf(family()); }
  int Join() {
    group_req request = {};
    request.gr_interface = kLoopback;
    request.gr_group = At(Of(family()).group).storage;
    return setsockopt(fd_.get(), level(), MCAST_JOIN_GROUP, &request, sizeof request);
  }
  int Change(int name, const char* source, const char* group = nullptr) {
    group_source_req request = {};
    request.gsr_interface = kLoopback;
    request.gsr_group = At(group == nullptr ? Of(family()).group : group).storage;
    request.gsr_source = At(source).storage;
    return setsockopt(fd_.get(), level(), name, &request, sizeof request);
  }
  int Set(const Filter& filter, socklen_t size) {
    return setsockopt(fd_.get(), level(), MCAST_MSFILTER, &filter, size);
  }
  int Set(const Filter& filter) { return Set(filter, Filter::SizeFor(filter.header.gf_numsrc)); }
  // "mode count: sources", with room for `room` of them.
  std::string Get(uint32_t room = 80) {
    Filter filter = FilterOf(Of(family()).group, 77, {});
    filter.header.gf_numsrc = room;
    socklen_t size = Filter::SizeFor(room);
    if (getsockopt(fd_.get(), level(), MCAST_MSFILTER, &filter, &size) != 0) {
      return ErrnoName(errno);
    }
    std::string text = (filter.header.gf_fmode == MCAST_INCLUDE ? "in " : "ex ") +
                       std::to_string(filter.header.gf_numsrc) + ":";
    const size_t told = std::min(room, filter.header.gf_numsrc);
    EXPECT_EQ(size, Filter::SizeFor(told));
    for (size_t i = 0; i < told; ++i) {
      InetAddress one;
      one.storage = filter.source(i);
      text += " " + one.host();
    }
    return text;
  }
  UniqueFd fd_ = NewSocket(GetParam(), SOCK_DGRAM);
};
INSTANTIATE_TEST_SUITE_P(Families, Sources, testing::Values(AF_INET, AF_INET6),
                         [](const auto& info) { return info.param == AF_INET ? "v4" : "v6"; });

TEST_P(Sources, OneByOne) {
  const auto& [group, a, b, none] = Of(family());
  EXPECT_THAT(Change(MCAST_BLOCK_SOURCE, a), FailsWith(EINVAL));  // No member.
  EXPECT_EQ(Get(), "EADDRNOTAVAIL");
  EXPECT_THAT(Join(), Returns(0));
  EXPECT_EQ(Get(), "ex 0:");
  EXPECT_THAT(Change(MCAST_UNBLOCK_SOURCE, a), FailsWith(EADDRNOTAVAIL));
  EXPECT_THAT(Change(MCAST_BLOCK_SOURCE, a), Returns(0));
  EXPECT_THAT(Change(MCAST_BLOCK_SOURCE, a), FailsWith(EADDRNOTAVAIL));
  EXPECT_THAT(Change(MCAST_BLOCK_SOURCE, b), Returns(0));
  EXPECT_EQ(Get(), std::string("ex 2: ") + a + " " + b);
  EXPECT_THAT(Change(MCAST_JOIN_SOURCE_GROUP, a), FailsWith(EINVAL));  // Of the other mode.
  EXPECT_THAT(Change(MCAST_UNBLOCK_SOURCE, a), Returns(0));
  EXPECT_EQ(Get(), std::string("ex 1: ") + b);
}

TEST_P(Sources, TheLastOneWantedEndsTheMembership) {
  const auto& [group, a, b, none] = Of(family());
  EXPECT_THAT(Change(MCAST_JOIN_SOURCE_GROUP, a), Returns(0));
  EXPECT_THAT(Change(MCAST_JOIN_SOURCE_GROUP, b), Returns(0));
  EXPECT_EQ(Get(), std::string("in 2: ") + a + " " + b);
  EXPECT_THAT(Change(MCAST_LEAVE_SOURCE_GROUP, a), Returns(0));
  EXPECT_THAT(Change(MCAST_LEAVE_SOURCE_GROUP, a), FailsWith(EADDRNOTAVAIL));
  EXPECT_EQ(Get(), std::string("in 1: ") + b);
  EXPECT_THAT(Change(MCAST_LEAVE_SOURCE_GROUP, b), Returns(0));
  EXPECT_EQ(Get(), "EADDRNOTAVAIL");
  EXPECT_THAT(Change(MCAST_LEAVE_SOURCE_GROUP, b), FailsWith(EINVAL));
}

TEST_P(Sources, WrongAddresses) {
  const auto& [group, a, b, none] = Of(family());
  const bool v4 = family() == AF_INET;
  EXPECT_THAT(Change(MCAST_JOIN_SOURCE_GROUP, v4 ? "::1" : "127.0.0.1"), FailsWith(EADDRNOTAVAIL));
  EXPECT_THAT(Change(MCAST_JOIN_SOURCE_GROUP, a, v4 ? "10.1.2.3" : "fe80::1"), FailsWith(EINVAL));
  group_source_req request = {};
  request.gsr_interface = 12345;
  request.gsr_group = At(group).storage;
  request.gsr_source = At(a).storage;
  EXPECT_THAT(setsockopt(fd_.get(), level(), MCAST_JOIN_SOURCE_GROUP, &request, sizeof request),
              FailsWith(ENODEV));
  EXPECT_THAT(setsockopt(fd_.get(), level(), MCAST_JOIN_SOURCE_GROUP, &request, 200),
              FailsWith(EINVAL));
}

TEST_P(Sources, AWholeList) {
  const auto& [group, a, b, none] = Of(family());
  EXPECT_THAT(Set(FilterOf(group, MCAST_INCLUDE, {a})), FailsWith(EINVAL));  // No member.
  EXPECT_THAT(Join(), Returns(0));
  EXPECT_THAT(Set(FilterOf(group, MCAST_INCLUDE, {a, b})), Returns(0));
  EXPECT_EQ(Get(), std::string("in 2: ") + a + " " + b);
  EXPECT_EQ(Get(1), std::string("in 2: ") + a);
  EXPECT_EQ(Get(0), "in 2:");
  EXPECT_THAT(Set(FilterOf(group, MCAST_EXCLUDE, {b})), Returns(0));
  EXPECT_EQ(Get(), std::string("ex 1: ") + b);
  EXPECT_THAT(Set(FilterOf(group, MCAST_EXCLUDE, {})), Returns(0));
  EXPECT_EQ(Get(), "ex 0:");
  EXPECT_THAT(Change(MCAST_JOIN_SOURCE_GROUP, a), Returns(0));  // No list any more.
  EXPECT_EQ(Get(), std::string("in 1: ") + a);
  EXPECT_THAT(Set(FilterOf(group, MCAST_INCLUDE, {})), Returns(0));  // Leaves.
  EXPECT_EQ(Get(), "EADDRNOTAVAIL");
  EXPECT_THAT(Set(FilterOf(group, MCAST_INCLUDE, {})), FailsWith(EADDRNOTAVAIL));
}

TEST_P(Sources, BadLists) {
  const auto& [group, a, b, none] = Of(family());
  ASSERT_THAT(Join(), Returns(0));
  const Filter good = FilterOf(group, MCAST_EXCLUDE, {a, b});
  EXPECT_THAT(Set(good, Filter::SizeFor(0) - 1), FailsWith(EINVAL));
  EXPECT_THAT(Set(good, Filter::SizeFor(1)), FailsWith(EINVAL));
  EXPECT_THAT(Set(FilterOf(group, 5, {a})), FailsWith(EINVAL));
  EXPECT_THAT(Set(FilterOf(a, MCAST_EXCLUDE, {a})), FailsWith(EINVAL));
  Filter other = good;
  other.header.gf_interface = 12345;
  EXPECT_THAT(Set(other), FailsWith(ENODEV));
  for (const uint32_t count : {81u, 0x7fffffu, 0xffffffffu}) {
    other = good;
    other.header.gf_numsrc = count;
    EXPECT_THAT(Set(other, Filter::SizeFor(80)), FailsWith(ENOBUFS)) << count;
  }
  socklen_t size = Filter::SizeFor(0) - 1;
  EXPECT_THAT(getsockopt(fd_.get(), level(), MCAST_MSFILTER, &other, &size), FailsWith(EINVAL));
  EXPECT_EQ(Get(), "ex 0:");
}

TEST_P(Sources, AsManyAsTheSystemAllows) {
  const auto& [group, a, b, none] = Of(family());
  ASSERT_THAT(Join(), Returns(0));
  const size_t most = family() == AF_INET ? 10 : 64;  // igmp_max_msf, mld_max_msf.
  const std::vector<const char*> many(most, a), too_many(most + 1, a);
  EXPECT_THAT(Set(FilterOf(group, MCAST_EXCLUDE, too_many)), FailsWith(ENOBUFS));
  EXPECT_THAT(Set(FilterOf(group, MCAST_EXCLUDE, many)), Returns(0));
  EXPECT_THAT(Change(MCAST_BLOCK_SOURCE, b), FailsWith(ENOBUFS));
}

TEST(SourcesOfIp, TheOldForm) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_DGRAM);
  struct {
    uint32_t group, device, mode, count, sources[3];
  } list = {};
  list.group = inet_addr("239.1.2.21");
  list.device = htonl(INADDR_LOOPBACK);
  list.mode = MCAST_INCLUDE;
  list.count = 2;
  list.sources[0] = inet_addr("127.0.0.1");
  list.sources[1] = inet_addr("127.0.0.5");
  const auto set = [&](socklen_t size) {
    return setsockopt(fd.get(), IPPROTO_IP, IP_MSFILTER, &list, size);
  };
  EXPECT_THAT(set(24), FailsWith(EINVAL));  // No member.
  ip_mreqn request = {};
  request.imr_multiaddr.s_addr = list.group;
  request.imr_address.s_addr = list.device;
  ASSERT_THAT(setsockopt(fd.get(), IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request),
              Returns(0));
  EXPECT_THAT(set(15), FailsWith(EINVAL));
  EXPECT_THAT(set(20), FailsWith(EINVAL));
  EXPECT_THAT(set(24), Returns(0));
  decltype(list) got = {};
  got.group = list.group;
  got.device = list.device;
  got.count = 1;
  socklen_t size = sizeof got;
  EXPECT_THAT(getsockopt(fd.get(), IPPROTO_IP, IP_MSFILTER, &got, &size), Returns(0));
  EXPECT_EQ(size, 20u);
  EXPECT_EQ(got.count, 2u);
  EXPECT_EQ(got.mode, static_cast<uint32_t>(MCAST_INCLUDE));
  EXPECT_EQ(got.sources[0], list.sources[0]);
  EXPECT_EQ(got.sources[1], 0u);
  got.group = inet_addr("239.1.2.22");
  EXPECT_THAT(getsockopt(fd.get(), IPPROTO_IP, IP_MSFILTER, &got, &size), FailsWith(EADDRNOTAVAIL));
  size = 15;
  EXPECT_THAT(getsockopt(fd.get(), IPPROTO_IP, IP_MSFILTER, &got, &size), FailsWith(EINVAL));
}

TEST(SourcesOfIp, AListIsHeard) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_DGRAM);
  ASSERT_THAT(Bind(fd, At("0.0.0.0")), Returns(0));
  group_req join = {};
  join.gr_interface = kLoopback;
  join.gr_group = At("239.1.2.23").storage;
  ASSERT_THAT(setsockopt(fd.get(), IPPROTO_IP, MCAST_JOIN_GROUP, &join, sizeof join), Returns(0));
  const Filter filter = FilterOf("239.1.2.23", MCAST_EXCLUDE, {"127.0.0.2"});
  ASSERT_THAT(setsockopt(fd.get(), IPPROTO_IP, MCAST_MSFILTER, &filter, Filter::SizeFor(1)),
              Returns(0));
  const InetAddress to = At("239.1.2.23", NameOf(fd.get()).port());
  for (const char* from : {"127.0.0.1", "127.0.0.2", "127.0.0.3"}) {
    const UniqueFd sender = NewSocket(AF_INET, SOCK_DGRAM);
    const in_addr loopback = {htonl(INADDR_LOOPBACK)};
    ASSERT_THAT(setsockopt(sender.get(), IPPROTO_IP, IP_MULTICAST_IF, &loopback, sizeof loopback),
                Returns(0));
    ASSERT_THAT(Bind(sender, At(from)), Returns(0));
    EXPECT_THAT(SendTo(sender, from + 8, to), Returns(1));
  }
  EXPECT_EQ(Receive(fd), "1");
  EXPECT_EQ(Receive(fd), "3");
}

}  // namespace
