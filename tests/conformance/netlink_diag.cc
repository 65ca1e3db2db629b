// sock_diag(7): what ss(8) asks for.
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "tests/conformance/netlink_support.h"

namespace {

uint32_t InodeOf(int fd) {
  struct stat st {};
  EXPECT_THAT(fstat(fd, &st), Returns(0));
  return static_cast<uint32_t>(st.st_ino);
}

std::string UnixRequest(uint32_t show, uint32_t inode = 0, uint32_t states = ~0u) {
  unix_diag_req body{};
  body.sdiag_family = AF_UNIX;
  body.udiag_states = states;
  body.udiag_ino = inode;
  body.udiag_show = show;
  if (inode != 0) body.udiag_cookie[0] = body.udiag_cookie[1] = ~0u;  // INET_DIAG_NOCOOKIE
  return Bytes(body);
}

const NlMessage* FindUnix(const std::vector<NlMessage>& all, uint32_t inode) {
  for (const NlMessage& message : all) {
    if (message.header.nlmsg_type == SOCK_DIAG_BY_FAMILY &&
        message.Body<unix_diag_msg>().udiag_ino == inode) {
      return &message;
    }
  }
  return nullptr;
}

UniqueFd NamedListener(const std::string& name) {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path + 1, name.data(), name.size());
  EXPECT_THAT(bind(fd.get(), reinterpret_cast<sockaddr*>(&address),
                   static_cast<socklen_t>(sizeof(sa_family_t) + 1 + name.size())),
              Returns(0));
  EXPECT_THAT(listen(fd.get(), 7), Returns(0));
  return fd;
}

TEST(SockDiagUnix, Dump) {
  UniqueFd fd = NamedListener("netlink_diag.dump");
  Netlink nl(NETLINK_SOCK_DIAG);
  const auto all =
      nl.Ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, UnixRequest(UDIAG_SHOW_NAME | UDIAG_SHOW_RQLEN));
  ASSERT_FALSE(all.empty());
  EXPECT_EQ(all.back().header.nlmsg_type, NLMSG_DONE);
  const NlMessage* found = FindUnix(all, InodeOf(fd.get()));
  ASSERT_NE(found, nullptr);
  const auto body = found->Body<unix_diag_msg>();
  EXPECT_EQ(body.udiag_family, AF_UNIX);
  EXPECT_EQ(body.udiag_type, SOCK_STREAM);
  EXPECT_EQ(body.udiag_state, 10);  // TCP_LISTEN
  const Attributes attributes = found->Tail<unix_diag_msg>();
  EXPECT_EQ(attributes.at(UNIX_DIAG_NAME), std::string("\0netlink_diag.dump", 18));
  const auto queues = As<unix_diag_rqlen>(attributes.at(UNIX_DIAG_RQLEN));
  EXPECT_EQ(queues.udiag_rqueue, 0u);
  EXPECT_EQ(queues.udiag_wqueue, 7u);
}

TEST(SockDiagUnix, PairsKnowEachOther) {
  int fds[2];
  ASSERT_THAT(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), Returns(0));
  UniqueFd a(fds[0]), b(fds[1]);
  Netlink nl(NETLINK_SOCK_DIAG);
  const auto all = nl.Ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, UnixRequest(UDIAG_SHOW_PEER));
  const NlMessage* found = FindUnix(all, InodeOf(a.get()));
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->Body<unix_diag_msg>().udiag_state, 1);  // TCP_ESTABLISHED
  EXPECT_EQ(As<uint32_t>(found->Tail<unix_diag_msg>().at(UNIX_DIAG_PEER)), InodeOf(b.get()));
}

TEST(SockDiagUnix, QueuedBytes) {
  int fds[2];
  ASSERT_THAT(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), Returns(0));
  UniqueFd a(fds[0]), b(fds[1]);
  ASSERT_THAT(write(a.get(), "12345", 5), Returns(5));
  Netlink nl(NETLINK_SOCK_DIAG);
  const auto all = nl.Ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, UnixRequest(UDIAG_SHOW_RQLEN));
  const NlMessage* found = FindUnix(all, InodeOf(b.get()));
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(As<unix_diag_rqlen>(found->Tail<unix_diag_msg>().at(UNIX_DIAG_RQLEN)).udiag_rqueue, 5u);
}

TEST(SockDiagUnix, ByState) {
  UniqueFd fd = NamedListener("netlink_diag.state");
  Netlink nl(NETLINK_SOCK_DIAG);
  EXPECT_EQ(FindUnix(nl.Ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, UnixRequest(0, 0, 1u << 1)),
                     InodeOf(fd.get())),
            nullptr);
  EXPECT_NE(FindUnix(nl.Ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, UnixRequest(0, 0, 1u << 10)),
                     InodeOf(fd.get())),
            nullptr);
}

TEST(SockDiagUnix, One) {
  UniqueFd fd = NamedListener("netlink_diag.one");
  Netlink nl(NETLINK_SOCK_DIAG);
  const auto answer =
      nl.Ask(SOCK_DIAG_BY_FAMILY, 0, UnixRequest(UDIAG_SHOW_NAME, InodeOf(fd.get())));
  ASSERT_EQ(answer.size(), 1u);
  EXPECT_NE(FindUnix(answer, InodeOf(fd.get())), nullptr);
}

TEST(SockDiagUnix, NoSuch) {
  Netlink nl(NETLINK_SOCK_DIAG);
  EXPECT_EQ(nl.Try(SOCK_DIAG_BY_FAMILY, 0, UnixRequest(0, 0x7ffffffe)), ENOENT);
  EXPECT_EQ(nl.Try(SOCK_DIAG_BY_FAMILY, 0, std::string(1, '\1')), EINVAL);
}

