// What IPC has to do with the life of tasks.
#ifndef SENTRY_IPC_EXIT_H_
#define SENTRY_IPC_EXIT_H_

namespace sentry {

class Task;

// Of a task that ends: takes back what it did with SEM_UNDO, if it was the last to share that.
void ExitIpc(Task& task);
// clone(2) with CLONE_SYSVSEM: both share what they will do with SEM_UNDO.
void ShareSemUndo(Task& parent, Task& child);
// unshare(2) with CLONE_SYSVSEM.
void UnshareSemUndo(Task& task);

}  // namespace sentry

#endif  // SENTRY_IPC_EXIT_H_
