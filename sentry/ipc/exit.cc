#include "sentry/ipc/exit.h"

#include "sentry/ipc/namespace.h"
#include "sentry/task/kernel.h"
#include "sentry/task/namespaces.h"

namespace sentry {

void ExitIpc(Task& task) {
  if (MmExtension* const spaces = task.mm_ref()->extension()) {
    static_cast<ShmSpaces&>(*spaces).set_last_user(task.tgid());
  }
  UnshareSemUndo(task);
}

void ShareSemUndo(Task& parent, Task& child) {
  if (!parent.sem_undo) {
    parent.sem_undo = MakeRef<SemUndoList>(parent.namespaces().ipc().semaphores);
  }
  child.sem_undo = parent.sem_undo;
}

void UnshareSemUndo(Task& task) {
  const Ref<SemUndoList> undo = std::move(task.sem_undo);
  if (undo) undo->set_pid(task.tgid());
}

}  // namespace sentry
