#include "sentry/fs/pipe/socket_pair.h"

#include <fcntl.h>
#include <sys/socket.h>

#include "absl/strings/str_format.h"
#include "sentry/fs/anon/anon_inode.h"

namespace sentry {
namespace {

constexpr uint32_t kEverything = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | POLLRDHUP;

}  // namespace

SocketPairFile::SocketPairFile(Ref<Inode> inode, Ref<File> in, Ref<File> out, OpenFlags flags)
    : File(std::move(inode), flags), in_(std::move(in)), out_(std::move(out)) {
  in_->wait_queue()->Add(forward_in_, kEverything);
  out_->wait_queue()->Add(forward_out_, kEverything);
}

SocketPairFile::~SocketPairFile() {
  in_->wait_queue()->Remove(forward_in_);
  out_->wait_queue()->Remove(forward_out_);
}

Result<size_t> SocketPairFile::Peek(std::span<std::byte> bytes) {
  return FileCast<PipeFile>(*in_)->pipe().Peek(bytes);
}

uint32_t SocketPairFile::Poll() {
  const uint32_t in = in_->Poll();
  const uint32_t out = out_->Poll();
  uint32_t events = in & (POLLIN | POLLRDNORM);
  events |= out & (POLLOUT | POLLWRNORM);
  const bool no_more_in = (in & POLLHUP) != 0 || read_shut_.load();
  const bool nobody_reads = (out & POLLERR) != 0;
  // Nothing blocks any more on what the peer has closed.
  if (no_more_in) events |= POLLIN | POLLRDNORM | POLLRDHUP;
  if (nobody_reads) events |= POLLOUT | POLLWRNORM;
  if (no_more_in && nobody_reads) events |= POLLHUP;
  return events;
}

void SocketPairFile::OnLastClose() {
  in_->OnLastClose();
  out_->OnLastClose();
}

std::string SocketPairFile::AnonymousName() const {
  const auto attributes = inode().GetAttributes();
  return absl::StrFormat("socket:[%u]", attributes.ok() ? attributes->ino : 0);
}

Status SocketPairFile::Shutdown(int how) {
  if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR) return Errno(EINVAL);
  if (how != SHUT_WR) {
    read_shut_.store(true);
    in_->OnLastClose();
  }
  if (how != SHUT_RD) out_->OnLastClose();
  queue_.Notify(kEverything | POLLHUP);
  return kOk;
}

Result<std::pair<Ref<File>, Ref<File>>> CreateSocketPair(OpenFlags flags) {
  // The pipes never block by themselves: their files are not what a task waits on.
  auto forth = TRY(CreatePipe(OpenFlags(O_NONBLOCK)));
  auto back = TRY(CreatePipe(OpenFlags(O_NONBLOCK)));
  const OpenFlags mode = flags.With(O_RDWR);
  const auto make = [&](Ref<File> in, Ref<File> out) -> Ref<File> {
    return MakeRef<SocketPairFile>(MakeRef<AnonInode>(AnonInode::kSocketDevice, S_IFSOCK | 0777), std::move(in),
                                   std::move(out), mode);
  };
  return std::pair<Ref<File>, Ref<File>>(make(std::move(back.first), std::move(forth.second)),
                                         make(std::move(forth.first), std::move(back.second)));
}

}  // namespace sentry
