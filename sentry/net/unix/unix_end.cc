#include "sentry/net/unix/unix_end.h"

#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "sentry/net/unix/unix_sockets.h"

namespace sentry {
namespace {

constexpr uint32_t kReadable = POLLIN | POLLRDNORM, kWritable = POLLOUT | POLLWRNORM | POLLWRBAND;

}  // namespace

UnixEnd::UnixEnd(UnixSockets& table, int type) : type(type), table_(table) { table_.Add(*this); }

UnixEnd::~UnixEnd() { table_.Remove(*this); }

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

void UnixEnd::Connect(const Ref<UnixEnd>& a, const Ref<UnixEnd>& b) {
  const bool stream = a->type == SOCK_STREAM;
  Ref<ByteStream> forth = stream ? MakeRef<ByteStream>(b, a) : nullptr;
  Ref<ByteStream> back = stream ? MakeRef<ByteStream>(a, b) : nullptr;
  {
    absl::MutexLock lock(&a->mu);
    a->state = State::kConnected;
    a->peer = b;
    a->in = back;
    a->out = forth;
  }
  absl::MutexLock lock(&b->mu);
  b->state = State::kConnected;
  b->peer = a;
  b->in = std::move(forth);
  b->out = std::move(back);
}

void UnixEnd::ShutDown(int bits) {
  if ((shut_.fetch_or(bits) & bits) == bits) return;
  Ref<ByteStream> no_more_in, no_more_out;
  Ref<UnixEnd> other;
  bool listening;
  {
    absl::MutexLock lock(&mu);
    if ((bits & kShutReceive) != 0) no_more_in = in;
    if ((bits & kShutSend) != 0) no_more_out = out;
    if (type != SOCK_DGRAM) other = peer;
    listening = state == State::kListening;
  }
  if (no_more_in) no_more_in->CloseWriter();
  if (no_more_out) no_more_out->CloseWriter();
  if (other) {
    const int mirrored =
        ((bits & kShutReceive) != 0 ? kShutSend : 0) | ((bits & kShutSend) != 0 ? kShutReceive : 0);
    other->shut_.fetch_or(mirrored);
    other->queue.Notify(kReadable | kWritable | POLLRDHUP | POLLHUP);
  }
  queue.Notify(kReadable | kWritable | POLLRDHUP | POLLHUP);
  if (listening) {
    // Who waits to connect is refused from now on.
    Ref<WaitPoint> waiting;
    {
      absl::MutexLock lock(&mu);
      waiting = room;
    }
    waiting->queue.Notify(kWritable);
  }
}

void UnixEnd::Close() {
  std::list<Message> unread;
  std::list<Ref<UnixEnd>> embryos;
  std::vector<Ref<UnixEnd>> senders;
  Ref<UnixEnd> other;
  Ref<ByteStream> last_in, last_out;
  Ref<WaitPoint> connecting;
  State before;
  table_.ForgetName(*this);
  {
    absl::MutexLock lock(&mu);
    before = std::exchange(state, State::kClosed);
    unread.swap(messages);
    embryos.swap(pending);
    senders.swap(full_waiters_);
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
    other->queue.Notify(kReadable | kWritable | POLLRDHUP | POLLHUP | POLLERR);
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
  for (const Ref<UnixEnd>& sender : senders) sender->queue.Notify(kWritable);
  if (connecting) connecting->queue.Notify(kWritable);
}

Status UnixEnd::Deliver(Message& message, const Ref<UnixEnd>& sender) {
  {
    absl::MutexLock lock(&mu);
    if (state == State::kClosed) return Errno(ECONNREFUSED);
    if (peer && peer.get() != sender.get()) return Errno(EPERM);
    if ((shut() & kShutReceive) != 0) return Errno(EPIPE);
    if (peer.get() != sender.get() && IsFullLocked()) {
      AwaitRoomLocked(sender);
      return Errno(EAGAIN);
    }
    sender->in_flight.fetch_add(message.size + kMessageOverhead);
    message_bytes += message.size;
    messages.push_back(std::move(message));
  }
  queue.Notify(kReadable);
  return kOk;
}

Result<UnixEnd::Message> UnixEnd::TakeMessage() {
  Message message;
  std::vector<Ref<UnixEnd>> waiters;
  {
    absl::MutexLock lock(&mu);
    if (messages.empty()) return Errno(EAGAIN);
    message = std::move(messages.front());
    messages.pop_front();
    message_bytes -= message.size;
    if (!message.control.rights.empty()) FileRights::CountMove();
    if (!IsFullLocked()) waiters.swap(full_waiters_);
  }
  Discharge(message);
  for (const Ref<UnixEnd>& waiter : waiters) waiter->queue.Notify(kWritable);
  return message;
}

void UnixEnd::Discharge(const Message& message) {
  const size_t weight = message.size + kMessageOverhead;
  const size_t left = message.sender->in_flight.fetch_sub(weight) - weight;
  const auto limit = static_cast<size_t>(message.sender->send_buffer.load());
  if (left * 4 <= limit && (left + weight) * 4 > limit) message.sender->queue.Notify(kWritable);
}

void UnixEnd::AwaitRoomLocked(const Ref<UnixEnd>& sender) {
  if (std::find(full_waiters_.begin(), full_waiters_.end(), sender) == full_waiters_.end()) {
    full_waiters_.push_back(sender);
  }
}

bool UnixEnd::IsFullFor(const UnixEnd& sender) const {
  absl::MutexLock lock(&mu);
  return peer.get() != &sender && IsFullLocked();
}

bool UnixEnd::AwaitRoom(const Ref<UnixEnd>& sender) {
  absl::MutexLock lock(&mu);
  if (state == State::kClosed || peer.get() == sender.get() || !IsFullLocked()) return false;
  AwaitRoomLocked(sender);
  return true;
}

}  // namespace sentry
