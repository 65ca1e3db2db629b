// Room for one piece of a read or a write between the host and the application.
#ifndef SENTRY_MM_IO_BUFFER_H_
#define SENTRY_MM_IO_BUFFER_H_

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <span>

namespace sentry {

// Never larger than kMax, whatever the application asks for; small ones lie on the stack. Not
// cleared: only what was filled may be copied on.
class IoBuffer {
 public:
  // Declared as [[gnu::uninitialized]]: the compiler would fill it with zeroes first.
  static constexpr size_t kMax = 256 * 1024;

  explicit IoBuffer(size_t wanted) {
    if (wanted > sizeof(small_)) heap_ = static_cast<std::byte*>(malloc(std::min(wanted, kMax)));
    size_ = std::min(wanted, heap_ != nullptr ? kMax : sizeof(small_));
  }
  IoBuffer(const IoBuffer&) = delete;
  IoBuffer& operator=(const IoBuffer&) = delete;
  ~IoBuffer() { free(heap_); }

  std::span<std::byte> bytes() { return {heap_ != nullptr ? heap_ : small_, size_}; }

 private:
  std::byte* heap_ = nullptr;
  size_t size_ = 0;
  std::byte small_[4096];
};

}  // namespace sentry

#endif  // SENTRY_MM_IO_BUFFER_H_
