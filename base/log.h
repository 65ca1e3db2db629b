// Logging: one line an event, as text or JSON, to one descriptor. Nothing is formatted while the
// level is off.
#ifndef BASE_LOG_H_
#define BASE_LOG_H_

#include <atomic>
#include <cstdint>
#include <string_view>

#include "absl/strings/str_format.h"

namespace logging {

enum class Level : uint8_t { kError, kWarning, kInfo, kDebug };
enum class Format : uint8_t { kText, kJson };

namespace internal {
extern std::atomic<Level> g_level;
}

// Where lines go: `fd` is borrowed and must stay open. Call before threads exist.
void Configure(int fd, Format format, Level level);
// Only that; -1 for nowhere.
void SetDescriptor(int fd);
inline bool Enabled(Level level) {
  return level <= internal::g_level.load(std::memory_order_relaxed);
}
// Writes one line. `message` holds no newline of its own.
void Write(Level level, std::string_view message);

}  // namespace logging

#define LOG_AT(level, ...)                                            \
  do {                                                                \
    if (::logging::Enabled(level)) [[unlikely]]                       \
      ::logging::Write(level, absl::StrFormat(__VA_ARGS__));          \
  } while (false)
#define LOG_ERROR(...) LOG_AT(::logging::Level::kError, __VA_ARGS__)
#define LOG_WARNING(...) LOG_AT(::logging::Level::kWarning, __VA_ARGS__)
#define LOG_INFO(...) LOG_AT(::logging::Level::kInfo, __VA_ARGS__)
#define LOG_DEBUG(...) LOG_AT(::logging::Level::kDebug, __VA_ARGS__)

// Ends the process with a message. For invariants only: nothing a guest does may reach one.
#define CHECK(condition)                                                                \
  do {                                                                                  \
    if (!(condition)) [[unlikely]]                                                      \
      ::logging::CheckFailed(#condition, __FILE__, __LINE__);                           \
  } while (false)

namespace logging {
[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);
}

#endif  // BASE_LOG_H_
