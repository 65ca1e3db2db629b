// A sentry that has been taken over: whatever it asks of the network gofer, that lives on under its
// filter, and nothing but internet sockets comes back.
#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <string>

#include "base/seccomp_filter.h"
#include "gofer/net/options.h"
#include "gofer/net/seccomp_rules.h"
#include "gofer/net/server.h"
#include "gofer/protocol/net_messages.h"
#include "gtest/gtest.h"

namespace gofer {
namespace {

[[maybe_unused]] constexpr auto kFilter = CompileAllowList(kNetSeccompRules);

// What a sanitizer calls is in no table.
bool LockDown() {
#ifdef __SANITIZE_ADDRESS__
  return true;
#else
  return InstallSeccompFilter(kFilter).ok();
#endif
}

class NetGofer : public testing::Test {
 protected:
  NetGofer() {
    int pair[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    socket_.reset(pair[0]);
    child_ = fork();
    if (child_ == 0) {
      prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
      close(pair[0]);
      _exit(ServeNetwork(UniqueFd(pair[1]), [] { return LockDown(); }));
    }
    close(pair[1]);
  }
  // It ends by itself when the sentry is gone, and by nothing else.
  ~NetGofer() override {
    socket_.reset();
    int status = -1;
    waitpid(child_, &status, 0);
    EXPECT_EQ(status, 0);
  }

  struct Answer {
    NetReply reply;
    std::string data;
    UniqueFd fd;
  };

  void SendBytes(const void* bytes, size_t size, int fd = -1) {
    iovec io{.iov_base = const_cast<void*>(bytes), .iov_len = size};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr header{};
    header.msg_iov = &io;
    header.msg_iovlen = 1;
    if (fd >= 0) {
      header.msg_control = control;
      header.msg_controllen = sizeof(control);
      cmsghdr* const cmsg = CMSG_FIRSTHDR(&header);
      cmsg->cmsg_level = SOL_SOCKET;
      cmsg->cmsg_type = SCM_RIGHTS;
      cmsg->cmsg_len = CMSG_LEN(sizeof(int));
      memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
    }
    ASSERT_EQ(sendmsg(socket_.get(), &header, MSG_NOSIGNAL), static_cast<ssize_t>(size));
  }

  Answer Receive() {
    Answer answer;
    std::string buffer(kNetDumpPart, '\0');
    iovec io[2] = {{.iov_base = &answer.reply, .iov_len = sizeof(answer.reply)},
                   {.iov_base = buffer.data(), .iov_len = buffer.size()}};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr header{};
    header.msg_iov = io;
    header.msg_iovlen = 2;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    const ssize_t count = recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC);
    EXPECT_GE(count, static_cast<ssize_t>(sizeof(answer.reply)));
    if (const cmsghdr* const cmsg = CMSG_FIRSTHDR(&header)) {
      int fd;
      memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
      answer.fd.reset(fd);
    }
    answer.data = buffer.substr(0, answer.reply.size);
    return answer;
  }

  Answer Ask(NetOp op, int a = 0, int b = 0, int c = 0, int fd = -1, const std::string& data = "") {
    NetRequest request{.op = op, .a = a, .b = b, .c = c};
    std::string bytes(reinterpret_cast<const char*>(&request), sizeof(request));
    bytes += data;
    SendBytes(bytes.data(), bytes.size(), fd);
    return Receive();
  }

