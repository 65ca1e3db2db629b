#include "sentry/net/byte_stream.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

namespace sentry {
namespace {

// Messages up to this size are copied under the lock, into a block that others may share; it is
// also what a block has at least.
constexpr size_t kSmall = 2048;
constexpr size_t kLargestPiece = 65536;
constexpr uint32_t kReadable = POLLIN | POLLRDNORM, kWritable = POLLOUT | POLLWRNORM | POLLWRBAND;

bool SameSender(const std::optional<SocketCredentials>& a,
                const std::optional<SocketCredentials>& b) {
  if (!a || !b) return a.has_value() == b.has_value();
  return a->pid == b->pid && a->uid == b->uid && a->gid == b->gid;
}

// Whether bytes that `control` came with may follow those that the message has.
bool MayJoin(const ControlData* control, const IncomingMessage& message) {
  if (!message.keep_apart) return true;
  static const std::optional<SocketCredentials> kNobody;
  return SameSender(control == nullptr ? kNobody : control->credentials,
                    message.control.credentials);
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
    block->~Block();
    free(block);
    block = next;
  }
}

ByteStream::Block* ByteStream::NewBlock(size_t capacity) {
  void* const memory = malloc(sizeof(Block) + capacity);
  if (memory == nullptr) return nullptr;
  auto* const block = new (memory) Block;
  block->capacity = static_cast<uint32_t>(capacity);
  return block;
}

ByteStream::~ByteStream() { FreeBlocks()(first_); }

void ByteStream::AppendLocked(Block* block) {
  (last_ == nullptr ? first_ : last_->next) = block;
  last_ = block;
  size_ += block->size();
  charged_ += block->charge;
}

bool ByteStream::DeliverLocked(Block& block, IncomingMessage& message) {
  if (block.control == nullptr) return false;
  charged_ -= std::exchange(block.charge, 0);
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

Result<size_t> ByteStream::Write(IoSrc& src, size_t capacity,
                                 std::unique_ptr<ControlData>& control) {
  size_t done = 0;
  while (src.remaining() > 0) {
    size_t room;
    {
      absl::MutexLock lock(&mu_);
      if (IsClosedLocked()) return done > 0 ? Result<size_t>(done) : Errno(EPIPE);
      capacity_ = capacity;
      const size_t used = UsedLocked() + reserved_;
      if (used >= capacity) return done > 0 ? Result<size_t>(done) : Errno(EAGAIN);
      room = std::min({capacity - used, src.remaining(), kLargestPiece});
      reserved_ += room;
    }
    const Result<size_t> put = WritePiece(src, room, control);
    if (!put.ok()) return done > 0 ? Result<size_t>(done) : put;
    done += *put;
    reader_->queue.Notify(kReadable);
    if (*put < room) return done;  // A fault: the caller finds out when it tries again.
  }
  return done;
}

Result<size_t> ByteStream::WritePiece(IoSrc& src, size_t room,
                                      std::unique_ptr<ControlData>& control) {
  std::array<std::byte, kSmall> small;
  const bool is_small = room <= small.size();
  Blocks block(is_small ? nullptr : NewBlock(room));
  Result<size_t> copied = Errno(ENOMEM);
  if (is_small) {
    copied = src.CopyIn(std::span(small).first(room));
  } else if (block != nullptr) {
    copied = src.CopyIn({block->bytes(), room});
  }
  absl::MutexLock lock(&mu_);
  reserved_ -= room;
  if (!copied.ok()) return copied;
  if (*copied == 0) return Errno(EFAULT);
  if (IsClosedLocked()) {
    src.Unread(*copied);
    return Errno(EPIPE);
  }
  if (is_small) {
    const auto bytes = std::span(small).first(*copied);
    if (control == nullptr && last_ != nullptr && last_->control == nullptr &&
        AppendToLastLocked(bytes)) {
      return *copied;
    }
    block.reset(NewBlock(*copied < 256 ? 512 - sizeof(Block) : kSmall));
    if (block == nullptr) return Errno(ENOMEM);
    memcpy(block->bytes(), bytes.data(), bytes.size());
  }
  block->end = static_cast<uint32_t>(*copied);
  block->control = std::move(control);
  if (block->control != nullptr) block->charge = ChargeFor(*block->control);
  AppendLocked(block.release());
  return *copied;
}

Result<size_t> ByteStream::Read(IoDst& dst, IncomingMessage& message, size_t skip) {
  if ((message.flags & MSG_PEEK) != 0) return Peek(dst, message, skip);
  std::array<std::byte, kSmall> small;
  std::unique_ptr<std::byte[]> large;
  size_t done = 0;
  while (dst.remaining() > 0) {
    Taken taken;
    size_t count;
    bool roomy;
    {
      absl::MutexLock lock(&mu_);
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
          if (large == nullptr) {
            large = std::make_unique_for_overwrite<std::byte[]>(kLargestPiece);
          }
          room = {large.get(), kLargestPiece};
        }
        TakeBytesLocked(room.first(std::min(room.size(), dst.remaining())), message, taken);
      }
      count = before - size_;
      roomy = used * 4 > capacity_ && UsedLocked() * 4 <= capacity_;
    }
    if (roomy) writer_->queue.Notify(kWritable);
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
    if (taken.last) {
      message.boundary = true;
      return done;
    }
  }
  return done;
}

ByteStream::Block* ByteStream::PopLocked() {
  Block* const block = first_;
  first_ = std::exchange(block->next, nullptr);
  if (first_ == nullptr) last_ = nullptr;
  return block;
}

void ByteStream::TakeBlocksLocked(size_t most, IncomingMessage& message, Taken& taken) {
  Block* tail = nullptr;
  size_t count = 0;
  while (first_ != nullptr && first_->size() <= most - count && !taken.last &&
         (tail == nullptr || MayJoin(first_->control.get(), message))) {
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
         (count == 0 || MayJoin(first_->control.get(), message))) {
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

Result<size_t> ByteStream::Peek(IoDst& dst, IncomingMessage& message, size_t skip) {
  std::unique_ptr<std::byte[]> bytes;
  size_t count = 0;
  {
    absl::MutexLock lock(&mu_);
    const size_t wanted = std::max<size_t>(message.minimum, 1);
    if ((size_ <= skip || size_ - skip < wanted) && !IsClosedLocked()) return Errno(EAGAIN);
    if (size_ <= skip) return size_t{0};
    const size_t most = std::min(size_ - skip, dst.remaining());
    bytes = std::make_unique_for_overwrite<std::byte[]>(most);
    for (Block* block = first_; block != nullptr && count < most; block = block->next) {
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
  reader_->queue.Notify(kReadable | POLLRDHUP | POLLHUP);
}

bool ByteStream::CloseReader() {
  Blocks garbage;  // May close files: without the lock.
  bool unread;
  {
    absl::MutexLock lock(&mu_);
    reader_closed_ = true;
    unread = size_ > 0;
    garbage.reset(std::exchange(first_, nullptr));
    last_ = nullptr;
    size_ = charged_ = 0;
  }
  writer_->queue.Notify(kWritable | POLLERR | POLLHUP);
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
