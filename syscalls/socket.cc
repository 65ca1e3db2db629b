#include "syscalls/socket.h"

#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <climits>
#include <string>
#include <vector>

#include "sentry/net/family.h"

namespace syscalls {

using sentry::SocketAddress;
using sentry::SocketKind;

namespace {

constexpr int kTypeMask = 0xf;
constexpr int kMaxType = 11, kMaxFamily = 46;  // SOCK_MAX, AF_MAX.
constexpr int kMaxBacklog = 4096;              // net.core.somaxconn.
// The largest option value that is read: more than any family's (optmem_max).
constexpr int kMaxOption = 131072;

struct TypeAndFlags {
  SocketKind kind;
  OpenFlags flags;
  bool close_on_exec;
};

Result<TypeAndFlags> Decode(int domain, int type, int protocol) {
  if ((type & ~(kTypeMask | SOCK_CLOEXEC | SOCK_NONBLOCK)) != 0) return Errno(EINVAL);
  const int plain = type & kTypeMask;
  if (domain < 0 || domain >= kMaxFamily) return Errno(EAFNOSUPPORT);
  if (plain >= kMaxType) return Errno(EINVAL);
  return TypeAndFlags{{domain, plain, protocol},
                      OpenFlags((type & SOCK_NONBLOCK) != 0 ? O_NONBLOCK : 0),
                      (type & SOCK_CLOEXEC) != 0};
}

}  // namespace

namespace {

Result<Ref<sentry::Socket>> SocketOf(File& file) {
  auto* const socket = sentry::FileCast<sentry::Socket>(file);
  if (socket == nullptr) return Errno(ENOTSOCK);
  return Ref<sentry::Socket>::Share(*socket);
}

}  // namespace

Result<Ref<sentry::Socket>> GetSocket(Task& task, Fd fd) {
  return SocketOf(*TRY(GetFile(task, fd)));
}

Result<SocketAddress> ReadAddress(Task& task, UserAddr address, int size) {
  if (size < 0 || size > static_cast<int>(SocketAddress::kMaxSize)) return Errno(EINVAL);
  SocketAddress read;
  read.size = static_cast<uint32_t>(size);
  if (size > 0) TRY(task.mem().ReadBytes(address, std::span(read.bytes).first(read.size)));
  return read;
}

Status WriteAddress(Task& task, const SocketAddress& from, UserAddr address, UserPtr<int> size) {
  const int room = TRY(task.mem().Read(size));
  if (room < 0) return Errno(EINVAL);
  const size_t count = std::min<size_t>(static_cast<size_t>(room), from.size);
  if (count > 0) TRY(task.mem().WriteBytes(address, from.data().first(count)));
  return task.mem().Write(size, static_cast<int>(from.size));
}

Result<Fd> Socket(Task& task, int domain, int type, int protocol) {
  const TypeAndFlags what = TRY(Decode(domain, type, protocol));
  return task.AddFd(TRY(sentry::CreateSocket(task, what.kind, what.flags)), what.close_on_exec);
}

Status Socketpair(Task& task, int domain, int type, int protocol, UserPtr<std::array<int, 2>> fds) {
  const TypeAndFlags what = TRY(Decode(domain, type, protocol));
  auto ends = TRY(sentry::CreateSocketPair(task, what.kind, what.flags));
  const Fd first = TRY(task.AddFd(std::move(ends.first), what.close_on_exec));
  const Result<Fd> second = task.AddFd(std::move(ends.second), what.close_on_exec);
  Status written = Errno(EMFILE);
  if (second.ok()) {
    written = task.mem().Write(
        fds, std::array<int, 2>{static_cast<int>(first), static_cast<int>(*second)});
  }
  if (!written.ok()) {
    (void)task.fds().Remove(first);
    if (second.ok()) (void)task.fds().Remove(*second);
  }
  return written;
}

Status Bind(Task& task, Fd fd, UserAddr address, int size) {
  const Ref<sentry::Socket> socket = TRY(GetSocket(task, fd));
  return socket->Bind(task, TRY(ReadAddress(task, address, size)));
}

Status Listen(Task& task, Fd fd, int backlog) {
  const Ref<sentry::Socket> socket = TRY(GetSocket(task, fd));
  // Compared as unsigned: what is negative is a lot.
  if (backlog < 0 || backlog > kMaxBacklog) backlog = kMaxBacklog;
  return socket->Listen(task, backlog);
}

namespace {

// Attempts until the queue of the other end has room, whichever end that is by then.
Status ConnectWithRoom(Task& task, sentry::Socket& socket, const SocketAddress& address,
                       sentry::Deadline deadline) {
  Status status = socket.Connect(task, address);
  while (!status.ok() && status.error() == Errno(EAGAIN) && !socket.nonblocking()) {
    const Ref<sentry::WaitPoint> room = socket.ConnectQueue();
    sentry::Waiter waiter(task);
    waiter.Watch(&room->queue, POLLOUT);
    status = socket.Connect(task, address);
    if (status.ok() || status.error() != Errno(EAGAIN)) return status;
    if (socket.ConnectQueue().get() != room.get()) continue;
    const Status slept = waiter.Sleep(deadline);
    if (!slept.ok()) return WaitEnded(slept.error(), deadline);
  }
  return status;
}

}  // namespace

Status Connect(Task& task, Fd fd, UserAddr user_address, int size) {
  const Ref<sentry::Socket> socket = TRY(GetSocket(task, fd));
  const SocketAddress address = TRY(ReadAddress(task, user_address, size));
  const sentry::Deadline deadline = SocketDeadline(socket->options().send_timeout_ns);
  Status status = ConnectWithRoom(task, *socket, address, deadline);
  const bool under_way =
      !status.ok() && (status.error() == Errno(EINPROGRESS) || status.error() == Errno(EALREADY));
  if (!under_way || socket->nonblocking()) return status;
  status = RetrySocket(task, *socket, POLLOUT, deadline, [&]() -> Status {
    const Status finished = socket->FinishConnect();
    if (!finished.ok() && finished.error() == Errno(EALREADY)) return Errno(EAGAIN);
    return finished;
  });
  return !status.ok() && status.error() == Errno(EAGAIN) ? Status(Errno(EINPROGRESS)) : status;
}

Result<Fd> Accept4(Task& task, Fd fd, UserAddr address, UserPtr<int> size, int flags) {
  const Ref<File> file = TRY(GetFile(task, fd));
  if ((flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) != 0) return Errno(EINVAL);
  // First, so that no connection is taken that there is no descriptor for.
  ReservedFd reserved(task, TRY(task.ReserveFd()));
  const Ref<sentry::Socket> socket = TRY(SocketOf(*file));
  const OpenFlags open((flags & SOCK_NONBLOCK) != 0 ? O_NONBLOCK : 0);
  const auto attempt = [&] { return socket->Accept(task, open); };
  const sentry::Deadline deadline = SocketDeadline(socket->options().receive_timeout_ns);
  const Ref<sentry::Socket> accepted =
      TRY(RetrySocket(task, *socket, POLLIN, deadline, attempt, socket->reader_turn()));
  if (address) {
    const auto peer = accepted->PeerAddress();
    TRY(WriteAddress(task, peer.ok() ? *peer : SocketAddress(), address, size));
  }
  return reserved.Install(accepted, (flags & SOCK_CLOEXEC) != 0);
}

Result<Fd> Accept(Task& task, Fd fd, UserAddr address, UserPtr<int> size) {
  return Accept4(task, fd, address, size, 0);
}

Status Getsockname(Task& task, Fd fd, UserAddr address, UserPtr<int> size) {
  const Ref<sentry::Socket> socket = TRY(GetSocket(task, fd));
  return WriteAddress(task, TRY(socket->LocalAddress()), address, size);
}

Status Getpeername(Task& task, Fd fd, UserAddr address, UserPtr<int> size) {
  const Ref<sentry::Socket> socket = TRY(GetSocket(task, fd));
  return WriteAddress(task, TRY(socket->PeerAddress()), address, size);
}

Status Shutdown(Task& task, Fd fd, int how) {
  const Ref<sentry::Socket> socket = TRY(GetSocket(task, fd));
  if (how < SHUT_RD || how > SHUT_RDWR) return Errno(EINVAL);
  return socket->Shutdown(how);
}

namespace {

// Such options say in their header, on the way in, what is asked for.
Result<std::string> GetSources(Task& task, sentry::Socket& socket, int level, int option,
                               UserAddr value, size_t room) {
  std::array<std::byte, 144> header;
  const auto asked = std::span(header).first(std::min(room, sentry::SourceListHeader(option)));
  if (!asked.empty()) TRY(task.mem().ReadBytes(value, asked));
  return socket.GetSources(level, option, asked);
}

}  // namespace

Status Getsockopt(Task& task, Fd fd, int level, int option, UserAddr value, UserPtr<int> size) {
  const Ref<sentry::Socket> socket = TRY(GetSocket(task, fd));
  const int room = TRY(task.mem().Read(size));
  if (room < 0) return Errno(EINVAL);
  const std::string bytes =
      TRY(sentry::IsSourceList(level, option)
              ? GetSources(task, *socket, level, option, value, static_cast<size_t>(room))
              : socket->GetOption(task, level, option, static_cast<size_t>(room)));
  constexpr int kSoPeerGroups = 59;
  const int whole = static_cast<int>(bytes.size());
  if (level == SOL_SOCKET && option == kSoPeerGroups && whole > room) {
    TRY(task.mem().Write(size, whole));
    return Errno(ERANGE);
  }
  const int count = std::min(room, whole);
  const auto told = std::as_bytes(std::span(bytes.data(), static_cast<size_t>(count)));
  if (count > 0) TRY(task.mem().WriteBytes(value, told));
  return task.mem().Write(size, count);
}

Status Setsockopt(Task& task, Fd fd, int level, int option, UserAddr value, int size) {
  if (size < 0) return Errno(EINVAL);
  const Ref<sentry::Socket> socket = TRY(GetSocket(task, fd));
  std::vector<std::byte> bytes(static_cast<size_t>(std::min(size, kMaxOption)));
  if (!bytes.empty()) TRY(task.mem().ReadBytes(value, bytes));
  return socket->SetOption(task, level, option, bytes);
}

}  // namespace syscalls
