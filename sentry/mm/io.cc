#include "sentry/mm/io.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace sentry {

namespace {

size_t TotalSize(const std::vector<UserSpan>& spans) {
  size_t total = 0;
  for (const UserSpan& span : spans) total += span.size;
  return total;
}

constexpr std::byte kZeroes[4096] = {};

}  // namespace

IoDst::IoDst(UserMemory& mem, std::vector<UserSpan> spans)
    : mem_(&mem), spans_(std::move(spans)), remaining_(TotalSize(spans_)) {}

IoDst::IoDst(UserMemory& mem, UserSpan span) : mem_(&mem), spans_{span}, remaining_(span.size) {}

IoDst::IoDst(std::span<std::byte> kernel) : kernel_(kernel), remaining_(kernel.size()) {}

Result<size_t> IoDst::CopyOut(std::span<const std::byte> src) {
  src = src.first(std::min(src.size(), remaining_));
  if (mem_ == nullptr) {
    if (!src.empty()) memcpy(kernel_.data(), src.data(), src.size());
    kernel_ = kernel_.subspan(src.size());
    remaining_ -= src.size();
    return src.size();
  }
  const size_t done = Advance(src, [this](UserAddr to, std::span<const std::byte> piece) {
    return mem_->WriteSome(to, piece);
  });
  if (done == 0 && !src.empty()) return Errno(EFAULT);
  return done;
}

size_t IoDst::CopyOutMapped(std::span<const std::byte> src) {
  if (mem_ == nullptr) return 0;
  src = src.first(std::min(src.size(), remaining_));
  return Advance(src, [this](UserAddr to, std::span<const std::byte> piece) {
    return mem_->space().WriteFromMapped(to.raw, piece);
  });
}

template <typename Copy>
size_t IoDst::Advance(std::span<const std::byte> src, Copy copy) {
  size_t done = 0;
  while (done < src.size()) {
    UserSpan& span = spans_[index_];
    if (span.size == 0) {
      ++index_;
      continue;
    }
    const size_t want = std::min<size_t>(span.size, src.size() - done);
    const size_t copied = copy(span.addr, src.subspan(done, want));
    span.addr = span.addr + copied;
    span.size -= copied;
    remaining_ -= copied;
    done += copied;
    if (copied < want) break;
  }
  return done;
}

Result<size_t> IoDst::ZeroOut(size_t count) {
  count = std::min(count, remaining_);
  size_t done = 0;
  while (done < count) {
    const size_t want = std::min(count - done, sizeof(kZeroes));
    const Result<size_t> copied = CopyOut(std::span(kZeroes).first(want));
    if (!copied.ok()) break;
    done += *copied;
    if (*copied < want) break;
  }
  if (done == 0 && count != 0) return Errno(EFAULT);
  return done;
}

IoSrc::IoSrc(UserMemory& mem, std::vector<UserSpan> spans)
    : mem_(&mem), spans_(std::move(spans)), remaining_(TotalSize(spans_)) {}

IoSrc::IoSrc(UserMemory& mem, UserSpan span) : mem_(&mem), spans_{span}, remaining_(span.size) {}

IoSrc::IoSrc(std::span<const std::byte> kernel) : kernel_(kernel), remaining_(kernel.size()) {}

Result<size_t> IoSrc::CopyIn(std::span<std::byte> dst) {
  dst = dst.first(std::min(dst.size(), remaining_));
  if (mem_ == nullptr) {
    if (!dst.empty()) memcpy(dst.data(), kernel_.data() + position_, dst.size());
    position_ += dst.size();
    remaining_ -= dst.size();
    return dst.size();
  }
  const size_t done = Advance(dst, [this](UserAddr from, std::span<std::byte> piece) {
    return mem_->ReadSome(from, piece);
  });
  if (done == 0 && !dst.empty()) return Errno(EFAULT);
  return done;
}

size_t IoSrc::CopyInMapped(std::span<std::byte> dst) {
  if (mem_ == nullptr) return 0;
  dst = dst.first(std::min(dst.size(), remaining_));
  return Advance(dst, [this](UserAddr from, std::span<std::byte> piece) {
    return mem_->space().ReadIntoMapped(from.raw, piece);
  });
}

template <typename Copy>
size_t IoSrc::Advance(std::span<std::byte> dst, Copy copy) {
  size_t done = 0;
  size_t skip = position_;
  for (const UserSpan& span : spans_) {
    if (done == dst.size()) break;
    if (skip >= span.size) {
      skip -= span.size;
      continue;
    }
    const size_t want = std::min<size_t>(span.size - skip, dst.size() - done);
    const size_t copied = copy(span.addr + skip, dst.subspan(done, want));
    done += copied;
    if (copied < want) break;
    skip = 0;
  }
  position_ += done;
  remaining_ -= done;
  return done;
}

void IoSrc::Unread(size_t count) {
  count = std::min(count, position_);
  position_ -= count;
  remaining_ += count;
}

}  // namespace sentry
