// Attributes of a host file in little memory: there are very many of them.
#ifndef SENTRY_FS_GOFERFS_PACKED_ATTRIBUTES_H_
#define SENTRY_FS_GOFERFS_PACKED_ATTRIBUTES_H_

#include <cstdint>

#include "gofer/protocol/messages.h"
#include "sentry/fs/types.h"

namespace sentry {

// All but device, number and mode. What files hardly ever have does not fit: times before 1901 or
// after 2446 (what ext4 knows), 2^32 blocks of 512 bytes or more, and block sizes that are no power
// of two.
struct PackedAttributes {
  uint64_t size;  // Of a device its number; devices have no size.
  uint64_t
      times[4];  // atime, mtime, ctime, btime: 34 bits of seconds since 1901, then nanoseconds.
  uint32_t blocks, nlink, uid, gid;

  // The logarithm of the block size, or 0 if something does not fit.
  static uint8_t Pack(const gofer::Attr& attr, PackedAttributes& packed);
  void Unpack(uint32_t mode, uint8_t blksize_log, Attributes& attributes) const;
};
static_assert(sizeof(PackedAttributes) == 56);

// The same of what was not packed.
void Unpack(const gofer::Attr& attr, Attributes& attributes);

}  // namespace sentry

#endif  // SENTRY_FS_GOFERFS_PACKED_ATTRIBUTES_H_
