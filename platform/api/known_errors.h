// Errors of path calls that a program is told again without asking the sentry.
#ifndef PLATFORM_API_KNOWN_ERRORS_H_
#define PLATFORM_API_KNOWN_ERRORS_H_

#include <array>
#include <cstdint>
#include <string_view>

#include "base/ref.h"

namespace platform {

// What a call answers wherever the application makes it again: one with the same number and path,
// whose other arguments are the same in the bits of `masks`.
struct KnownError {
  static constexpr size_t kArguments = 3;  // The second to the fourth.

  uint64_t nr = 0;
  std::string_view path;
  std::array<uint64_t, kArguments> masks{};
  std::array<uint64_t, kArguments> args{};
  int64_t error = 0;  // A negative errno.
};

// Those of one program and of what it forks. Thread-safe; callable with locks held.
class KnownErrors : public RefCounted {
 public:
  // May be told from now on. What does not fit is not kept, and another one may go for it.
  virtual void Keep(const KnownError& known) = 0;
  // When it returns none of them is told any more.
  virtual void Forget() = 0;
  // Likewise, and nothing is kept after it.
  virtual void Close() = 0;
  // True for who asks first, and for who does so first behind Forget, but not for ever: it is worth
  // keeping many of them at once.
  virtual bool WantsMany() = 0;
};

}  // namespace platform

#endif  // PLATFORM_API_KNOWN_ERRORS_H_
