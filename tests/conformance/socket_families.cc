// Families that a kernel may lack, AF_VSOCK and AF_PACKET: who answers for them answers as one that
// has them, or says everywhere that they are not there. And what listeners for devices are told.
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/vm_sockets.h>
#include <poll.h>

#include "tests/conformance/inet_support.h"

namespace {

constexpr int kTypes[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_RDM};

bool KernelHas(int family, int type) {
  const UniqueFd fd(socket(family, type, 0));
  return fd.valid() || errno != EAFNOSUPPORT;
}

// What a family that is not there answers, whatever it is asked for.
void ExpectAbsent(int family) {
  for (const int type : kTypes) {
    EXPECT_THAT(socket(family, type, 0), FailsWith(EAFNOSUPPORT)) << type;
    EXPECT_THAT(socket(family, type, 255), FailsWith(EAFNOSUPPORT)) << type;
    EXPECT_THAT(socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), FailsWith(EAFNOSUPPORT));
    int pair[2];
    EXPECT_THAT(socketpair(family, type, 0, pair), FailsWith(EAFNOSUPPORT)) << type;
  }
}

sockaddr_vm VsockName(uint32_t cid, uint32_t port) {
  sockaddr_vm name{};
  name.svm_family = AF_VSOCK;
  name.svm_cid = cid;
  name.svm_port = port;
  return name;
}

// The type's number is looked at before the family is looked for, after the family's number.
TEST(SocketFamilies, NumbersComeFirst) {
  for (const int family : {AF_VSOCK, AF_PACKET, AF_INET}) {
    for (const int type : {11, 12, 0x100}) {
      EXPECT_THAT(socket(family, type, 0), FailsWith(EINVAL)) << family;
    }
  }
  EXPECT_THAT(socket(46, SOCK_STREAM, 0), FailsWith(EAFNOSUPPORT));
  EXPECT_THAT(socket(46, 11, 0), FailsWith(EAFNOSUPPORT));
  EXPECT_THAT(socket(46, 0x100, 0), FailsWith(EINVAL));
  EXPECT_THAT(socket(-1, SOCK_STREAM, 0), FailsWith(EAFNOSUPPORT));
}

TEST(SocketFamilies, VsockIsThereOrNot) {
  if (!KernelHas(AF_VSOCK, SOCK_STREAM)) {
    ExpectAbsent(AF_VSOCK);
    EXPECT_THAT(open("/dev/vsock", O_RDONLY), FailsWith(ENOENT));
    EXPECT_THAT(access("/sys/class/misc/vsock", F_OK), FailsWith(ENOENT));
    return;
  }
  const UniqueFd fd(socket(AF_VSOCK, SOCK_STREAM, 0));
  ASSERT_TRUE(fd.valid());
  sockaddr_vm name = VsockName(VMADDR_CID_ANY, VMADDR_PORT_ANY);
  ASSERT_THAT(bind(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof name), Returns(0));
  socklen_t size = sizeof name;
  EXPECT_THAT(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &size), Returns(0));
  EXPECT_EQ(name.svm_family, AF_VSOCK);
  EXPECT_NE(name.svm_port, VMADDR_PORT_ANY);
  EXPECT_THAT(socket(AF_VSOCK, SOCK_RAW, 0), FailsWith(ESOCKTNOSUPPORT));
  EXPECT_THAT(socket(AF_VSOCK, SOCK_STREAM, 1), FailsWith(EPROTONOSUPPORT));
}

TEST(SocketFamilies, PacketIsThereOrNot) {
  const bool listed = access("/proc/net/packet", F_OK) == 0;
  EXPECT_EQ(KernelHas(AF_PACKET, SOCK_RAW), listed);
  if (!listed) {
    ExpectAbsent(AF_PACKET);
    return;
  }
  const UniqueFd fd(socket(AF_PACKET, SOCK_DGRAM, 0));
  if (!fd.valid()) {
    EXPECT_EQ(errno, EPERM);  // Without CAP_NET_RAW.
    return;
  }
  sockaddr_ll name{};
  socklen_t size = sizeof name;
  EXPECT_THAT(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &size), Returns(0));
  EXPECT_EQ(name.sll_family, AF_PACKET);
  EXPECT_EQ(name.sll_ifindex, 0);
  EXPECT_THAT(socket(AF_PACKET, SOCK_STREAM, 0), FailsWith(ESOCKTNOSUPPORT));
}

// SOCK_PACKET of AF_INET is AF_PACKET by its old name.
TEST(SocketFamilies, TheOldNameOfPacketIsTheSame) {
  const UniqueFd fd(socket(AF_INET, SOCK_PACKET, 0));
  const int old_name = fd.valid() ? 0 : errno;
  const UniqueFd other(socket(AF_PACKET, SOCK_PACKET, 0));
  EXPECT_EQ(old_name, other.valid() ? 0 : errno);
}

// The steps of libudev, which waits for devices: all of them work, and nothing comes.
TEST(Uevents, AMonitorWaitsInVain) {
  for (const uint32_t group : {1u, 2u}) {  // The kernel's, and that of udevd.
    const UniqueFd fd(
        socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT));
    ASSERT_TRUE(fd.valid());
    sock_filter all[] = {{BPF_RET | BPF_K, 0, 0, 0xffffffff}};
    const sock_fprog program{1, all};
    EXPECT_THAT(setsockopt(fd.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program),
                Returns(0));
    sockaddr_nl name{};
    name.nl_family = AF_NETLINK;
    name.nl_groups = group;
    EXPECT_THAT(bind(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof name), Returns(0));
    socklen_t size = sizeof name;
    EXPECT_THAT(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &size), Returns(0));
    EXPECT_NE(name.nl_pid, 0u);
    EXPECT_EQ(name.nl_groups, group);
    const int on = 1;
    EXPECT_THAT(setsockopt(fd.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on), Returns(0));
    pollfd entry{fd.get(), POLLIN, 0};
    EXPECT_THAT(poll(&entry, 1, 0), Returns(0));
    EXPECT_THAT(setsockopt(fd.get(), SOL_SOCKET, SO_DETACH_FILTER, nullptr, 0), FailsWith(EINVAL));
    EXPECT_THAT(setsockopt(fd.get(), SOL_SOCKET, SO_DETACH_FILTER, &on, sizeof on), Returns(0));
  }
}

}  // namespace
