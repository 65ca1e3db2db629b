// The bridge between registers and handlers, written once.
//
// A handler is a free function whose signature is the ABI: `Result<R> Name(Task&, Params…)` with
// narrow types that truncate as in Linux. Handlers that need more than a result return a Control or
// a Result<Control>. Those with disposition context take `platform::Context&` as their second parameter.
#ifndef SYSCALLS_SYSCALL_H_
#define SYSCALLS_SYSCALL_H_

#include <cstdint>
#include <type_traits>
#include <utility>

#include "base/result.h"
#include "platform/api/disposition.h"
#include "platform/api/platform.h"
#include "sentry/mm/user_ptr.h"
#include "sentry/task/task.h"

namespace syscalls {

using sentry::Fd;
using sentry::Task;
using sentry::UserAddr;
using sentry::UserCString;
using sentry::UserPtr;
using platform::Context;
using platform::Verdict;

// What a call does besides returning a value: let the host execute it, end the thread, ….
struct Control {
  Verdict verdict;
  static Control Return(int64_t value) { return {{.kind = Verdict::Kind::kReturn, .value = value}}; }
  static Control Fail(Errno error) { return Return(-int64_t{error.code()}); }
  static Control Continue() { return {{.kind = Verdict::Kind::kContinue}}; }
  // The host executes the call with `host_fd` in the place of the application's `guest_fd`.
  static Control ContinueWith(int host_fd, int guest_fd) {
    return {{.kind = Verdict::Kind::kContinue, .host_fd = host_fd, .guest_fd = guest_fd}};
  }
  static Control ExitThread() { return {{.kind = Verdict::Kind::kExitThread}}; }
  static Control Gone() { return {{.kind = Verdict::Kind::kGone}}; }
};

template <typename T>
constexpr T FromRegister(uint64_t raw) {
  if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
    return static_cast<T>(raw);
  } else {
    return T{UserAddr{raw}};  // UserPtr, UserCString.
  }
}

template <typename T>
constexpr int64_t ToRegister(const T& value) {
  if constexpr (std::is_same_v<T, Unit>) {
    return 0;
  } else if constexpr (std::is_same_v<T, UserAddr>) {
    return static_cast<int64_t>(value.raw);
  } else {
    return static_cast<int64_t>(value);
  }
}

using Handler = Verdict (*)(Task&, const platform::SyscallArgs&, Context*);

template <typename R>
Verdict ToVerdict(R&& result) {
  if constexpr (std::is_same_v<std::remove_cvref_t<R>, Control>) {
    return result.verdict;
  } else if constexpr (std::is_same_v<std::remove_cvref_t<R>, Result<Control>>) {
    return result.ok() ? result->verdict : Control::Fail(result.error()).verdict;
  } else {
    return {.kind = Verdict::Kind::kReturn,
            .value = result.ok() ? ToRegister(*result) : -int64_t{result.error().code()}};
  }
}

template <typename... Params>
inline constexpr bool kFirstIsContext = false;
template <typename First, typename... Rest>
inline constexpr bool kFirstIsContext<First, Rest...> = std::is_same_v<First, Context&>;

template <auto Fn>
struct Adapter;

template <typename R, typename... Params, R (*Fn)(Task&, Params...)>
  requires(!kFirstIsContext<Params...>)
struct Adapter<Fn> {
  static_assert(sizeof...(Params) <= 6);
  static constexpr bool kNeedsContext = false;
  static Verdict Call(Task& task, const platform::SyscallArgs& call, Context*) {
    return [&]<size_t... I>(std::index_sequence<I...>) {
      return ToVerdict(Fn(task, FromRegister<Params>(call.args[I])...));
    }(std::index_sequence_for<Params...>{});
  }
};

template <typename R, typename... Params, R (*Fn)(Task&, Context&, Params...)>
struct Adapter<Fn> {
  static_assert(sizeof...(Params) <= 6);
  static constexpr bool kNeedsContext = true;
  static Verdict Call(Task& task, const platform::SyscallArgs& call, Context* context) {
    // The table guarantees it: a row with such a handler has disposition context.
    if (context == nullptr) return {.kind = Verdict::Kind::kReturn, .value = -ENOSYS};
    return [&]<size_t... I>(std::index_sequence<I...>) {
      return ToVerdict(Fn(task, *context, FromRegister<Params>(call.args[I])...));
    }(std::index_sequence_for<Params...>{});
  }
};

}  // namespace syscalls

#endif  // SYSCALLS_SYSCALL_H_
