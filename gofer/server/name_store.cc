#include "gofer/server/name_store.h"

#include <sys/mman.h>

#include <cstring>

namespace gofer {

Status NameStore::Init(size_t size) {
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return Errno::Last();
  memory_ = static_cast<char*>(memory);
  end_ = static_cast<uint32_t>(size / kUnit);
  return kOk;
}

NameStore::~NameStore() {
  if (memory_ != nullptr) munmap(memory_, end_ * kUnit);
}

uint32_t NameStore::Add(std::string_view name) {
  const size_t units = UnitsFor(name.size());
  if (units > kMostUnits) return 0;
  uint32_t at = free_[units];
  if (at != 0) {
    std::memcpy(&free_[units], Get(at), sizeof(at));
  } else {
    if (units > end_ - next_) return 0;
    at = next_;
    next_ += static_cast<uint32_t>(units);
  }
  char* to = memory_ + at * kUnit;
  std::memcpy(to, name.data(), name.size());
  to[name.size()] = 0;
  return at;
}

void NameStore::Remove(uint32_t name) {
  if (name == 0) return;
  char* at = memory_ + name * kUnit;
  const size_t units = UnitsFor(strlen(at));
  std::memcpy(at, &free_[units], sizeof(name));
  free_[units] = name;
}

}  // namespace gofer
