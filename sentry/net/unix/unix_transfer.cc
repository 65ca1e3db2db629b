// Sending and receiving: unix_stream_sendmsg(), unix_dgram_sendmsg() and their counterparts.
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "sentry/net/unix/unix_socket.h"
#include "sentry/net/unix/unix_sockets.h"
#include "sentry/task/kernel.h"
#include "sentry/task/task.h"

namespace sentry {

bool UnixSocket::WantsCredentials() const {
  return options().has(SocketOptions::kPassCredentials) || options().has(SocketOptions::kPassPidfd);
}

void UnixSocket::FillCredentials(IncomingMessage& message) const {
  if (!WantsCredentials()) {
    message.control.credentials.reset();
    return;
  }
  if (!message.control.credentials) message.control.credentials.emplace();
  message.control.pass_credentials = options().has(SocketOptions::kPassCredentials);
  message.control.pidfd = options().has(SocketOptions::kPassPidfd);
}

void UnixSocket::AttachCredentials(ControlData& control, bool wanted) const {
  if (control.credentials || !(wanted || WantsCredentials())) return;
  Task* const task = Task::Current();
  if (task != nullptr) control.credentials = CredentialsOf(*task);
}

void UnixSocket::CountSentSockets(const FileRights& rights) const {
  for (const Ref<File>& file : rights.files()) {
    const auto* const socket = FileCast<Socket>(*file);
    if (socket != nullptr && socket->what().domain == AF_UNIX) end_->table().CountSentSocket();
  }
}

Result<size_t> UnixSocket::Send(IoSrc& src, OutgoingMessage& message) {
  if (HostUnixSocket* const socket = host()) return socket->Send(src, message);
  const bool urgent = (message.flags & MSG_OOB) != 0;
  if (urgent && !(is_stream() && src.remaining() > 0)) return Errno(EOPNOTSUPP);
  return is_stream() ? SendStream(src, message) : SendMessage(src, message);
}

Result<size_t> UnixSocket::Receive(IoDst& dst, IncomingMessage& message) {
  if (HostUnixSocket* const socket = host()) return socket->Receive(dst, message);
  if ((message.flags & MSG_OOB) != 0 && !is_stream()) return Errno(EOPNOTSUPP);
  return is_stream() ? ReceiveStream(dst, message) : ReceiveMessage(dst, message);
}

Result<size_t> UnixSocket::SendStream(IoSrc& src, OutgoingMessage& message) {
  Ref<ByteStream> out;
  bool wanted;
  {
    absl::MutexLock lock(&end_->mu);
    if (message.to != nullptr) {
      return Errno(end_->state == State::kConnected ? EISCONN : EOPNOTSUPP);
    }
    if (!end_->peer) return Errno(ENOTCONN);
    out = end_->out;
    wanted = end_->peer->wants_credentials;
  }
  if ((end_->shut() & UnixEnd::kShutSend) != 0) return Errno(EPIPE);
  ControlData& control = message.control;
  AttachCredentials(control, wanted);
  TRY(ChargeRights(control.rights));
  const auto room = static_cast<size_t>(options().send_buffer.load());
  const bool urgent = (message.flags & MSG_OOB) != 0;
  if (urgent && src.remaining() == 1) return SendUrgent(*out, src, room, control);
  // In front of an urgent byte the others go the ordinary way; the caller sends the rest.
  return out->Write(src, room, &control, urgent ? 1 : 0);
}

Result<size_t> UnixSocket::SendUrgent(ByteStream& out, IoSrc& src, size_t room,
                                      ControlData& control) {
  std::byte value{};
  if (TRY(src.CopyIn(std::span(&value, 1))) != 1) return Errno(EFAULT);
  const Status sent = out.WriteUrgent(value, room, &control);
  if (sent.ok()) return size_t{1};
  src.Unread(1);
  return sent.error();
}

// too_many_unix_fds() of Linux.
Status UnixSocket::ChargeRights(FileRights& rights) const {
  Task* const task = Task::Current();
  if (rights.empty() || rights.charged() || task == nullptr) return kOk;
  const Credentials& creds = task->creds();
  if (FileRights::InFlight(creds.uid) > task->Limit(RLIMIT_NOFILE) &&
      !creds.HasCapability(CAP_SYS_RESOURCE) && !creds.HasCapability(CAP_SYS_ADMIN)) {
    return Errno(ETOOMANYREFS);
  }
  rights.Charge(creds.uid);
  CountSentSockets(rights);
  return kOk;
}

Result<Ref<UnixEnd>> UnixSocket::MessageTarget(const OutgoingMessage& message) {
  if (message.to != nullptr && end_->type == SOCK_DGRAM) {
    const std::string name = TRY(UnixName(*message.to));
    Task* const task = Task::Current();
    if (task == nullptr) return Errno(EINVAL);
    return Find(*task, name);
  }
  absl::MutexLock lock(&end_->mu);
  if (!end_->peer) return Errno(ENOTCONN);
  return end_->peer;
}

// Asks to hear of room in the queue of `target`, unless there is some. Who neither waits nor is
// connected to it does not want to hear (unix_dgram_poll() of Linux looks at the peer only).
bool UnixSocket::MayQueue(UnixEnd& target, const OutgoingMessage& message) const {
  const bool waits = message.to == nullptr || (message.flags & MSG_DONTWAIT) == 0;
  return waits ? !target.AwaitRoom(*end_) : !target.IsFullFor(*end_);
}

Result<size_t> UnixSocket::SendMessage(IoSrc& src, OutgoingMessage& message) {
  const size_t size = src.remaining();
  const auto limit = static_cast<size_t>(options().send_buffer.load());
  if ((end_->shut() & UnixEnd::kShutSend) != 0) return Errno(EPIPE);
  const Ref<UnixEnd> target = TRY(MessageTarget(message));
  if (size > limit - 32) return Errno(EMSGSIZE);
  if (WantsCredentials() && end_->type == SOCK_DGRAM) TRY(Autobind());
  if (end_->in_flight.load() >= limit) return Errno(EAGAIN);
  if (target->IsFullFor(*end_) && !MayQueue(*target, message)) return Errno(EAGAIN);

  UnixEnd::Message made;
  made.bytes = std::make_unique_for_overwrite<std::byte[]>(size);
  if (size > 0) {
    const size_t copied = TRY(src.CopyIn({made.bytes.get(), size}));
    if (copied < size) {
      src.Unread(copied);
      return Errno(EFAULT);
    }
  }
  // What the receiver's filter drops has been sent all the same.
  const auto kept = target->filter.Keep({made.bytes.get(), size});
  if (!kept) return size;
  made.size = static_cast<uint32_t>(*kept);
  made.sender = end_;
  AttachCredentials(message.control, target->wants_credentials);
  TRY(ChargeRights(message.control.rights));
  made.control = std::move(message.control);
  Status delivered = target->Deliver(made, end_);
  while (!delivered.ok() && delivered.error() == Errno(EAGAIN) && MayQueue(*target, message)) {
    delivered = target->Deliver(made, end_);
  }
  if (delivered.ok()) return size;
  message.control = std::move(made.control);
  src.Unread(size);
  if (delivered.error() != Errno(ECONNREFUSED)) return delivered.error();
  if (end_->type == SOCK_SEQPACKET) return Errno(EPIPE);
  // A peer that has gone is forgotten.
  absl::MutexLock lock(&end_->mu);
  if (end_->peer.get() == target.get()) {
    end_->peer = nullptr;
    end_->state = State::kIdle;
  }
  return Errno(ECONNREFUSED);
}

Result<size_t> UnixSocket::ReceiveStream(IoDst& dst, IncomingMessage& message) {
  Ref<ByteStream> in;
  Ref<UnixEnd> peer;
  {
    absl::MutexLock lock(&end_->mu);
    if (!end_->in) return Errno(EINVAL);
    in = end_->in;
    if (message.wants_name) peer = end_->peer;
  }
  message.keep_apart = WantsCredentials();
  message.oob_inline = options().has(SocketOptions::kOobInline);
  if ((message.flags & MSG_OOB) != 0) return ReceiveUrgent(*in, dst, message);
  const int peek_offset = options().peek_offset.load();
  const bool peeks = (message.flags & MSG_PEEK) != 0;
  const auto received =
      in->Read(dst, message, peeks && peek_offset > 0 ? static_cast<size_t>(peek_offset) : 0);
  if (!received.ok() || (*received == 0 && dst.remaining() > 0)) {
    // A reset is told once, when there is nothing more to read.
    if (!received.ok() && received.error() != Errno(EAGAIN)) return received;
    TRY(TakeError());
    return received;
  }
  if (peek_offset >= 0) {
    const int count = static_cast<int>(*received);
    options().peek_offset = peeks ? peek_offset + count : std::max(peek_offset - count, 0);
  }
  FillCredentials(message);
  if (peer) message.from = peer->Name();
  if (message.from.size <= sizeof(sa_family_t)) message.from = {};
  return received;
}

Result<size_t> UnixSocket::ReceiveUrgent(ByteStream& in, IoDst& dst, IncomingMessage& message) {
  if (message.oob_inline) return Errno(EINVAL);
  const bool peeks = (message.flags & MSG_PEEK) != 0;
  const std::byte value =
      TRY(in.ReadUrgent(peeks ? ByteStream::Take::kPeek : ByteStream::Take::kTake));
  message.answer_flags |= MSG_OOB;
  if (dst.remaining() == 0) return size_t{1};  // Lost, and not even told of.
  return dst.CopyOut({&value, 1});
}

Result<size_t> UnixSocket::PeekMessage(IoDst& dst, IncomingMessage& message) {
  std::unique_ptr<std::byte[]> bytes;
  size_t size, skip;
  Ref<UnixEnd> sender;
  {
    absl::MutexLock lock(&end_->mu);
    const int offset = options().peek_offset.load();
    skip = offset > 0 ? static_cast<size_t>(offset) : 0;
    auto it = end_->messages.begin();
    // The message in which the offset lies; an empty one is passed over by it.
    while (it != end_->messages.end() && skip > 0 && skip >= it->size) skip -= (it++)->size;
    if (it == end_->messages.end()) return Errno(EAGAIN);
    size = it->size;
    bytes = std::make_unique_for_overwrite<std::byte[]>(size);
    memcpy(bytes.get(), it->bytes.get(), size);
    message.control.credentials = it->control.credentials;
    message.control.rights = it->control.rights.Copy();
    sender = it->sender;
  }
  FillCredentials(message);
  message.from = sender->Name();
  const size_t count = std::min(size - skip, dst.remaining());
  if (count < size - skip) message.answer_flags |= MSG_TRUNC;
  message.full_size = size - skip;
  if (options().peek_offset >= 0) options().peek_offset += static_cast<int>(count);
  if (count > 0) TRY(dst.CopyOut({bytes.get() + skip, count}));
  return count;
}

Result<size_t> UnixSocket::ReceiveMessage(IoDst& dst, IncomingMessage& message) {
  if (end_->type == SOCK_SEQPACKET) {
    absl::MutexLock lock(&end_->mu);
    if (end_->state != State::kConnected) return Errno(ENOTCONN);
  }
  TRY(TakeError());
  const bool peeks = (message.flags & MSG_PEEK) != 0;
  const auto nothing = [&](Errno error) -> Result<size_t> {
    if (error != Errno(EAGAIN) || (end_->shut() & UnixEnd::kShutReceive) == 0) return error;
    // The end of the messages; for datagrams only who would wait is told of it.
    if (end_->type == SOCK_SEQPACKET || (message.flags & MSG_DONTWAIT) == 0) return size_t{0};
    return error;
  };
  if (peeks) {
    const auto peeked = PeekMessage(dst, message);
    return peeked.ok() ? peeked : nothing(peeked.error());
  }
  Result<UnixEnd::Message> taken = end_->TakeMessage();
  if (!taken.ok()) return nothing(taken.error());
  const size_t size = taken->size;
  const int offset = options().peek_offset.load();
  if (offset >= 0) options().peek_offset = std::max(offset - static_cast<int>(size), 0);
  message.control.credentials = std::move(taken->control.credentials);
  message.control.rights = std::move(taken->control.rights);
  FillCredentials(message);
  message.from = taken->sender->Name();
  if (message.from.size <= sizeof(sa_family_t)) message.from = {};
  const size_t count = std::min(size, dst.remaining());
  if (count < size) message.answer_flags |= MSG_TRUNC;
  message.full_size = size;
  if (count > 0) TRY(dst.CopyOut({taken->bytes.get(), count}));
  return count;
}

uint32_t UnixSocket::Poll() {
  if (HostUnixSocket* const socket = host()) return socket->Poll();
  const int shut = end_->shut();
  const auto limit = static_cast<size_t>(options().send_buffer.load());
  uint32_t events = has_error() ? POLLERR : 0;
  if (shut == UnixEnd::kShutBoth) events |= POLLHUP;
  if ((shut & UnixEnd::kShutReceive) != 0) events |= POLLRDHUP | kPollReadable;
  Ref<UnixEnd> peer;
  Ref<ByteStream> in, out;
  State state;
  {
    absl::MutexLock lock(&end_->mu);
    if (!end_->messages.empty() || !end_->pending.empty()) events |= kPollReadable;
    state = end_->state;
    in = end_->in;
    out = end_->out;
    if (end_->type == SOCK_DGRAM) peer = end_->peer;
  }
  if (in) events |= in->PollReader();
  if (end_->type != SOCK_DGRAM && state == State::kIdle) events |= POLLHUP;
  bool writable = state != State::kListening &&
                  (out ? out->closed() || out->IsRoomy(limit) : end_->in_flight * 4 <= limit);
  if (writable && peer && peer->IsFullFor(*end_) && peer->AwaitRoom(*end_)) writable = false;
  return writable ? events | kPollWritable : events;
}

}  // namespace sentry
