#include "sentry/net/unix/unix_socket.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "sentry/fs/anon/pidfd.h"
#include "sentry/net/devices/ioctl.h"
#include "sentry/net/unix/unix_sockets.h"
#include "sentry/task/kernel.h"
#include "sentry/task/namespaces.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

constexpr size_t kNameOffset = offsetof(sockaddr_un, sun_path);
constexpr int kSoPeerPidfd = 77, kSoPeerGroups = 59;

Status CheckKind(const SocketKind& what) {
  if (what.protocol != 0 && what.protocol != PF_UNIX) return Errno(EPROTONOSUPPORT);
  // SOCK_RAW has always been taken for SOCK_DGRAM; CreateSocket has replaced it.
  const bool known =
      what.type == SOCK_STREAM || what.type == SOCK_DGRAM || what.type == SOCK_SEQPACKET;
  return known ? Status(kOk) : Errno(ESOCKTNOSUPPORT);
}

Ref<UnixSocket> NewSocket(Task& task, const SocketKind& what, OpenFlags flags) {
  auto space = Ref<NetworkNamespace>::Share(task.namespaces().network());
  auto end = MakeRef<UnixEnd>(space->ino(), what.type);
  return MakeRef<UnixSocket>(std::move(space), std::move(end), flags);
}

SocketKind Normalised(SocketKind what) {
  if (what.type == SOCK_RAW) what.type = SOCK_DGRAM;
  return what;
}

}  // namespace

Result<std::string> UnixName(const SocketAddress& address) {
  if (address.size < kNameOffset || address.size > sizeof(sockaddr_un)) return Errno(EINVAL);
  if (address.family() != AF_UNIX) return Errno(EINVAL);
  std::string name(reinterpret_cast<const char*>(address.bytes.data()) + kNameOffset,
                   address.size - kNameOffset);
  if (!name.empty() && name[0] != '\0') name.resize(strnlen(name.data(), name.size()));
  return name;
}

bool IsSeenBy(const Task& task, const SocketCredentials& who) {
  return !who.process || &who.process->kernel == &task.kernel();
}

SocketCredentials CredentialsOf(Task& task) {
  const Credentials& creds = task.creds();
  return {.pid = task.tgid(),
          .uid = creds.euid,
          .gid = creds.egid,
          .process = Ref<ThreadGroup>::Share(task.group())};
}

namespace {

UnixEnd::Peer PeerOf(Task& task) { return {CredentialsOf(task), task.creds().groups}; }

}  // namespace

UnixSocket::UnixSocket(Ref<NetworkNamespace> space, Ref<UnixEnd> end, OpenFlags flags)
    : Socket({AF_UNIX, end->type, 0}, flags, end), space_(std::move(space)), end_(std::move(end)) {
  end_->inode_number = inode_number();
  end_->table().SetSocket(*end_, this);
}

UnixSocket::~UnixSocket() {
  (void)Ref<HostUnixSocket>::Adopt(host_.exchange(nullptr));
  end_->table().SetSocket(*end_, nullptr);
  end_->Close();
}

Result<Ref<Socket>> UnixSocket::Create(Task& task, const SocketKind& what, OpenFlags flags) {
  const SocketKind kind = Normalised(what);
  TRY(CheckKind(kind));
  return Ref<Socket>(NewSocket(task, kind, flags));
}

Result<SocketPair> UnixSocket::CreatePair(Task& task, const SocketKind& what, OpenFlags flags) {
  const SocketKind kind = Normalised(what);
  TRY(CheckKind(kind));
  const Ref<UnixSocket> first = NewSocket(task, kind, flags);
  const Ref<UnixSocket> second = NewSocket(task, kind, flags);
  (void)UnixEnd::Connect(first->end_, second->end_);
  for (const Ref<UnixSocket>& socket : {first, second}) {
    absl::MutexLock lock(&socket->end_->mu);
    socket->end_->own = PeerOf(task);
    socket->end_->peers = socket->end_->own;
  }
  return SocketPair(first, second);
}

