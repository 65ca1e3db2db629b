// An IPC namespace (ipc_namespaces(7)): everything that System V IPC and POSIX message queues name.
#ifndef SENTRY_IPC_NAMESPACE_H_
#define SENTRY_IPC_NAMESPACE_H_

#include "sentry/fs/namespace.h"
#include "sentry/ipc/messages.h"
#include "sentry/ipc/mqueue.h"
#include "sentry/ipc/semaphores.h"
#include "sentry/ipc/shared_memory.h"

namespace sentry {

class IpcNamespace final : public Namespace {
 public:
  explicit IpcNamespace(uint64_t ino) : Namespace(NamespaceKind::kIpc, ino) {}
  // Queues hold the table that names them, processes the segments that they have attached.
  ~IpcNamespace() override {
    mqueues->Close();
    shared_memory->Close();
  }

  const Ref<Semaphores> semaphores = MakeRef<Semaphores>();
  const Ref<Messages> messages = MakeRef<Messages>();
  const Ref<SharedMemory> shared_memory = MakeRef<SharedMemory>();
  const Ref<Mqueues> mqueues = MakeRef<Mqueues>();
};

}  // namespace sentry

#endif  // SENTRY_IPC_NAMESPACE_H_
