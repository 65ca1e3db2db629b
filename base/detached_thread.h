// Threads that serve until the process ends.
#ifndef BASE_DETACHED_THREAD_H_
#define BASE_DETACHED_THREAD_H_

#include <cstddef>

#include "base/result.h"

// Starts one that nobody joins and that takes no signals: those are for the main thread. Fails like
// pthread_create(3); `name` says in the log which.
Status StartDetachedThread(const char* name, void* (*main)(void*), void* argument,
                           size_t stack_size);

#endif  // BASE_DETACHED_THREAD_H_
