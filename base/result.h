// Errors inside the sandbox: a Linux errno, or a value.
#ifndef BASE_RESULT_H_
#define BASE_RESULT_H_

#include <cerrno>
#include <concepts>
#include <cstdint>
#include <utility>

// A Linux error number (errno(3)), always positive.
class Errno {
 public:
  constexpr explicit Errno(int code) : code_(code) {}
  constexpr int code() const { return code_; }
  constexpr bool operator==(const Errno&) const = default;

  // The errno of the host call that has just failed. Not inline: a caller that waits may go on on
  // another thread, and compilers keep the address of errno.
  [[gnu::noinline]] static Errno Last() { return Errno(errno); }

 private:
  int code_;
};

// A value or an Errno. Mirrors the part of std::expected that is needed here.
template <std::default_initializable T>
class [[nodiscard]] Result {
 public:
  constexpr Result(Errno error) : error_(error.code()) {}  // NOLINT: implicit on purpose.
  template <std::convertible_to<T> U = T>
    requires(!std::same_as<std::remove_cvref_t<U>, Errno> &&
             !std::same_as<std::remove_cvref_t<U>, Result>)
  constexpr Result(U&& value) : value_(std::forward<U>(value)) {}  // NOLINT: likewise.

  constexpr bool ok() const { return error_ == 0; }
  constexpr Errno error() const { return Errno(static_cast<int>(error_)); }
  constexpr T& operator*() & { return value_; }
  constexpr const T& operator*() const& { return value_; }
  constexpr T&& operator*() && { return std::move(value_); }
  constexpr T* operator->() { return &value_; }
  constexpr const T* operator->() const { return &value_; }

 private:
  T value_{};
  intptr_t error_ = 0;  // A full word, so that a Result<int64_t> travels in registers.
};

struct Unit {};
using Status = Result<Unit>;
inline constexpr Unit kOk{};

// The value of a Result; an error returns from the enclosing function.
#define TRY(expr)                                             \
  __extension__({                                             \
    auto try_result_ = (expr);                                \
    if (!try_result_.ok()) [[unlikely]]                       \
      return try_result_.error();                             \
    *std::move(try_result_);                                  \
  })

#endif  // BASE_RESULT_H_
