// ICMP echo through raw and ping sockets: raw(7), icmp(7).
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>

#include "tests/conformance/inet_support.h"

namespace {

uint16_t Checksum(const void* data, size_t size) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  uint32_t sum = 0;
  for (size_t i = 0; i < size; i++) sum += i % 2 == 0 ? bytes[i] << 8 : bytes[i];
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return htons(static_cast<uint16_t>(~sum));
}

struct Echo {
  icmphdr header = {};
  char data[8] = {'p', 'a', 'y', 'l', 'o', 'a', 'd', '!'};
};

TEST(IcmpRaw, EchoIsAnswered) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
  Echo request;
  request.header.type = ICMP_ECHO;
  request.header.un.echo = {.id = htons(0x4242), .sequence = htons(7)};
  request.header.checksum = Checksum(&request, sizeof request);
  const InetAddress to = At("127.0.0.1");
  ASSERT_THAT(sendto(fd.get(), &request, sizeof request, 0, to.get(), to.size),
              Returns(sizeof request));
  for (;;) {
    ASSERT_TRUE(WaitReadable(fd.get()));
    char packet[256];
    InetAddress from;
    ASSERT_THAT(recvfrom(fd.get(), packet, sizeof packet, 0, from.get(), &from.size),
                Returns(sizeof(iphdr) + sizeof request));
    iphdr ip;
    memcpy(&ip, packet, sizeof ip);
    EXPECT_EQ(ip.version, 4);
    EXPECT_EQ(ip.ihl, 5);
    EXPECT_EQ(ip.protocol, IPPROTO_ICMP);
    EXPECT_EQ(ntohs(ip.tot_len), sizeof(iphdr) + sizeof request);
    Echo reply;
    memcpy(&reply, packet + sizeof ip, sizeof reply);
    if (reply.header.un.echo.id != request.header.un.echo.id) continue;  // Somebody else's.
    if (reply.header.type == ICMP_ECHO) continue;  // The request is heard as well.
    EXPECT_EQ(reply.header.type, ICMP_ECHOREPLY);
    EXPECT_EQ(ntohs(reply.header.un.echo.sequence), 7);
    EXPECT_EQ(memcmp(reply.data, request.data, 8), 0);
    EXPECT_EQ(Checksum(&reply, sizeof reply), 0);
    EXPECT_EQ(from.host(), "127.0.0.1");
    break;
  }
}

TEST(IcmpRaw, FilterHidesTheRequest) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
  const uint32_t filter = ~(1u << ICMP_ECHOREPLY);
  ASSERT_THAT(setsockopt(fd.get(), SOL_RAW, 1 /* ICMP_FILTER */, &filter, sizeof filter),
              Returns(0));
  Echo request;
  request.header.type = ICMP_ECHO;
  request.header.un.echo = {.id = htons(0x4343), .sequence = htons(1)};
  request.header.checksum = Checksum(&request, sizeof request);
  const InetAddress to = At("127.0.0.1");
  ASSERT_THAT(sendto(fd.get(), &request, sizeof request, 0, to.get(), to.size),
              Returns(sizeof request));
  char packet[256];
  ASSERT_TRUE(WaitReadable(fd.get()));
  ASSERT_THAT(recv(fd.get(), packet, sizeof packet, 0), Succeeds());
  EXPECT_EQ(packet[sizeof(iphdr)], ICMP_ECHOREPLY);
}

TEST(IcmpRaw, ABadChecksumIsNotAnswered) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
  const uint32_t filter = ~(1u << ICMP_ECHOREPLY);
  ASSERT_THAT(setsockopt(fd.get(), SOL_RAW, 1, &filter, sizeof filter), Returns(0));
  Echo bad;
  bad.header.type = ICMP_ECHO;
  bad.header.un.echo = {.id = htons(0x4444), .sequence = htons(1)};
  Echo good = bad;
  good.header.un.echo.sequence = htons(2);
  good.header.checksum = Checksum(&good, sizeof good);
  bad.header.checksum = good.header.checksum;
  const InetAddress to = At("127.0.0.1");
  ASSERT_THAT(sendto(fd.get(), &bad, sizeof bad, 0, to.get(), to.size), Succeeds());
  ASSERT_THAT(sendto(fd.get(), &good, sizeof good, 0, to.get(), to.size), Succeeds());
  char packet[256];
  Echo reply;
  do {
    ASSERT_TRUE(WaitReadable(fd.get()));
    ASSERT_THAT(recv(fd.get(), packet, sizeof packet, 0), Succeeds());
    memcpy(&reply, packet + sizeof(iphdr), sizeof reply);
  } while (reply.header.un.echo.id != good.header.un.echo.id);
  EXPECT_EQ(ntohs(reply.header.un.echo.sequence), 2);
}

TEST(IcmpRaw, SixComputesTheChecksum) {
  const UniqueFd fd = NewSocket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
  icmp6_filter filter;
  ICMP6_FILTER_SETBLOCKALL(&filter);
  ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
  ASSERT_THAT(setsockopt(fd.get(), IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter),
              Returns(0));
  icmp6_hdr request = {};
  request.icmp6_type = ICMP6_ECHO_REQUEST;
  request.icmp6_id = htons(0x4545);
  request.icmp6_seq = htons(3);
  const InetAddress to = At("::1");
  ASSERT_THAT(sendto(fd.get(), &request, sizeof request, 0, to.get(), to.size),
              Returns(sizeof request));
  icmp6_hdr reply = {};
  do {
    ASSERT_TRUE(WaitReadable(fd.get()));
    InetAddress from;
    ASSERT_THAT(recvfrom(fd.get(), &reply, sizeof reply, 0, from.get(), &from.size),
                Returns(sizeof reply));
    EXPECT_EQ(from.host(), "::1");
  } while (reply.icmp6_id != request.icmp6_id);
  EXPECT_EQ(reply.icmp6_type, ICMP6_ECHO_REPLY);
  EXPECT_EQ(ntohs(reply.icmp6_seq), 3);
  EXPECT_NE(reply.icmp6_cksum, 0);
}

TEST(IcmpPing, GroupsDecide) {
  const char* const kSetting = "/proc/sys/net/ipv4/ping_group_range";
  unsigned first = 1, last = 0;  // Nobody.
  if (access(kSetting, R_OK) == 0) sscanf(ReadFile(kSetting).c_str(), "%u %u", &first, &last);
  const UniqueFd fd(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP));
  if (first > 0 || last < first) {
    EXPECT_THAT(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP), FailsWith(EACCES));
    EXPECT_THAT(socket(AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6), FailsWith(EACCES));
    return;
  }
  ASSERT_GE(fd.get(), 0);
  Echo request;
  request.header.type = ICMP_ECHO;
  const InetAddress to = At("127.0.0.1");
  ASSERT_THAT(sendto(fd.get(), &request, sizeof request, 0, to.get(), to.size),
              Returns(sizeof request));
  Echo reply;
  ASSERT_THAT(recv(fd.get(), &reply, sizeof reply, 0), Returns(sizeof reply));
  EXPECT_EQ(reply.header.type, ICMP_ECHOREPLY);
  EXPECT_EQ(ntohs(reply.header.un.echo.id), NameOf(fd.get()).port());
}

}  // namespace
