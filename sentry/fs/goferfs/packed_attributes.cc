#include "sentry/fs/goferfs/packed_attributes.h"

#include <bit>

namespace sentry {

namespace {

constexpr int kNanosecondBits = 30;
constexpr int64_t kFirstSecond = -(int64_t{1} << 31);
constexpr int64_t kSeconds = int64_t{1} << 34;

bool IsDevice(uint32_t mode) { return S_ISCHR(mode) || S_ISBLK(mode); }

bool PackTime(const gofer::Time& time, uint64_t& packed) {
  const bool fits = time.seconds >= kFirstSecond && time.seconds < kFirstSecond + kSeconds &&
                    time.nanoseconds < 1u << kNanosecondBits;
  if (fits) {
    packed =
        static_cast<uint64_t>(time.seconds - kFirstSecond) << kNanosecondBits | time.nanoseconds;
  }
  return fits;
}

timespec UnpackTime(uint64_t packed) {
  return {.tv_sec = static_cast<int64_t>(packed >> kNanosecondBits) + kFirstSecond,
          .tv_nsec = static_cast<long>(packed & ((1u << kNanosecondBits) - 1))};
}

timespec FromHost(const gofer::Time& time) {
  return {.tv_sec = time.seconds, .tv_nsec = time.nanoseconds};
}

}  // namespace

uint8_t PackedAttributes::Pack(const gofer::Attr& attr, PackedAttributes& packed) {
  const bool device = IsDevice(attr.mode);
  packed.size = device ? attr.rdev : attr.size;
  packed.blocks = static_cast<uint32_t>(attr.blocks);
  packed.nlink = attr.nlink;
  packed.uid = attr.uid;
  packed.gid = attr.gid;
  const bool times = PackTime(attr.atime, packed.times[0]) &&
                     PackTime(attr.mtime, packed.times[1]) &&
                     PackTime(attr.ctime, packed.times[2]) && PackTime(attr.btime, packed.times[3]);
  const bool numbers = attr.blocks <= UINT32_MAX && (device ? attr.size : attr.rdev) == 0 &&
                       std::has_single_bit(attr.blksize);
  return times && numbers ? static_cast<uint8_t>(std::countr_zero(attr.blksize)) : uint8_t{0};
}

void PackedAttributes::Unpack(uint32_t mode, uint8_t blksize_log, Attributes& attributes) const {
  attributes.mode = mode;
  (IsDevice(mode) ? attributes.rdev : attributes.size) = size;
  attributes.blocks = blocks;
  attributes.nlink = nlink;
  attributes.uid = uid;
  attributes.gid = gid;
  attributes.blksize = uint32_t{1} << blksize_log;
  attributes.atime = UnpackTime(times[0]);
  attributes.mtime = UnpackTime(times[1]);
  attributes.ctime = UnpackTime(times[2]);
  attributes.btime = UnpackTime(times[3]);
}

void Unpack(const gofer::Attr& attr, Attributes& attributes) {
  attributes.mode = attr.mode;
  attributes.size = attr.size;
  attributes.blocks = attr.blocks;
  attributes.rdev = attr.rdev;
  attributes.nlink = attr.nlink;
  attributes.uid = attr.uid;
  attributes.gid = attr.gid;
  attributes.blksize = attr.blksize;
  attributes.atime = FromHost(attr.atime);
  attributes.mtime = FromHost(attr.mtime);
  attributes.ctime = FromHost(attr.ctime);
  attributes.btime = FromHost(attr.btime);
}

}  // namespace sentry
