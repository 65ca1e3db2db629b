// How a system call travels from the application to whoever answers it.
#ifndef PLATFORM_API_DISPOSITION_H_
#define PLATFORM_API_DISPOSITION_H_

#include <array>
#include <cstddef>
#include <cstdint>

namespace platform {

enum class Disposition : uint8_t {
  kEmulate,  // The sentry answers with a result.
  kApprove,  // The sentry checks, then the host executes the very same call (or it answers).
  kContext,  // The sentry sees and may change every register.
  kLocal,    // Emulated today; answered in the stub once call sites are patched.
  kDirect,   // The host executes it unasked when its arguments are within the platform's bounds,
             // and the sentry approves or emulates what is not.
};

// Dispositions by x86-64 call number; numbers beyond the end are kEmulate.
inline constexpr size_t kMaxSyscalls = 512;
using DispositionTable = std::array<Disposition, kMaxSyscalls>;

}  // namespace platform

#endif  // PLATFORM_API_DISPOSITION_H_