Status UnixSocket::Autobind() {
  {
    absl::MutexLock lock(&end_->mu);
    if (!end_->name.empty()) return kOk;
  }
  Result<std::string> name = end_->table().BindAny(*end_);
  // Another thread has just given it one.
  if (!name.ok()) return name.error() == Errno(EINVAL) ? Status(kOk) : name.error();
  absl::MutexLock lock(&end_->mu);
  end_->name = *std::move(name);
  return kOk;
}

Status UnixSocket::BindPath(Task& task, const std::string& name) {
  const WalkContext context = task.walk_context();
  const uint32_t permissions = TRY(inode().GetAttributes()).mode & 07777;
  const Status made = task.vfs().MakeSocket(context, name, permissions, end_->type);
  if (!made.ok()) return made.error() == Errno(EEXIST) ? Errno(EADDRINUSE) : made.error();
  Path path = TRY(task.vfs().Walk(context, name, {.follow_last = false}));
  if (auto fd = path.dentry->inode().TakeHostSocket(); fd.ok()) {
    {
      absl::MutexLock lock(&end_->mu);
      end_->name = name;
      end_->path = std::move(path);
    }
    return MoveToHost(*std::move(fd), HostUnixSocket::State::kBound, {});
  }
  const Attributes attributes = TRY(task.vfs().GetAttributes(path));
  const Status bound = end_->table().BindNode(*end_, {attributes.dev, attributes.ino});
  if (!bound.ok()) {
    // Another thread was first.
    (void)task.vfs().Unlink(context, name);
    return bound;
  }
  absl::MutexLock lock(&end_->mu);
  end_->name = name;
  end_->path = std::move(path);
  return kOk;
}

Status UnixSocket::Bind(Task& task, const SocketAddress& address) {
  const std::string name = TRY(UnixName(address));
  {
    absl::MutexLock lock(&end_->mu);
    if (!end_->name.empty()) return name.empty() ? Status(kOk) : Errno(EINVAL);
  }
  if (name.empty()) return Autobind();
  if (name[0] != '\0') return BindPath(task, name);
  TRY(end_->table().BindAbstract(*end_, name));
  absl::MutexLock lock(&end_->mu);
  end_->name = name;
  return kOk;
}

Result<Ref<UnixEnd>> UnixSocket::Find(Task& task, const std::string& name) const {
  if (name.empty()) return Errno(EINVAL);
  UnixSockets& table = end_->table();
  if (name[0] == '\0') return table.FindAbstract(*end_, name);
  const WalkContext context = task.walk_context();
  const Path path = TRY(task.vfs().Walk(context, name, {}));
  const Attributes attributes = TRY(task.vfs().GetAttributes(path));
  TRY(Vfs::CheckAccess(attributes, context.creds, W_OK));
  if (!S_ISSOCK(attributes.mode)) return Errno(ECONNREFUSED);
  Ref<UnixEnd> found = TRY(table.FindNode({attributes.dev, attributes.ino}));
  if (found->type != end_->type) return Errno(EPROTOTYPE);
  return found;
}

Status UnixSocket::MoveToHost(UniqueFd fd, HostUnixSocket::State state, const SocketAddress& peer) {
  auto socket = MakeRef<HostUnixSocket>(what(), OpenFlags(), wait_point(), std::move(fd), state,
                                        end_->Name(), peer);
  absl::MutexLock lock(&connect_mu_);
  if (host() != nullptr) return Errno(EISCONN);
  {
    absl::MutexLock own(&end_->mu);
    if (end_->state == State::kConnected) return Errno(EISCONN);
    if (end_->state != State::kIdle) return Errno(EINVAL);
  }
  host_.store(socket.Leak(), std::memory_order_release);
  Notify(POLLOUT | POLLWRNORM);
  return kOk;
}

