// Many short names, in memory that was set aside before.
#ifndef GOFER_SERVER_NAME_STORE_H_
#define GOFER_SERVER_NAME_STORE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "gofer/protocol/messages.h"

namespace gofer {

// Names of up to kMaxName bytes, each in a multiple of 16 bytes; freed pieces are used again for
// names of their size. Used by one thread.
class NameStore {
 public:
  NameStore() = default;
  NameStore(const NameStore&) = delete;
  NameStore& operator=(const NameStore&) = delete;
  ~NameStore();
  // Maps room for `size` bytes, which costs memory only as far as it is used. Call once, first.
  Status Init(size_t size);

  // 0 when there is no room, or the name is too long.
  uint32_t Add(std::string_view name);
  const char* Get(uint32_t name) const { return memory_ + name * kUnit; }
  // Ignores 0.
  void Remove(uint32_t name);

 private:
  static constexpr size_t kUnit = 16;
  static constexpr size_t kMostUnits = (kMaxName + 1 + kUnit - 1) / kUnit;
  static size_t UnitsFor(size_t size) { return size / kUnit + 1; }  // With the NUL.

  char* memory_ = nullptr;
  uint32_t end_ = 0;  // In units, as are names.
  uint32_t next_ = 1;
  uint32_t free_[kMostUnits + 1] = {};  // By units: the first of a list through the pieces.
};

}  // namespace gofer

#endif  // GOFER_SERVER_NAME_STORE_H_
