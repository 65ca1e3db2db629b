// Where the bytes of a read go and those of a write come from: pieces of application memory, or
// one piece of sentry memory. Consumed front to back.
#ifndef SENTRY_MM_IO_H_
#define SENTRY_MM_IO_H_

#include <sys/types.h>

#include <algorithm>
#include <span>
#include <vector>

#include "base/result.h"
#include "sentry/mm/user_memory.h"

namespace sentry {

class IoDst {
 public:
  IoDst(UserMemory& mem, std::vector<UserSpan> spans);
  IoDst(UserMemory& mem, UserSpan span);
  explicit IoDst(std::span<std::byte> kernel);

  size_t remaining() const { return remaining_; }
  // Copies out and advances. Short only on a fault; EFAULT when nothing could be copied.
  Result<size_t> CopyOut(std::span<const std::byte> src);
  // Likewise from the mapping of a file, whose pages others may take away meanwhile. The bytes
  // copied, 0 if there is no such way to where this goes or either side ends at once: CopyOut says.
  size_t CopyOutMapped(std::span<const std::byte> src);
  // Calls `fill` with memory for all that remains, if that is in one place where it can be filled
  // without a copy, and takes what it answers as the bytes written (negative: none). False if it is
  // not called.
  template <typename Fill>
  bool FillInPlace(Fill fill) {
    if (mem_ == nullptr || spans_.size() != 1) return false;
    UserSpan& span = spans_.front();
    const std::span<std::byte> place = mem_->space().WriteInPlace(span.addr.raw, span.size);
    if (place.empty()) return false;
    const size_t filled = static_cast<size_t>(std::max<ssize_t>(fill(place), 0));
    mem_->space().WroteInPlace(filled);
    span.addr = span.addr + filled;
    span.size -= filled;
    remaining_ -= filled;
    return true;
  }
  // Zeroes `count` bytes, likewise.
  Result<size_t> ZeroOut(size_t count);

 private:
  // `copy` brings a piece to the application and answers how much of it.
  template <typename Copy>
  size_t Advance(std::span<const std::byte> src, Copy copy);

  UserMemory* mem_ = nullptr;
  std::vector<UserSpan> spans_;
  size_t index_ = 0;  // First span not used up.
  std::span<std::byte> kernel_;
  size_t remaining_ = 0;
};

class IoSrc {
 public:
  IoSrc(UserMemory& mem, std::vector<UserSpan> spans);
  IoSrc(UserMemory& mem, UserSpan span);
  explicit IoSrc(std::span<const std::byte> kernel);

  size_t remaining() const { return remaining_; }
  // Copies in and advances. Short only on a fault; EFAULT when nothing could be copied.
  Result<size_t> CopyIn(std::span<std::byte> dst);
  // Likewise to the mapping of a file, as IoDst::CopyOutMapped.
  size_t CopyInMapped(std::span<std::byte> dst);
  // Leaves at most `most` bytes to take.
  void Limit(size_t most) { remaining_ = remaining_ < most ? remaining_ : most; }
  // Gives back the last `count` bytes taken, for a file that accepted fewer.
  void Unread(size_t count);

 private:
  // `copy` brings a piece from the application and answers how much of it.
  template <typename Copy>
  size_t Advance(std::span<std::byte> dst, Copy copy);

  UserMemory* mem_ = nullptr;
  std::vector<UserSpan> spans_;
  size_t position_ = 0;  // Bytes consumed over all spans.
  std::span<const std::byte> kernel_;
  size_t remaining_ = 0;
};

}  // namespace sentry

#endif  // SENTRY_MM_IO_H_
