#include "base/detached_thread.h"

#include <pthread.h>
#include <signal.h>

#include "base/log.h"

Status StartDetachedThread(const char* name, void* (*main)(void*), void* argument,
                           size_t stack_size) {
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, stack_size);
  pthread_t thread;
  const int error = pthread_create(&thread, &attributes, main, argument);
  pthread_attr_destroy(&attributes);
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  if (error == 0) return kOk;
  LOG_ERROR("%s: errno %d", name, error);
  return Errno(error);
}
