// Locks for very many objects that are rarely locked.
#ifndef BASE_MUTEX_POOL_H_
#define BASE_MUTEX_POOL_H_

#include <cstddef>
#include <cstdint>

#include "absl/synchronization/mutex.h"

// An object's lock, which a few others share: never take two of one pool.
class MutexPool {
 public:
  absl::Mutex& For(const void* object) {
    return mutexes_[(reinterpret_cast<uintptr_t>(object) >> 4) * 0x9e3779b97f4a7c15u >> 58];
  }

 private:
  static constexpr size_t kCount = 64;  // By the uppermost six bits of the product.
  absl::Mutex mutexes_[kCount];
};

#endif  // BASE_MUTEX_POOL_H_
