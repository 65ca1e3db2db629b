// Addresses of the application: values that cannot be dereferenced by mistake.
#ifndef SENTRY_MM_USER_PTR_H_
#define SENTRY_MM_USER_PTR_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace sentry {

struct UserAddr {
  uint64_t raw = 0;
  explicit constexpr operator bool() const { return raw != 0; }
  constexpr bool operator==(const UserAddr&) const = default;
  constexpr UserAddr operator+(uint64_t n) const { return UserAddr{raw + n}; }
};

// What may be copied to the application: without padding, so that no sentry bytes leak out.
template <typename T>
concept UserCopyable =
    std::is_trivially_copyable_v<T> && std::has_unique_object_representations_v<T>;

// A typed application address. UserPtr<const T> is input.
template <typename T>
struct UserPtr {
  UserAddr addr;
  explicit constexpr operator bool() const { return addr.raw != 0; }
  constexpr UserPtr operator+(size_t n) const { return UserPtr{addr + n * sizeof(T)}; }
};

// The address of a NUL-terminated string.
struct UserCString {
  UserAddr addr;
  explicit constexpr operator bool() const { return addr.raw != 0; }
};

// A run of application memory.
struct UserSpan {
  UserAddr addr;
  uint64_t size = 0;
};

}  // namespace sentry

#endif  // SENTRY_MM_USER_PTR_H_
