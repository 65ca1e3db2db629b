// Flags of send(2) that ask for nothing over the loopback interface, or for more than a socket was
// told to do; options that take rights or a state which a socket does not have.
#include "tests/conformance/inet_support.h"

namespace {

class SendFlags : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Inet, SendFlags, testing::Values(AF_INET, AF_INET6), FamilyName);

// MSG_ZEROCOPY counts once SO_ZEROCOPY is on, MSG_EOR where there are records.
constexpr int kHarmless[] = {MSG_DONTROUTE, MSG_CONFIRM, MSG_ZEROCOPY, MSG_EOR, MSG_NOSIGNAL};

TEST_P(SendFlags, DatagramsGoAsTheyAre) {
  const UniqueFd to = NewUdp(GetParam());
  const UniqueFd from = NewSocket(GetParam(), SOCK_DGRAM);
  for (const int flag : kHarmless) {
    EXPECT_THAT(SendTo(from, "abc", NameOf(to.get()), flag), Returns(3)) << flag;
    EXPECT_EQ(Receive(to), "abc") << flag;
  }
}

TEST_P(SendFlags, StreamsGoAsTheyAre) {
  const UniqueFd listener = NewListener(GetParam());
  const UniqueFd client = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Connect(client, NameOf(listener.get())), Returns(0));
  const UniqueFd server = AcceptOne(listener);
  for (const int flag : kHarmless) {
    EXPECT_THAT(Send(client, "abc", flag | MSG_NOSIGNAL), Returns(3)) << flag;
    EXPECT_EQ(Receive(server, 3, MSG_WAITALL), "abc") << flag;
  }
}

TEST_P(SendFlags, UrgentDatagramsThereAreNone) {
  const UniqueFd to = NewUdp(GetParam());
  const UniqueFd from = NewSocket(GetParam(), SOCK_DGRAM);
  const ssize_t sent = SendTo(from, "abc", NameOf(to.get()), MSG_OOB);
  if (GetParam() == AF_INET) {
    EXPECT_THAT(sent, FailsWith(EOPNOTSUPP));
  } else {
    EXPECT_THAT(sent, Returns(3));  // udpv6_sendmsg() does not look.
  }
}

TEST_P(SendFlags, AnEmptyErrorQueueIsSaidAtOnce) {
  for (const int type : {SOCK_DGRAM, SOCK_STREAM}) {
    const UniqueFd fd = NewSocket(GetParam(), type);
    char byte;
    EXPECT_THAT(recv(fd.get(), &byte, 1, MSG_ERRQUEUE), FailsWith(EAGAIN)) << type;
  }
}

TEST_P(SendFlags, ReadingAListenerIsAnError) {
  const UniqueFd listener = NewListener(GetParam());
  char byte;
  EXPECT_THAT(recv(listener.get(), &byte, 1, 0), FailsWith(ENOTCONN));
  EXPECT_THAT(Send(listener, "a"), FailsWith(EPIPE));
}

}  // namespace
