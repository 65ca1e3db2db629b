// Debian's abseil is not built for ThreadSanitizer, which therefore sees neither its mutexes nor what they
// order. In tsan builds the linker sends their calls through here (cmake/tsan.cmake), where it is told.
#include <sanitizer/tsan_interface.h>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

using absl::Condition;
using absl::CondVar;
using absl::Duration;
using absl::Mutex;
using absl::Notification;
using absl::Time;

// `real` is the function of abseil's, `wrap` what is called instead.
#define WRAP(result, name, symbol, ...)                                            \
  extern "C" result real_##name(__VA_ARGS__) asm("__real_" ABSL_SYMBOLS symbol); \
  extern "C" result wrap_##name(__VA_ARGS__) asm("__wrap_" ABSL_SYMBOLS symbol); \
  extern "C" result wrap_##name(__VA_ARGS__)

namespace {

constexpr unsigned kWrite = 0, kRead = __tsan_mutex_read_lock, kTry = __tsan_mutex_try_lock;

void Taken(Mutex* mutex, unsigned how) { __tsan_mutex_post_lock(mutex, how, 0); }
void Release(Mutex* mutex, unsigned how) {
  __tsan_mutex_pre_unlock(mutex, how);
  __tsan_mutex_post_unlock(mutex, how);
}
void Tried(Mutex* mutex, unsigned how, bool taken) {
  __tsan_mutex_post_lock(mutex, how | (taken ? 0 : __tsan_mutex_try_lock_failed), 0);
}

}  // namespace

WRAP(void, lock, "5Mutex4LockEv", Mutex* mutex) {
  __tsan_mutex_pre_lock(mutex, kWrite);
  real_lock(mutex);
  Taken(mutex, kWrite);
}
WRAP(void, unlock, "5Mutex6UnlockEv", Mutex* mutex) {
  __tsan_mutex_pre_unlock(mutex, kWrite);
  real_unlock(mutex);
  __tsan_mutex_post_unlock(mutex, kWrite);
}
WRAP(bool, try_lock, "5Mutex7TryLockEv", Mutex* mutex) {
  __tsan_mutex_pre_lock(mutex, kTry);
  const bool taken = real_try_lock(mutex);
  Tried(mutex, kTry, taken);
  return taken;
}
WRAP(void, reader_lock, "5Mutex10ReaderLockEv", Mutex* mutex) {
  __tsan_mutex_pre_lock(mutex, kRead);
  real_reader_lock(mutex);
  Taken(mutex, kRead);
}
WRAP(void, reader_unlock, "5Mutex12ReaderUnlockEv", Mutex* mutex) {
  __tsan_mutex_pre_unlock(mutex, kRead);
  real_reader_unlock(mutex);
  __tsan_mutex_post_unlock(mutex, kRead);
}
WRAP(bool, reader_try_lock, "5Mutex13ReaderTryLockEv", Mutex* mutex) {
  __tsan_mutex_pre_lock(mutex, kRead | kTry);
  const bool taken = real_reader_try_lock(mutex);
  Tried(mutex, kRead | kTry, taken);
  return taken;
}
WRAP(void, destroy, "5MutexD1Ev", Mutex* mutex) {
  __tsan_mutex_destroy(mutex, 0);
  real_destroy(mutex);
}

// The mutex is let go of while one waits. Whoever evaluates a condition holds it, whichever thread that is.
WRAP(void, await, "5Mutex5AwaitERKNS0_9ConditionE", Mutex* mutex, const Condition* condition) {
  Release(mutex, kWrite);
  real_await(mutex, condition);
  __tsan_mutex_pre_lock(mutex, kWrite);
  Taken(mutex, kWrite);
}
WRAP(bool, await_timeout, "5Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE", Mutex* mutex,
     const Condition* condition, Duration timeout) {
  Release(mutex, kWrite);
  const bool holds = real_await_timeout(mutex, condition, timeout);
  __tsan_mutex_pre_lock(mutex, kWrite);
  Taken(mutex, kWrite);
  return holds;
}
WRAP(void, wait, "7CondVar4WaitEPNS0_5MutexE", CondVar* variable, Mutex* mutex) {
  Release(mutex, kWrite);
  real_wait(variable, mutex);
  __tsan_mutex_pre_lock(mutex, kWrite);
  Taken(mutex, kWrite);
}
WRAP(bool, wait_timeout, "7CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE", CondVar* variable,
     Mutex* mutex, Duration timeout) {
  Release(mutex, kWrite);
  const bool timed_out = real_wait_timeout(variable, mutex, timeout);
  __tsan_mutex_pre_lock(mutex, kWrite);
  Taken(mutex, kWrite);
  return timed_out;
}
WRAP(bool, wait_deadline, "7CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE", CondVar* variable,
     Mutex* mutex, Time deadline) {
  Release(mutex, kWrite);
  const bool timed_out = real_wait_deadline(variable, mutex, deadline);
  __tsan_mutex_pre_lock(mutex, kWrite);
  Taken(mutex, kWrite);
  return timed_out;
}

WRAP(void, notify, "12Notification6NotifyEv", Notification* notification) {
  __tsan_release(notification);
  real_notify(notification);
}
extern "C" void real_notified(const Notification*) asm("__real_" ABSL_CONST_SYMBOLS
                                                       "12Notification19WaitForNotificationEv");
extern "C" void wrap_notified(const Notification*) asm("__wrap_" ABSL_CONST_SYMBOLS
                                                       "12Notification19WaitForNotificationEv");
extern "C" void wrap_notified(const Notification* notification) {
  real_notified(notification);
  __tsan_acquire(const_cast<Notification*>(notification));
}
extern "C" bool real_notified_in(const Notification*, Duration) asm(
    "__real_" ABSL_CONST_SYMBOLS "12Notification30WaitForNotificationWithTimeoutENS0_8DurationE");
extern "C" bool wrap_notified_in(const Notification*, Duration) asm(
    "__wrap_" ABSL_CONST_SYMBOLS "12Notification30WaitForNotificationWithTimeoutENS0_8DurationE");
extern "C" bool wrap_notified_in(const Notification* notification, Duration timeout) {
  const bool notified = real_notified_in(notification, timeout);
  if (notified) __tsan_acquire(const_cast<Notification*>(notification));
  return notified;
}