Status UnixSocket::ConnectOnHost(Task& task, const SocketAddress& address, const std::string& name,
                                 Errno why) {
  if (why != Errno(ECONNREFUSED) || name.empty() || name[0] == '\0') return why;
  const WalkContext context = task.walk_context();
  const Path path = TRY(task.vfs().Walk(context, name, {}));
  for (;;) {
    Result<UniqueFd> fd = path.dentry->inode().ConnectHostSocket(end_->type);
    if (fd.ok()) return MoveToHost(*std::move(fd), HostUnixSocket::State::kConnected, address);
    if (fd.error() != Errno(EAGAIN) || nonblocking()) return fd.error();
    // The server's queue is full, and the host tells nobody when it is not any more.
    constexpr int64_t kPause = 10'000'000;
    const Status slept = Waiter(task).Sleep(Deadline::After(kPause));
    if (!slept.ok() && slept.error() != Errno(ETIMEDOUT)) return slept;
  }
}

Status UnixSocket::Listen(Task& task, int backlog) {
  if (HostUnixSocket* const socket = host()) return socket->Listen(task, backlog);
  if (end_->type == SOCK_DGRAM) return Errno(EOPNOTSUPP);
  Ref<WaitPoint> waiting;
  {
    absl::MutexLock lock(&end_->mu);
    if (end_->name.empty()) return Errno(EINVAL);
    if (end_->state != State::kIdle && end_->state != State::kListening) return Errno(EINVAL);
    if (!end_->room) end_->room = MakeRef<WaitPoint>();
    if (backlog > end_->backlog) waiting = end_->room;
    end_->state = State::kListening;
    end_->backlog = backlog;
    end_->own = PeerOf(task);
    end_->peers = end_->own;  // As SO_PEERCRED shows of a listener.
  }
  if (waiting) waiting->queue.Notify(POLLOUT);
  return kOk;
}

Status UnixSocket::CheckListenerLocked(UnixEnd& listener) {
  if (listener.state != State::kListening) return Errno(ECONNREFUSED);
  if ((listener.shut() & UnixEnd::kShutReceive) != 0) return Errno(ECONNREFUSED);
  if (listener.pending.size() <= static_cast<size_t>(listener.backlog)) return kOk;
  connect_queue_ = listener.room;
  return Errno(EAGAIN);
}

Status UnixSocket::Connect(Task& task, const SocketAddress& address) {
  if (HostUnixSocket* const socket = host()) return socket->Connect(task, address);
  if (end_->type == SOCK_DGRAM) return ConnectDatagram(task, address);
  const std::string name = TRY(UnixName(address));
  if (name.empty()) return Errno(EINVAL);
  if (WantsCredentials()) TRY(Autobind());
  const Result<Ref<UnixEnd>> found = Find(task, name);
  if (!found.ok()) return ConnectOnHost(task, address, name, found.error());
  UnixEnd& listener = **found;
  const auto server = MakeRef<UnixEnd>(end_->space, end_->type);
  UnixEnd::Peer theirs;
  absl::MutexLock connecting(&connect_mu_);
  {
    absl::MutexLock lock(&listener.mu);
    TRY(CheckListenerLocked(listener));
    theirs = listener.own;
    absl::MutexLock embryo(&server->mu);
    server->name = listener.name;
    server->path = listener.path;
    server->own = listener.own;
    server->peers = PeerOf(task);
  }
  server->wants_credentials = listener.wants_credentials.load();
  {
    absl::MutexLock lock(&end_->mu);
    if (end_->state == State::kConnected) return Errno(EISCONN);
    if (end_->state != State::kIdle) return Errno(EINVAL);
    end_->own = PeerOf(task);
    end_->peers = std::move(theirs);
  }
  if (!UnixEnd::Connect(end_, server)) return Errno(EINVAL);
  Status queued = kOk;
  {
    // It may have gone, or others may have come, in between.
    absl::MutexLock lock(&listener.mu);
    queued = CheckListenerLocked(listener);
    if (queued.ok()) listener.pending.push_back(server);
  }
  if (!queued.ok()) {
    UnixEnd::Disconnect(end_, server);
    return queued;
  }
  listener.queue.Notify(kPollReadable);
  Notify(POLLOUT | POLLWRNORM);
  return kOk;
}

