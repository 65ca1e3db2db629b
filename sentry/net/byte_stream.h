// One direction of a connection in memory: bytes in order, and control data at the places where it
// was sent. AF_UNIX streams and TCP over loopback are made of two.
#ifndef SENTRY_NET_BYTE_STREAM_H_
#define SENTRY_NET_BYTE_STREAM_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/mm/io.h"
#include "sentry/net/message.h"
#include "sentry/net/socket.h"

namespace sentry {

// Shared by both ends. A large piece of a message is copied twice only: into a block, outside the
// lock, and out of it, likewise. An empty stream holds no memory. Thread-safe.
class ByteStream final : public RefCounted {
 public:
  // `reader` hears of bytes and of the end, `writer` of room and of a reader that has gone.
  ByteStream(Ref<WaitPoint> reader, Ref<WaitPoint> writer)
      : reader_(std::move(reader)), writer_(std::move(writer)) {}
  ~ByteStream() override;

  // Takes what fits into `capacity` bytes, all but the last `keep` bytes of `src`: EAGAIN when
  // nothing does, EPIPE once either end is closed. Of `control` (maybe nullptr) the files go with
  // the first byte, the credentials with all.
  Result<size_t> Write(IoSrc& src, size_t capacity, ControlData* control, size_t keep = 0)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Takes one byte: EAGAIN, EPIPE. Returns how many are in front of it.
  Result<size_t> WriteByte(std::byte value, size_t capacity) ABSL_LOCKS_EXCLUDED(mu_);
  // Likewise, as AF_UNIX's urgent byte: reads end in front of it, and pass it over unless
  // message.oob_inline. One that came before becomes a byte like others.
  Status WriteUrgent(std::byte value, size_t capacity, ControlData* control)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Takes the urgent byte, or looks at it: EINVAL when there is none.
  enum class Take : uint8_t { kPeek, kTake };
  Result<std::byte> ReadUrgent(Take take) ABSL_LOCKS_EXCLUDED(mu_);
  // POLLIN and POLLPRI of the reader, as AF_UNIX has them.
  uint32_t PollReader() const ABSL_LOCKS_EXCLUDED(mu_);
  // sockatmark(3): the next byte is the urgent one, or would have been.
  bool AtUrgent() const ABSL_LOCKS_EXCLUDED(mu_);
  // What is there, as recv(2) with message.flags (MSG_PEEK) and message.minimum: EAGAIN while there
  // is less, 0 at the end. With MSG_PEEK, from `skip` bytes behind the front. Stops behind files,
  // and in front of other credentials where message.keep_apart.
  Result<size_t> Read(IoDst& dst, IncomingMessage& message, size_t skip = 0)
      ABSL_LOCKS_EXCLUDED(mu_);

  // No more bytes will be written; those inside can still be read.
  void CloseWriter() ABSL_LOCKS_EXCLUDED(mu_);
  // Nobody will read: forgets the bytes. Returns whether there were any.
  bool CloseReader() ABSL_LOCKS_EXCLUDED(mu_);

  size_t size() const ABSL_LOCKS_EXCLUDED(mu_);
  bool closed() const ABSL_LOCKS_EXCLUDED(mu_);
  // poll(2) of a writer: at most a quarter of `capacity` is used, so that a writer wakes up for
  // something.
  bool IsRoomy(size_t capacity) const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return UsedLocked() * 4 <= capacity;
  }
  // Calls `visit` for the rights inside, for the search of sockets that nobody can reach.
  template <typename Visit>
  void VisitRights(Visit visit) const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    for (const Block* block = first_; block != nullptr; block = block->next) {
      if (block->control != nullptr) visit(block->control->rights);
    }
  }
  // Takes all rights out, for that search.
  std::vector<FileRights> TakeRights() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // Allocated with room for `capacity` bytes behind it.
  struct Block {
    Block* next = nullptr;
    std::unique_ptr<ControlData> control;
    uint32_t begin = 0, end = 0, capacity = 0;
    uint32_t charge = 0;  // Of the capacity, beside its bytes.
    std::byte* bytes() { return reinterpret_cast<std::byte*>(this + 1); }
    size_t size() const { return end - begin; }
  };
  struct FreeBlocks {
    void operator()(Block* block) const;  // And those behind it.
  };
  using Blocks = std::unique_ptr<Block, FreeBlocks>;

  static Block* NewBlock(size_t capacity);
  bool IsClosedLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return writer_closed_ || reader_closed_;
  }
  // Bytes of the capacity that are used: control data counts, too, or a guest could fill the
  // sentry's memory with one-byte messages.
  size_t UsedLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return size_ + charged_; }
  // Moves what came with the block's first byte into the message. True when there were files.
  bool DeliverLocked(Block& block, IncomingMessage& message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AppendLocked(Block* block) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Into what is left of the last block. False when that does not do.
  bool AppendToLastLocked(std::span<const std::byte> bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Result<size_t> AppendSmallLocked(std::span<const std::byte> bytes, ControlData* control)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Result<size_t> WriteSmall(IoSrc& src, size_t size, size_t capacity, ControlData* control)
      ABSL_LOCKS_EXCLUDED(mu_);
  Result<size_t> WritePiece(IoSrc& src, size_t room, ControlData* control) ABSL_LOCKS_EXCLUDED(mu_);
  // Whether a byte more may be written: EPIPE, EAGAIN.
  Status CheckRoomLocked(size_t capacity) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Passes over what lies between the bytes at the front; `dropped` is freed without the lock.
  // False: a read that has `some` bytes ends here.
  bool PassUrgentLocked(bool some, bool oob_inline, Blocks& dropped)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether a read that has bytes may go on with the first block.
  bool MayGoOnLocked(const IncomingMessage& message) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What a read has taken out: whole blocks, or bytes of a few that it copied.
  struct Taken {
    Blocks blocks;
    std::span<std::byte> copied;
    bool last = false;  // Nothing may be joined to it.
  };
  void TakeBlocksLocked(size_t most, IncomingMessage& message, Taken& taken)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void TakeBytesLocked(std::span<std::byte> room, IncomingMessage& message, Taken& taken)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Gives the rest back that a fault kept from being delivered.
  void PutBack(Taken& taken, size_t delivered) ABSL_LOCKS_EXCLUDED(mu_);
  Block* PopLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Result<size_t> Peek(IoDst& dst, IncomingMessage& message, size_t skip) ABSL_LOCKS_EXCLUDED(mu_);

  const Ref<WaitPoint> reader_, writer_;
  mutable absl::Mutex mu_;  // Leaf.
  Block* first_ ABSL_GUARDED_BY(mu_) = nullptr;
  Block* last_ ABSL_GUARDED_BY(mu_) = nullptr;
  // The block of the urgent byte, while nobody has taken it or read past it. It stays when it is
  // taken, empty, so that reads still end there.
  Block* urgent_ ABSL_GUARDED_BY(mu_) = nullptr;
  size_t size_ ABSL_GUARDED_BY(mu_) = 0;      // Bytes inside.
  size_t charged_ ABSL_GUARDED_BY(mu_) = 0;   // For control data and urgent bytes inside.
  size_t reserved_ ABSL_GUARDED_BY(mu_) = 0;  // Bytes that writers are about to put in.
  bool writer_closed_ ABSL_GUARDED_BY(mu_) = false, reader_closed_ ABSL_GUARDED_BY(mu_) = false;
  size_t capacity_ ABSL_GUARDED_BY(mu_) = 0;  // The last writer's.
};

}  // namespace sentry

#endif  // SENTRY_NET_BYTE_STREAM_H_