  UniqueFd socket_;
  pid_t child_ = -1;
};

TEST_F(NetGofer, MakesInternetSocketsOnly) {
  EXPECT_TRUE(Ask(NetOp::kSocket, AF_INET, SOCK_STREAM, 0).fd.valid());
  EXPECT_TRUE(Ask(NetOp::kSocket, AF_INET, SOCK_DGRAM, IPPROTO_UDP).fd.valid());
  for (const int domain : {AF_UNIX, AF_NETLINK, AF_PACKET, AF_VSOCK, AF_ALG, -1}) {
    const Answer answer = Ask(NetOp::kSocket, domain, SOCK_RAW, 0);
    EXPECT_EQ(answer.reply.error, EAFNOSUPPORT) << domain;
    EXPECT_FALSE(answer.fd.valid());
  }
  EXPECT_EQ(Ask(NetOp::kSocket, AF_INET, SOCK_RAW, IPPROTO_RAW).reply.error, EPROTONOSUPPORT);
  EXPECT_EQ(Ask(NetOp::kSocket, AF_INET, SOCK_PACKET, 3).reply.error, ESOCKTNOSUPPORT);
  EXPECT_EQ(Ask(NetOp::kSocket, AF_INET, SOCK_STREAM, IPPROTO_SCTP).reply.error, EPROTONOSUPPORT);
}

TEST_F(NetGofer, WantsASocketToWorkOn) {
  for (const NetOp op : {NetOp::kBind, NetOp::kConnect, NetOp::kListen, NetOp::kLocalName,
                         NetOp::kShutdown, NetOp::kSetOption, NetOp::kGetOption}) {
    EXPECT_EQ(Ask(op).reply.error, EBADF);
  }
  // Its own kind of socket is not one either.
  EXPECT_NE(Ask(NetOp::kListen, 1, 0, 0, socket_.get()).reply.error, 0);
  const sockaddr_in name{.sin_family = AF_INET};
  const std::string bytes(reinterpret_cast<const char*>(&name), sizeof(name));
  EXPECT_NE(Ask(NetOp::kConnect, 0, 0, 0, socket_.get(), bytes).reply.error, 0);
}

TEST_F(NetGofer, ChecksAddressesAndOptions) {
  const UniqueFd fd = Ask(NetOp::kSocket, AF_INET, SOCK_STREAM, 0).fd;
  const std::string path("\1\0/run/some.socket", 18);
  EXPECT_EQ(Ask(NetOp::kConnect, 0, 0, 0, fd.get(), path).reply.error, EINVAL);
  EXPECT_EQ(Ask(NetOp::kBind, 0, 0, 0, fd.get(), "x").reply.error, EINVAL);
  EXPECT_EQ(Ask(NetOp::kSetOption, SOL_SOCKET, SO_ATTACH_FILTER, 0, fd.get(), std::string(16, 'x'))
                .reply.error,
            ENOPROTOOPT);
  EXPECT_EQ(Ask(NetOp::kSetOption, SOL_SOCKET, SO_REUSEADDR, 0, fd.get(), "toolong").reply.error,
            ENOPROTOOPT);
  EXPECT_EQ(
      Ask(NetOp::kSetOption, SOL_SOCKET, SO_REUSEADDR, 0, fd.get(), std::string("\1\0\0\0", 4))
          .reply.error,
      0);
  EXPECT_EQ(Ask(NetOp::kGetOption, SOL_SOCKET, SO_REUSEADDR, 1 << 30, fd.get()).data,
            std::string("\1\0\0\0", 4));
  EXPECT_EQ(Ask(NetOp::kGetOption, SOL_SOCKET, SO_REUSEADDR, -1, fd.get()).reply.error, EINVAL);
}

TEST_F(NetGofer, BoundsListsThatTheKernelDoesNot) {
  const UniqueFd fd = Ask(NetOp::kSocket, AF_INET, SOCK_DGRAM, 0).fd;
  ip_mreqn join{};
  join.imr_multiaddr.s_addr = inet_addr("239.1.2.3");
  join.imr_ifindex = 1;
  ASSERT_EQ(Ask(NetOp::kSetOption, IPPROTO_IP, IP_ADD_MEMBERSHIP, 0, fd.get(),
                std::string(reinterpret_cast<const char*>(&join), sizeof(join)))
                .reply.error,
            0);
  struct {
    uint32_t group, device, mode, count;
  } asked{join.imr_multiaddr.s_addr, htonl(INADDR_LOOPBACK), 0, UINT32_MAX};
  const std::string bytes(reinterpret_cast<const char*>(&asked), sizeof(asked));
  const Answer answer = Ask(NetOp::kGetOption, IPPROTO_IP, IP_MSFILTER, 64, fd.get(), bytes);
  EXPECT_EQ(answer.reply.error, 0);
  EXPECT_EQ(answer.data.size(), sizeof(asked));
  for (const char* wrong : {"", "short"}) {
    EXPECT_EQ(Ask(NetOp::kGetOption, IPPROTO_IP, IP_MSFILTER, 64, fd.get(), wrong).reply.error,
              EINVAL);
  }
  EXPECT_EQ(Ask(NetOp::kGetOption, IPPROTO_IP, IP_MSFILTER, 8, fd.get(), bytes).reply.error,
            EINVAL);
}

TEST_F(NetGofer, DumpsDevices) {
  EXPECT_EQ(Ask(NetOp::kDump, RTM_DELLINK).reply.error, EINVAL);
  EXPECT_EQ(Ask(NetOp::kDump, RTM_GETQDISC).reply.error, EINVAL);
  Answer answer = Ask(NetOp::kDump, RTM_GETLINK);
  EXPECT_GT(answer.data.size(), sizeof(nlmsghdr));
  while (answer.reply.more != 0) answer = Receive();
  EXPECT_EQ(answer.reply.error, 0);
}

TEST_F(NetGofer, SurvivesNonsense) {
  std::mt19937 random(1);
  // Its own socket would do as well, but a shutdown of that one ends the conversation.
  const UniqueFd subject = Ask(NetOp::kSocket, AF_INET6, SOCK_DGRAM, 0).fd;
  for (int i = 0; i < 3000; ++i) {
    struct {
      NetRequest request;
      std::byte data[kNetData + 100];
    } message{};
    NetRequest& request = message.request;
    auto* const bytes = reinterpret_cast<unsigned char*>(&message);
    for (size_t at = 0; at < sizeof(request) + 600; ++at)
      bytes[at] = static_cast<unsigned char>(random());
    // Something that it might know, mostly.
    if (random() % 4 != 0) request.op = static_cast<NetOp>(random() % 11);
    if (random() % 2 != 0) request.a = static_cast<int>(random() % 42);
    if (random() % 4 == 0) request.b = random() % 2 != 0 ? IP_MSFILTER : MCAST_MSFILTER;
    const int fd = random() % 2 != 0 ? subject.get() : -1;
    const size_t most = random() % 8 == 0 ? sizeof(message) : sizeof(request) + 600;
    SendBytes(&message, 1 + random() % most, fd);
    Answer answer = Receive();
    while (answer.reply.more != 0) answer = Receive();
    if (!answer.fd.valid()) continue;
    int domain = 0;
    socklen_t size = sizeof(domain);
    ASSERT_EQ(getsockopt(answer.fd.get(), SOL_SOCKET, SO_DOMAIN, &domain, &size), 0);
    EXPECT_TRUE(domain == AF_INET || domain == AF_INET6);
  }
}

}  // namespace
}  // namespace gofer
