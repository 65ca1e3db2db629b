#include "sentry/net/unix/unix_end.h"

#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "sentry/net/unix/unix_sockets.h"

namespace sentry {
UnixEnd::UnixEnd(uint64_t space, int type) : space(space), type(type) { table().Add(*this); }

UnixSockets& UnixEnd::table() { return UnixSockets::Get(); }

UnixEnd::~UnixEnd() { table().Remove(*this); }

SocketAddress UnixEnd::Name() const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  size_t size = offsetof(sockaddr_un, sun_path);
  absl::MutexLock lock(&mu);
  memcpy(address.sun_path, name.data(), name.size());
  size += name.size();
  // A path is shown with its NUL, for which there may be no room in the structure.
  if (!name.empty() && name[0] != '\0') ++size;
  SocketAddress told;
  memcpy(told.bytes.data(), &address, sizeof(address));
  told.size = static_cast<uint32_t>(size);
  return told;
}

bool UnixEnd::Connect(const Ref<UnixEnd>& a, const Ref<UnixEnd>& b) {
  const bool stream = a->type == SOCK_STREAM;
  const Ref<ByteStream> forth = stream ? MakeRef<ByteStream>(b, a) : nullptr;
  const Ref<ByteStream> back = stream ? MakeRef<ByteStream>(a, b) : nullptr;
  {
    // Nobody else knows of this end: it may be done first, and undone.
    absl::MutexLock lock(&b->mu);
    b->state = State::kConnected;
    b->peer = a;
    b->in = forth;
    b->out = back;
  }
  {
    absl::MutexLock lock(&a->mu);
    if (a->state == State::kIdle) {
      a->state = State::kConnected;
      a->peer = b;
      a->in = back;
      a->out = forth;
      return true;
    }
  }
  b->Unlink();
  return false;
}

void UnixEnd::Disconnect(const Ref<UnixEnd>& a, const Ref<UnixEnd>& b) {
  bool linked;
  {
    absl::MutexLock lock(&a->mu);
    linked = a->state == State::kConnected && a->peer.get() == b.get();
  }
  if (linked) a->Unlink();
  b->Unlink();
}

void UnixEnd::Unlink() {
  Ref<UnixEnd> former;
  Ref<ByteStream> last_in, last_out;  // Dropped without the lock: they hold this end.
  absl::MutexLock lock(&mu);
  if (state == State::kConnected) state = State::kIdle;
  former = std::exchange(peer, nullptr);
  last_in = std::exchange(in, nullptr);
  last_out = std::exchange(out, nullptr);
}

void UnixEnd::ShutDown(int bits) {
  if ((shut_.fetch_or(bits) & bits) == bits) return;
  Ref<ByteStream> no_more_in, no_more_out;
  Ref<UnixEnd> other;
  Ref<WaitPoint> connecting;
  {
    absl::MutexLock lock(&mu);
    if ((bits & kShutReceive) != 0) no_more_in = in;
    if ((bits & kShutSend) != 0) no_more_out = out;
    if (type != SOCK_DGRAM) other = peer;
    if (state == State::kListening) connecting = room;
  }
  if (no_more_in) no_more_in->CloseWriter();
  if (no_more_out) no_more_out->CloseWriter();
  if (other) {
    const int mirrored =
        ((bits & kShutReceive) != 0 ? kShutSend : 0) | ((bits & kShutSend) != 0 ? kShutReceive : 0);
    other->shut_.fetch_or(mirrored);
    other->queue.Notify(kPollReadable | kPollWritable | POLLRDHUP | POLLHUP);
  }
  queue.Notify(kPollReadable | kPollWritable | POLLRDHUP | POLLHUP);
  // Who waits to connect is refused from now on.
  if (connecting) connecting->queue.Notify(kPollWritable);
}