Status UnixSocket::ConnectDatagram(Task& task, const SocketAddress& address) {
  Ref<UnixEnd> target;
  if (address.family() != AF_UNSPEC) {
    const std::string name = TRY(UnixName(address));
    if (name.empty()) return Errno(EINVAL);
    if (WantsCredentials()) TRY(Autobind());
    const Result<Ref<UnixEnd>> found = Find(task, name);
    if (!found.ok()) return ConnectOnHost(task, address, name, found.error());
    target = *found;
    absl::MutexLock lock(&target->mu);
    if (target->peer && target->peer.get() != end_.get()) return Errno(EPERM);
  }
  Ref<UnixEnd> former;
  {
    absl::MutexLock lock(&end_->mu);
    former = std::exchange(end_->peer, target);
    end_->state = target ? State::kConnected : State::kIdle;
  }
  if (!former || former.get() == target.get()) return kOk;
  // What others have sent to a socket that changes its peer is lost: unix_dgram_disconnected().
  if (!end_->DropMessages().empty()) {
    former->error.store(ECONNRESET);
    former->queue.Notify(POLLERR);
  }
  return kOk;
}

Ref<WaitPoint> UnixSocket::ConnectQueue() {
  absl::MutexLock lock(&connect_mu_);
  return connect_queue_ ? connect_queue_ : wait_point();
}

Result<Ref<Socket>> UnixSocket::Accept(Task& task, OpenFlags flags) {
  if (end_->type == SOCK_DGRAM) return Errno(EOPNOTSUPP);
  if (HostUnixSocket* const socket = host()) return socket->Accept(task, flags);
  Ref<UnixEnd> accepted;
  Ref<WaitPoint> waiting;
  {
    absl::MutexLock lock(&end_->mu);
    if (end_->state != State::kListening) return Errno(EINVAL);
    if (end_->pending.empty()) {
      return Errno((end_->shut() & UnixEnd::kShutReceive) != 0 ? EINVAL : EAGAIN);
    }
    accepted = std::move(end_->pending.front());
    end_->pending.pop_front();
    waiting = end_->room;
  }
  waiting->queue.Notify(POLLOUT);
  auto socket = MakeRef<UnixSocket>(space_, std::move(accepted), flags);
  socket->options().InheritFrom(options());
  socket->end_->send_buffer = options().send_buffer.load();
  return Ref<Socket>(std::move(socket));
}

Result<SocketAddress> UnixSocket::PeerAddress() {
  if (HostUnixSocket* const socket = host()) return socket->PeerAddress();
  Ref<UnixEnd> peer;
  {
    absl::MutexLock lock(&end_->mu);
    peer = end_->peer;
  }
  if (!peer) return Errno(ENOTCONN);
  return peer->Name();
}

Status UnixSocket::Shutdown(int how) {
  if (HostUnixSocket* const socket = host()) return socket->Shutdown(how);
  end_->ShutDown(how == SHUT_RD   ? UnixEnd::kShutReceive
                 : how == SHUT_WR ? UnixEnd::kShutSend
                                  : UnixEnd::kShutBoth);
  return kOk;
}

bool UnixSocket::IsListening() const {
  if (const HostUnixSocket* const socket = host()) return socket->IsListening();
  absl::MutexLock lock(&end_->mu);
  return end_->state == State::kListening;
}

Result<std::string> UnixSocket::GetFamilySocketOption(Task& task, int name) {
  if (HostUnixSocket* const socket = host()) return socket->GetFamilySocketOption(task, name);
  UnixEnd::Peer peers;
  {
    absl::MutexLock lock(&end_->mu);
    peers = end_->peers;
  }
  switch (name) {
    case SO_PEERCRED:
      if (!peers.process) return OptionBytes(ucred{.pid = 0, .uid = UINT32_MAX, .gid = UINT32_MAX});
      return OptionBytes(
          ucred{.pid = IsSeenBy(task, peers) ? peers.pid : 0, .uid = peers.uid, .gid = peers.gid});
    case kSoPeerGroups: {
      if (!peers.process) return Errno(ENODATA);
      std::string bytes;
      for (const uint32_t group : peers.groups) bytes += OptionBytes(group);
      return bytes;
    }
    case kSoPeerPidfd: {
      if (!peers.process) return Errno(ENODATA);
      if (!IsSeenBy(task, peers)) return Errno(ESRCH);
      Ref<File> file = TRY(CreatePidFd(peers.process, 0));
      const Fd fd = TRY(task.AddFd(std::move(file), /*close_on_exec=*/true));
      return OptionBytes(static_cast<int>(fd));
    }
    default:
      return Errno(ENOPROTOOPT);
  }
}

