# ThreadSanitizer learns of abseil's mutexes, which Debian does not build for it: calls of these
# functions go to base/tsan_mutex.cc first.
set(ABSL_SYNCHRONIZATION
  5Mutex4LockEv 5Mutex6UnlockEv 5Mutex7TryLockEv 5Mutex10ReaderLockEv 5Mutex12ReaderUnlockEv
  5Mutex13ReaderTryLockEv 5MutexD1Ev 5Mutex5AwaitERKNS0_9ConditionE
  5Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE 7CondVar4WaitEPNS0_5MutexE
  7CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE 7CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE
  12Notification6NotifyEv)
set(ABSL_CONST_SYNCHRONIZATION
  12Notification19WaitForNotificationEv 12Notification30WaitForNotificationWithTimeoutENS0_8DurationE)

# Its inline namespace is part of each symbol.
find_path(ABSL_INCLUDE absl/base/options.h REQUIRED)
file(STRINGS ${ABSL_INCLUDE}/absl/base/options.h line
     REGEX "define ABSL_OPTION_INLINE_NAMESPACE_NAME")
string(REGEX REPLACE ".*NAMESPACE_NAME +" "" space "${line}")
string(LENGTH "${space}" length)

add_library(tsan_mutex STATIC ${CMAKE_SOURCE_DIR}/base/tsan_mutex.cc)
target_compile_options(tsan_mutex PRIVATE -fsanitize=thread)
target_compile_definitions(tsan_mutex PRIVATE
  ABSL_SYMBOLS="_ZN4absl${length}${space}" ABSL_CONST_SYMBOLS="_ZNK4absl${length}${space}")
target_link_libraries(tsan_mutex PUBLIC absl::synchronization)
target_link_libraries(sandbox_flags INTERFACE tsan_mutex)
foreach(name IN LISTS ABSL_SYNCHRONIZATION)
  target_link_options(sandbox_flags INTERFACE -Wl,--wrap=_ZN4absl${length}${space}${name})
endforeach()
foreach(name IN LISTS ABSL_CONST_SYNCHRONIZATION)
  target_link_options(sandbox_flags INTERFACE -Wl,--wrap=_ZNK4absl${length}${space}${name})
endforeach()
