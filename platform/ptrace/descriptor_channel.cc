#include "platform/ptrace/descriptor_channel.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cstring>

namespace platform::ptrace {

Result<std::unique_ptr<DescriptorChannel>> DescriptorChannel::Create() {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sockets) != 0) return Errno::Last();
  std::unique_ptr<DescriptorChannel> channel(new DescriptorChannel);
  channel->sentry_end_.reset(sockets[0]);
  channel->stub_end_.reset(sockets[1]);
  if (sockets[1] == 0) {  // The number that received descriptors get.
    const int other = fcntl(sockets[1], F_DUPFD_CLOEXEC, 1);
    if (other < 0) return Errno::Last();
    channel->stub_end_.reset(other);
  }
  return channel;
}

Status DescriptorChannel::Send(int host_fd) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  char byte = 0;
  iovec data{.iov_base = &byte, .iov_len = 1};
  msghdr message{
      .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &host_fd, sizeof(int));
  if (sendmsg(sentry_end_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) != 1) return Errno::Last();
  return kOk;
}

void DescriptorChannel::Drain() {
  char byte;
  // Without room for it the descriptor is dropped together with the message.
  while (recv(stub_end_.get(), &byte, 1, MSG_DONTWAIT) >= 0) {
  }
}

}  // namespace platform::ptrace