// There are no options but those of SOL_SOCKET (sock_no_getsockopt()).
Result<std::string> UnixSocket::GetOption(Task& task, int level, int name, size_t room) {
  if (level != SOL_SOCKET) return Errno(EOPNOTSUPP);
  return Socket::GetOption(task, level, name, room);
}

Status UnixSocket::SetOption(Task& task, int level, int name, std::span<const std::byte> value) {
  if (level != SOL_SOCKET) return Errno(EOPNOTSUPP);
  TRY(Socket::SetOption(task, level, name, value));
  end_->send_buffer = options().send_buffer.load();
  end_->wants_credentials = WantsCredentials();
  const bool filters = name == SO_ATTACH_FILTER || name == SO_DETACH_FILTER;
  if (filters) end_->filter.Set(options().filter.Get());
  return kOk;
}

Result<int64_t> UnixSocket::OpenNamedFile(Task& task) {
  if (!task.creds().HasCapability(CAP_NET_ADMIN)) return Errno(EPERM);
  Path path;
  {
    absl::MutexLock lock(&end_->mu);
    path = end_->path;
  }
  if (!path.dentry) return Errno(ENOENT);  // Without a name, or with an abstract one.
  Ref<File> file = TRY(task.vfs().OpenPath(task.walk_context(), path, OpenFlags(O_PATH)));
  return static_cast<int64_t>(TRY(task.AddFd(std::move(file), true)));
}

Result<int64_t> UnixSocket::Ioctl(Task& task, uint32_t command, uint64_t arg) {
  constexpr uint32_t kOpenNamedFile = SIOCPROTOPRIVATE;  // SIOCUNIXFILE.
  if (command == kOpenNamedFile) return OpenNamedFile(task);
  const bool counts = command == SIOCOUTQ || command == SIOCINQ;
  if (HostUnixSocket* const socket = host(); socket != nullptr && counts) {
    return socket->Ioctl(task, command, arg);
  }
  int32_t bytes = 0;
  if (command == SIOCOUTQ) {
    Ref<ByteStream> out;
    {
      absl::MutexLock lock(&end_->mu);
      out = end_->out;
    }
    bytes = static_cast<int32_t>(out ? out->size() : end_->in_flight.load());
  } else if (command == SIOCATMARK) {
    absl::MutexLock lock(&end_->mu);
    bytes = end_->in && end_->in->AtUrgent() ? 1 : 0;
  } else if (command == SIOCINQ) {
    absl::MutexLock lock(&end_->mu);
    if (end_->state == State::kListening) return Errno(EINVAL);
    if (end_->in) {
      bytes = static_cast<int32_t>(end_->in->size());
    } else if (end_->type == SOCK_SEQPACKET) {
      bytes = static_cast<int32_t>(end_->message_bytes);
    } else if (!end_->messages.empty()) {
      bytes = static_cast<int32_t>(end_->messages.front().size);
    }
  } else {
    return DeviceIoctl(task, space_->devices(), AF_UNIX, command, arg);
  }
  TRY(task.mem().Write(UserPtr<int32_t>{UserAddr{arg}}, bytes));
  return int64_t{0};
}

void UnixSocket::ArmHostEvents(uint32_t events) {
  if (HostUnixSocket* const socket = host()) socket->ArmHostEvents(events);
}

void UnixSocket::OnLastClose() {
  end_->Close();
  end_->table().CollectGarbage();
}

}  // namespace sentry
