// An IPC namespace (ipc_namespaces(7)): everything that System V IPC and POSIX message queues name.
#ifndef SENTRY_IPC_NAMESPACE_H_
#define SENTRY_IPC_NAMESPACE_H_

#include "base/ref.h"
#include "sentry/ipc/messages.h"
#include "sentry/ipc/mqueue.h"
#include "sentry/ipc/semaphores.h"
#include "sentry/ipc/shared_memory.h"

namespace sentry {

class IpcNamespace final : public RefCounted {
 public:
  // Queues hold the table that names them.
  ~IpcNamespace() override { mqueues->Clear(); }

  const Ref<Semaphores> semaphores = MakeRef<Semaphores>();
  const Ref<Messages> messages = MakeRef<Messages>();
  const Ref<SharedMemory> shared_memory = MakeRef<SharedMemory>();
  const Ref<Mqueues> mqueues = MakeRef<Mqueues>();
};

}  // namespace sentry

#endif  // SENTRY_IPC_NAMESPACE_H_
