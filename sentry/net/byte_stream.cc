#include "sentry/net/byte_stream.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "base/large_buffer.h"

namespace sentry {
namespace {

// Messages up to this size are copied once more, into a block that others may share; it is also
// what such a block has.
constexpr size_t kSmall = 2048;
constexpr size_t kLargestPiece = 65536;
// Builds zero what is on the stack; these bytes are written before they are read, on a hot path.
#define SANDBOX_UNINITIALIZED __attribute__((uninitialized))

constexpr uint32_t kUrgentCharge = 256;  // Of one byte in a block of its own.

bool SameSender(const std::optional<SocketCredentials>& a,
                const std::optional<SocketCredentials>& b) {
  if (!a || !b) return a.has_value() == b.has_value();
  return a->pid == b->pid && a->uid == b->uid && a->gid == b->gid;
}

// Whether bytes that `control` came with may follow those that the message has.
bool AtMark(const IncomingMessage& message) {
  return message.mark != nullptr && message.mark->load(std::memory_order_acquire);
}

bool MayJoin(const ControlData* control, const IncomingMessage& message) {
  if (!message.keep_apart) return true;
  static const std::optional<SocketCredentials> kNobody;
  return SameSender(control == nullptr ? kNobody : control->credentials,
                    message.control.credentials);
}

// What goes with a piece of a message: files with the first only.
std::unique_ptr<ControlData> Carried(ControlData* control) {
  if (control == nullptr || (!control->credentials && control->rights.empty())) return nullptr;
  auto carried = std::make_unique<ControlData>();
  carried->credentials = control->credentials;
  carried->rights = std::move(control->rights);
  return carried;
}

// About what control data takes in memory.
uint32_t ChargeFor(const ControlData& control) {
  constexpr size_t kEach = 768, kFile = 16;
  return static_cast<uint32_t>(kEach + control.rights.files().size() * kFile);
}

}  // namespace

void ByteStream::FreeBlocks::operator()(Block* block) const {
  while (block != nullptr) {
    Block* const next = block->next;
    const size_t capacity = block->capacity;
    block->~Block();
    if (capacity > kSmall) {
      LargeBuffer::Free(block, sizeof(Block) + capacity);
    } else {
      free(block);
    }
    block = next;
  }
}

ByteStream::Block* ByteStream::NewBlock(size_t capacity) {
  static_assert(sizeof(Block) + kLargestPiece <= LargeBuffer::kSize);
  void* const memory = capacity > kSmall ? LargeBuffer::Allocate(sizeof(Block) + capacity)
                                         : malloc(sizeof(Block) + capacity);
  if (memory == nullptr) return nullptr;
  auto* const block = new (memory) Block;
  block->capacity = static_cast<uint32_t>(capacity);
  return block;
}

ByteStream::~ByteStream() {
  FreeBlocks()(first_);
  LargeBuffer::Trim();
}

void ByteStream::AppendLocked(Block* block) {
  (last_ == nullptr ? first_ : last_->next) = block;
  last_ = block;
  size_ += block->size();
  charged_ += block->charge;
}

bool ByteStream::DeliverLocked(Block& block, IncomingMessage& message) {
  charged_ -= std::exchange(block.charge, 0);
  if (block.control == nullptr) return false;
  ControlData& control = *block.control;
  if (!message.control.credentials) message.control.credentials = control.credentials;
  if (control.rights.empty()) return false;
  FileRights::CountMove();
  message.control.rights = std::move(control.rights);
  return true;
}

bool ByteStream::AppendToLastLocked(std::span<const std::byte> bytes) {
  if (last_ == nullptr || last_->capacity - last_->end < bytes.size()) return false;
  memcpy(last_->bytes() + last_->end, bytes.data(), bytes.size());
  last_->end += static_cast<uint32_t>(bytes.size());
  size_ += bytes.size();
  return true;
}

Status ByteStream::CheckRoomLocked(size_t capacity) {
  if (IsClosedLocked()) return Errno(EPIPE);
  capacity_ = capacity;
  return UsedLocked() + reserved_ < capacity ? Status(kOk) : Errno(EAGAIN);
}

Result<size_t> ByteStream::Write(IoSrc& src, size_t capacity, ControlData* control, size_t keep) {
  if (src.remaining() > keep && src.remaining() - keep <= kSmall) {
    return WriteSmall(src, src.remaining() - keep, capacity, control);
  }
  size_t done = 0;
  while (src.remaining() > keep) {
    size_t room;
    {
      absl::MutexLock lock(&mu_);
      const Status checked = CheckRoomLocked(capacity);
      if (!checked.ok()) return done > 0 ? Result<size_t>(done) : checked.error();
      // The last piece may be larger than its room, as in sock_alloc_send_pskb(): a writer that
      // had to wait in the midst of it would be one hand-over more.
      room = std::max(capacity - UsedLocked() - reserved_, capacity / 2);
      room = std::min({room, src.remaining() - keep, kLargestPiece});
      reserved_ += room;
    }
    const Result<size_t> put = WritePiece(src, room, control);
    if (put.ok()) {
      done += *put;
      reader_->queue.Notify(kPollReadable);
      if (*put == room) continue;
    }
    // A fault, which the caller finds out when it tries again. Others may have waited for the rest
    // of the room.
    writer_->queue.Notify(kPollWritable);
    return done > 0 ? Result<size_t>(done) : put;
  }
  return done;
}

// Copied in before there is known to be room, so that the lock is taken once.
Result<size_t> ByteStream::WriteSmall(IoSrc& src, size_t size, size_t capacity,
                                      ControlData* control) {
  SANDBOX_UNINITIALIZED std::array<std::byte, kSmall> small;
  const size_t copied = TRY(src.CopyIn(std::span(small).first(size)));
  if (copied == 0) return Errno(EFAULT);
  Result<size_t> put = size_t{0};
  {
    absl::MutexLock lock(&mu_);
    const Status checked = CheckRoomLocked(capacity);
    if (checked.ok()) {
      const size_t room = std::min(capacity - UsedLocked() - reserved_, copied);
      put = AppendSmallLocked(std::span(small).first(room), control);
    } else {
      put = checked.error();
    }
  }
  src.Unread(copied - (put.ok() ? *put : 0));
  if (put.ok()) reader_->queue.Notify(kPollReadable);
  return put;
}

Result<size_t> ByteStream::AppendSmallLocked(std::span<const std::byte> bytes,
                                             ControlData* control) {
  const bool plain = control == nullptr || (!control->credentials && control->rights.empty());
  if (plain && last_ != nullptr && last_->control == nullptr && AppendToLastLocked(bytes)) {
    return bytes.size();
  }
  Block* const block = NewBlock(bytes.size() < 256 ? 512 - sizeof(Block) : kSmall);
  if (block == nullptr) return Errno(ENOMEM);
  memcpy(block->bytes(), bytes.data(), bytes.size());
  block->end = static_cast<uint32_t>(bytes.size());
  if (!plain) block->control = Carried(control);
  if (block->control != nullptr) block->charge = ChargeFor(*block->control);
  AppendLocked(block);
  return bytes.size();
}

Result<size_t> ByteStream::WriteByte(std::byte value, size_t capacity) {
  size_t ahead;
  {
    absl::MutexLock lock(&mu_);
    TRY(CheckRoomLocked(capacity));
    ahead = size_;
    TRY(AppendSmallLocked(std::span(&value, 1), nullptr));
  }
  reader_->queue.Notify(kPollReadable);
  return ahead;
}

Status ByteStream::WriteUrgent(std::byte value, size_t capacity, ControlData* control) {
  {
    absl::MutexLock lock(&mu_);
    TRY(CheckRoomLocked(capacity));
    Block* const block = NewBlock(1);
    if (block == nullptr) return Errno(ENOMEM);
    block->bytes()[block->end++] = value;
    block->control = Carried(control);
    block->charge = block->control == nullptr ? kUrgentCharge : ChargeFor(*block->control);
    AppendLocked(block);
    urgent_ = block;
  }
  reader_->queue.Notify(kPollReadable | POLLPRI);
  return kOk;
}

// unix_stream_recv_urg() of Linux.
Result<std::byte> ByteStream::ReadUrgent(Take take) {
  Blocks dropped;
  absl::MutexLock lock(&mu_);
  if (urgent_ == nullptr) return Errno(EINVAL);
  const std::byte value = urgent_->bytes()[urgent_->begin];
  if (take == Take::kPeek) return value;
  // Two empty blocks in a row say no more than one, and would add up.
  Block** place = &first_;
  while ((*place)->next != nullptr && (*place)->next != urgent_) place = &(*place)->next;
  if ((*place)->next == urgent_ && (*place)->size() == 0) {
    Block* const former = *place;
    *place = urgent_;
    former->next = nullptr;
    charged_ -= std::exchange(former->charge, 0);
    dropped.reset(former);
  }
  urgent_->begin++;
  size_--;
  urgent_ = nullptr;
  return value;
}

uint32_t ByteStream::PollReader() const {
  absl::MutexLock lock(&mu_);
  return (first_ != nullptr ? kPollReadable : 0) | (urgent_ != nullptr ? POLLPRI : 0);
}

bool ByteStream::AtUrgent() const {
  absl::MutexLock lock(&mu_);
  if (first_ == nullptr) return false;
  if (first_ == urgent_) return true;
  return first_->size() == 0 && (urgent_ == nullptr || first_->next == urgent_);
}

// manage_oob() of Linux.
bool ByteStream::PassUrgentLocked(bool some, bool oob_inline, Blocks& dropped) {
  while (first_ != nullptr) {
    const bool empty = first_->size() == 0;
    if (!empty && first_ != urgent_) return true;
    if (some && (!empty || urgent_ == nullptr)) return false;
    if (!empty) {
      urgent_ = nullptr;
      if (oob_inline) return true;
    }
    Block* const block = PopLocked();
    size_ -= block->size();
    block->next = dropped.release();
    dropped.reset(block);
    writer_->queue.Notify(kPollWritable);
  }
  return true;
}

bool ByteStream::MayGoOnLocked(const IncomingMessage& message) const {
  return first_ != urgent_ && first_->size() > 0 && MayJoin(first_->control.get(), message);
}

Result<size_t> ByteStream::WritePiece(IoSrc& src, size_t room, ControlData* control) {
  Blocks block(NewBlock(room));
  Result<size_t> copied = Errno(ENOMEM);
  if (block != nullptr) copied = src.CopyIn({block->bytes(), room});
  absl::MutexLock lock(&mu_);
  reserved_ -= room;
  if (!copied.ok()) return copied;
  if (*copied == 0) return Errno(EFAULT);
  if (IsClosedLocked()) {
    src.Unread(*copied);
    return Errno(EPIPE);
  }
  block->end = static_cast<uint32_t>(*copied);
  block->control = Carried(control);
  if (block->control != nullptr) block->charge = ChargeFor(*block->control);
  AppendLocked(block.release());
  return *copied;
}

Result<size_t> ByteStream::Read(IoDst& dst, IncomingMessage& message, size_t skip) {
  if ((message.flags & MSG_PEEK) != 0) return Peek(dst, message, skip);
  SANDBOX_UNINITIALIZED std::array<std::byte, kSmall> small;
  Blocks large;
  size_t done = 0;
  while (dst.remaining() > 0) {
    Taken taken;
    Blocks dropped;
    size_t count;
    bool roomy, drained;
    {
      absl::MutexLock lock(&mu_);
      if (AtMark(message)) {
        if (done == 0) return Errno(EAGAIN);
        message.boundary = true;
        return done;
      }
      if (!PassUrgentLocked(done > 0, message.oob_inline, dropped)) {
        message.boundary = true;
        return done;
      }
      if (size_ == 0 || (done == 0 && size_ < message.minimum && !IsClosedLocked())) {
        if (done > 0 || IsClosedLocked()) return done;
        return Errno(EAGAIN);
      }
      if (done > 0 && !MayJoin(first_->control.get(), message)) {
        message.boundary = true;
        return done;
      }
      const size_t before = size_, used = UsedLocked();
      if (first_->size() > kSmall && first_->size() <= dst.remaining()) {
        TakeBlocksLocked(dst.remaining(), message, taken);
      } else {
        std::span<std::byte> room(small);
        if (dst.remaining() > kSmall && first_->size() > kSmall) {
          if (large == nullptr) large.reset(NewBlock(kLargestPiece));
          if (large == nullptr) return Errno(ENOMEM);
          room = {large->bytes(), kLargestPiece};
        }
        TakeBytesLocked(room.first(std::min(room.size(), dst.remaining())), message, taken);
      }
      count = before - size_;
      drained = size_ == 0;
      roomy = used * 4 > capacity_ && UsedLocked() * 4 <= capacity_;
    }
    if (roomy) writer_->queue.Notify(kPollWritable);
    size_t delivered = 0;
    Status copied = kOk;
    const auto deliver = [&](std::span<const std::byte> bytes) {
      const auto out = dst.CopyOut(bytes);
      if (out.ok()) delivered += *out;
      if (!out.ok()) copied = out.error();
      return out.ok() && *out == bytes.size();
    };
    if (taken.blocks == nullptr) {
      deliver(taken.copied);
    } else {
      for (Block* block = taken.blocks.get(); block != nullptr; block = block->next) {
        if (!deliver({block->bytes() + block->begin, block->size()})) break;
      }
    }
    done += delivered;
    if (delivered < count) {
      PutBack(taken, delivered);
      if (done > 0) return done;
      return copied.ok() ? Errno(EFAULT) : copied.error();
    }
    if (taken.last) message.boundary = true;
    if (taken.last || drained) return done;
  }
  return done;
}

ByteStream::Block* ByteStream::PopLocked() {
  Block* const block = first_;
  charged_ -= std::exchange(block->charge, 0);
  first_ = std::exchange(block->next, nullptr);
  if (first_ == nullptr) last_ = nullptr;
  return block;
}

void ByteStream::TakeBlocksLocked(size_t most, IncomingMessage& message, Taken& taken) {
  Block* tail = nullptr;
  size_t count = 0;
  while (first_ != nullptr && first_->size() <= most - count && !taken.last &&
         (tail == nullptr || MayGoOnLocked(message))) {
    Block* const block = PopLocked();
    count += block->size();
    taken.last = DeliverLocked(*block, message);
    if (tail == nullptr) {
      taken.blocks.reset(block);
    } else {
      tail->next = block;
    }
    tail = block;
  }
  size_ -= count;
}

void ByteStream::TakeBytesLocked(std::span<std::byte> room, IncomingMessage& message,
                                 Taken& taken) {
  size_t count = 0;
  while (first_ != nullptr && count < room.size() && !taken.last &&
         (count == 0 || MayGoOnLocked(message))) {
    Block& block = *first_;
    const size_t part = std::min(block.size(), room.size() - count);
    memcpy(room.data() + count, block.bytes() + block.begin, part);
    taken.last = DeliverLocked(block, message);
    count += part;
    block.begin += static_cast<uint32_t>(part);
    if (block.size() == 0) FreeBlocks()(PopLocked());
  }
  size_ -= count;
  taken.copied = room.first(count);
}

void ByteStream::PutBack(Taken& taken, size_t delivered) {
  // Blocks that were delivered in full go; the first of the others begins later.
  Blocks rest = std::move(taken.blocks);
  if (rest == nullptr) {
    const auto bytes = taken.copied.subspan(delivered);
    rest.reset(NewBlock(bytes.size()));
    if (rest == nullptr) return;
    memcpy(rest->bytes(), bytes.data(), bytes.size());
    rest->end = static_cast<uint32_t>(bytes.size());
  } else {
    while (rest != nullptr && rest->size() <= delivered) {
      delivered -= rest->size();
      rest.reset(std::exchange(rest->next, nullptr));
    }
    if (rest == nullptr) return;
    rest->begin += static_cast<uint32_t>(delivered);
  }
  {
    absl::MutexLock lock(&mu_);
    if (reader_closed_) return;
    Block* tail = rest.get();
    size_ += tail->size();
    while (tail->next != nullptr) {
      tail = tail->next;
      size_ += tail->size();
    }
    tail->next = first_;
    first_ = rest.release();
    if (last_ == nullptr) last_ = tail;
  }
  reader_->queue.Notify(kPollReadable);  // Somebody may have seen nothing there meanwhile.
}

Result<size_t> ByteStream::Peek(IoDst& dst, IncomingMessage& message, size_t skip) {
  std::unique_ptr<std::byte[]> bytes;
  size_t count = 0;
  {
    absl::MutexLock lock(&mu_);
    if (AtMark(message)) return Errno(EAGAIN);
    const size_t wanted = std::max<size_t>(message.minimum, 1);
    if ((size_ <= skip || size_ - skip < wanted) && !IsClosedLocked()) return Errno(EAGAIN);
    if (size_ <= skip) return size_t{0};
    const size_t most = std::min(size_ - skip, dst.remaining());
    bytes = std::make_unique_for_overwrite<std::byte[]>(most);
    for (Block* block = first_; block != nullptr && count < most; block = block->next) {
      if (count > 0 && (block == urgent_ || (block->size() == 0 && urgent_ == nullptr))) break;
      if (block == urgent_ && !message.oob_inline) continue;
      if (skip >= block->size()) {
        skip -= block->size();
        continue;
      }
      if (count > 0 && !MayJoin(block->control.get(), message)) break;
      const size_t part = std::min(block->size() - skip, most - count);
      memcpy(bytes.get() + count, block->bytes() + block->begin + skip, part);
      count += part;
      skip = 0;
      if (block->control == nullptr) continue;
      if (!message.control.credentials) message.control.credentials = block->control->credentials;
      if (block->control->rights.empty()) continue;
      message.control.rights = block->control->rights.Copy();
      break;
    }
  }
  return dst.CopyOut({bytes.get(), count});
}

void ByteStream::CloseWriter() {
  {
    absl::MutexLock lock(&mu_);
    if (std::exchange(writer_closed_, true)) return;
  }
  reader_->queue.Notify(kPollReadable | POLLRDHUP | POLLHUP);
}

bool ByteStream::CloseReader() {
  Blocks garbage;  // May close files: without the lock.
  bool unread;
  {
    absl::MutexLock lock(&mu_);
    reader_closed_ = true;
    unread = size_ > 0;
    garbage.reset(std::exchange(first_, nullptr));
    last_ = urgent_ = nullptr;
    size_ = charged_ = 0;
  }
  writer_->queue.Notify(kPollWritable | POLLERR | POLLHUP);
  return unread;
}

size_t ByteStream::size() const {
  absl::MutexLock lock(&mu_);
  return size_;
}

bool ByteStream::closed() const {
  absl::MutexLock lock(&mu_);
  return IsClosedLocked();
}

std::vector<FileRights> ByteStream::TakeRights() {
  std::vector<FileRights> taken;
  absl::MutexLock lock(&mu_);
  for (Block* block = first_; block != nullptr; block = block->next) {
    if (block->control != nullptr && !block->control->rights.empty()) {
      taken.push_back(std::move(block->control->rights));
    }
  }
  return taken;
}

}  // namespace sentry