std::string InetRequest(int family, int protocol, uint32_t states = ~0u) {
  inet_diag_req_v2 body{};
  body.sdiag_family = static_cast<uint8_t>(family);
  body.sdiag_protocol = static_cast<uint8_t>(protocol);
  body.idiag_states = states;
  return Bytes(body);
}

const NlMessage* FindInet(const std::vector<NlMessage>& all, uint32_t inode) {
  for (const NlMessage& message : all) {
    if (message.header.nlmsg_type == SOCK_DIAG_BY_FAMILY &&
        message.Body<inet_diag_msg>().idiag_inode == inode) {
      return &message;
    }
  }
  return nullptr;
}

sockaddr_in NameOf(int fd) {
  sockaddr_in name{};
  socklen_t size = sizeof(name);
  EXPECT_THAT(getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size), Returns(0));
  return name;
}

UniqueFd Bound(int type) {
  UniqueFd fd(socket(AF_INET, type | SOCK_CLOEXEC, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_THAT(bind(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)), Returns(0));
  return fd;
}

TEST(SockDiagInet, Listeners) {
  UniqueFd fd = Bound(SOCK_STREAM);
  ASSERT_THAT(listen(fd.get(), 9), Returns(0));
  Netlink nl(NETLINK_SOCK_DIAG);
  const auto all =
      nl.Ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, InetRequest(AF_INET, IPPROTO_TCP, 1u << 10));
  const NlMessage* found = FindInet(all, InodeOf(fd.get()));
  ASSERT_NE(found, nullptr);
  const auto body = found->Body<inet_diag_msg>();
  EXPECT_EQ(body.idiag_family, AF_INET);
  EXPECT_EQ(body.idiag_state, 10);
  EXPECT_EQ(body.id.idiag_sport, NameOf(fd.get()).sin_port);
  EXPECT_EQ(body.id.idiag_dport, 0);
  EXPECT_EQ(body.id.idiag_src[0], htonl(INADDR_LOOPBACK));
  EXPECT_EQ(body.idiag_uid, getuid());
  EXPECT_EQ(body.idiag_rqueue, 0u);
  EXPECT_EQ(body.idiag_wqueue, 9u);
}

TEST(SockDiagInet, Connections) {
  UniqueFd listener = Bound(SOCK_STREAM);
  ASSERT_THAT(listen(listener.get(), 9), Returns(0));
  const sockaddr_in server = NameOf(listener.get());
  UniqueFd client(socket(AF_INET, SOCK_STREAM, 0));
  ASSERT_THAT(connect(client.get(), reinterpret_cast<const sockaddr*>(&server), sizeof(server)),
              Returns(0));
  UniqueFd accepted(accept(listener.get(), nullptr, nullptr));
  ASSERT_TRUE(accepted.valid());
  Netlink nl(NETLINK_SOCK_DIAG);
  const auto all =
      nl.Ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, InetRequest(AF_INET, IPPROTO_TCP, 1u << 1));
  const NlMessage* one = FindInet(all, InodeOf(client.get()));
  const NlMessage* other = FindInet(all, InodeOf(accepted.get()));
  ASSERT_NE(one, nullptr);
  ASSERT_NE(other, nullptr);
  EXPECT_EQ(one->Body<inet_diag_msg>().id.idiag_dport, server.sin_port);
  EXPECT_EQ(other->Body<inet_diag_msg>().id.idiag_sport, server.sin_port);
  EXPECT_EQ(one->Body<inet_diag_msg>().id.idiag_sport, other->Body<inet_diag_msg>().id.idiag_dport);
}

TEST(SockDiagInet, Datagrams) {
  UniqueFd fd = Bound(SOCK_DGRAM);
  Netlink nl(NETLINK_SOCK_DIAG);
  const auto all = nl.Ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, InetRequest(AF_INET, IPPROTO_UDP));
  const NlMessage* found = FindInet(all, InodeOf(fd.get()));
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->Body<inet_diag_msg>().idiag_state, 7);  // TCP_CLOSE
  EXPECT_EQ(found->Body<inet_diag_msg>().id.idiag_sport, NameOf(fd.get()).sin_port);
}

TEST(SockDiagInet, FamiliesAreApart) {
  UniqueFd fd = Bound(SOCK_DGRAM);
  Netlink nl(NETLINK_SOCK_DIAG);
  EXPECT_EQ(FindInet(nl.Ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, InetRequest(AF_INET6, IPPROTO_UDP)),
                     InodeOf(fd.get())),
            nullptr);
  EXPECT_EQ(FindInet(nl.Ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, InetRequest(AF_INET, IPPROTO_TCP)),
                     InodeOf(fd.get())),
            nullptr);
}

TEST(SockDiagInet, OneListener) {
  UniqueFd fd = Bound(SOCK_STREAM);
  ASSERT_THAT(listen(fd.get(), 1), Returns(0));
  inet_diag_req_v2 body{};
  body.sdiag_family = AF_INET;
  body.sdiag_protocol = IPPROTO_TCP;
  body.id.idiag_sport = NameOf(fd.get()).sin_port;
  body.id.idiag_src[0] = htonl(INADDR_LOOPBACK);
  body.id.idiag_cookie[0] = body.id.idiag_cookie[1] = ~0u;
  Netlink nl(NETLINK_SOCK_DIAG);
  const auto answer = nl.Ask(SOCK_DIAG_BY_FAMILY, 0, Bytes(body));
  ASSERT_EQ(answer.size(), 1u);
  EXPECT_NE(FindInet(answer, InodeOf(fd.get())), nullptr);
  body.id.idiag_sport = 0;
  EXPECT_EQ(nl.Try(SOCK_DIAG_BY_FAMILY, 0, Bytes(body)), ENOENT);
}

}  // namespace
