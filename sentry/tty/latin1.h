// Character classes as the kernel's lib/ctype.c has them: Latin-1, whatever the locale.
#ifndef SENTRY_TTY_LATIN1_H_
#define SENTRY_TTY_LATIN1_H_

#include <cstdint>

namespace sentry {

constexpr bool IsControl(uint8_t c) { return c < 32 || c == 127; }
constexpr bool IsUpper(uint8_t c) {
  return (c >= 'A' && c <= 'Z') || (c >= 192 && c <= 222 && c != 215);
}
constexpr bool IsLower(uint8_t c) { return (c >= 'a' && c <= 'z') || (c >= 223 && c != 247); }
constexpr bool IsAlnum(uint8_t c) { return IsUpper(c) || IsLower(c) || (c >= '0' && c <= '9'); }
constexpr uint8_t ToLower(uint8_t c) { return IsUpper(c) ? static_cast<uint8_t>(c + 32) : c; }
constexpr uint8_t ToUpper(uint8_t c) { return IsLower(c) ? static_cast<uint8_t>(c - 32) : c; }

}  // namespace sentry

#endif  // SENTRY_TTY_LATIN1_H_