void UnixEnd::Close() {
  std::list<Message> unread;
  std::list<Ref<UnixEnd>> embryos;
  Ref<UnixEnd> other;
  Ref<ByteStream> last_in, last_out;
  Ref<WaitPoint> connecting;
  State before;
  table().ForgetName(*this);
  {
    absl::MutexLock lock(&mu);
    before = std::exchange(state, State::kClosed);
    unread.swap(messages);
    embryos.swap(pending);
    other = std::exchange(peer, nullptr);
    last_in = std::exchange(in, nullptr);
    last_out = std::exchange(out, nullptr);
    connecting = std::exchange(room, nullptr);
    path = {};
  }
  if (before == State::kClosed) return;
  shut_.store(kShutBoth);
  const bool lost = (last_in && last_in->CloseReader()) || !unread.empty();
  if (last_out) last_out->CloseWriter();
  for (const Message& message : unread) Discharge(message);
  if (other && type != SOCK_DGRAM) {
    if (lost) other->error.store(ECONNRESET);
    other->shut_.store(kShutBoth);
    other->queue.Notify(kPollReadable | kPollWritable | POLLRDHUP | POLLHUP | POLLERR);
  }
  for (const Ref<UnixEnd>& embryo : embryos) {
    Ref<UnixEnd> client;
    {
      absl::MutexLock lock(&embryo->mu);
      client = embryo->peer;
    }
    if (client) client->error.store(ECONNRESET);
    embryo->Close();
  }
  table().StopWaiting(*this);
  if (connecting) connecting->queue.Notify(kPollWritable);
}

Status UnixEnd::Deliver(Message& message, const Ref<UnixEnd>& sender) {
  {
    absl::MutexLock lock(&mu);
    if (state == State::kClosed) return Errno(ECONNREFUSED);
    if (peer && peer.get() != sender.get()) return Errno(EPERM);
    if ((shut() & kShutReceive) != 0) return Errno(EPIPE);
    if (peer.get() != sender.get() && IsFullLocked()) return Errno(EAGAIN);
    sender->in_flight.fetch_add(message.size + kMessageOverhead);
    message_bytes += message.size;
    messages.push_back(std::move(message));
  }
  queue.Notify(kPollReadable);
  return kOk;
}

Result<UnixEnd::Message> UnixEnd::TakeMessage() {
  Message message;
  bool tell;
  {
    absl::MutexLock lock(&mu);
    if (messages.empty()) return Errno(EAGAIN);
    message = std::move(messages.front());
    messages.pop_front();
    message_bytes -= message.size;
    if (!message.control.rights.empty()) FileRights::CountMove();
    tell = awaited_ && !IsFullLocked();
    if (tell) awaited_ = false;
  }
  Discharge(message);
  if (tell) table().TellOfRoom(*this);
  return message;
}

void UnixEnd::Discharge(const Message& message) {
  const size_t weight = message.size + kMessageOverhead;
  const size_t left = message.sender->in_flight.fetch_sub(weight) - weight;
  const auto limit = static_cast<size_t>(message.sender->send_buffer.load());
  if (left * 4 <= limit && (left + weight) * 4 > limit) message.sender->queue.Notify(kPollWritable);
}

std::list<UnixEnd::Message> UnixEnd::DropMessages() {
  std::list<Message> dropped;
  bool tell;
  {
    absl::MutexLock lock(&mu);
    dropped.swap(messages);
    message_bytes = 0;
    tell = std::exchange(awaited_, false);
  }
  for (const Message& message : dropped) Discharge(message);
  if (tell) table().TellOfRoom(*this);
  return dropped;
}

bool UnixEnd::IsFullFor(const UnixEnd& sender) const {
  absl::MutexLock lock(&mu);
  return peer.get() != &sender && IsFullLocked();
}

bool UnixEnd::NoteAwaited(const UnixEnd& sender) {
  absl::MutexLock lock(&mu);
  if (state == State::kClosed || peer.get() == &sender || !IsFullLocked()) return false;
  awaited_ = true;
  return true;
}

bool UnixEnd::AwaitRoom(UnixEnd& sender) { return table().AwaitRoom(*this, sender); }

}  // namespace sentry
