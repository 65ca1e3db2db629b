#include "sentry/net/message.h"

namespace sentry {

void FileRights::Drop(std::vector<Ref<File>> files) {
  thread_local std::vector<Ref<File>>* todo_of_thread = nullptr;
  if (todo_of_thread != nullptr) {
    for (Ref<File>& file : files) todo_of_thread->push_back(std::move(file));
    return;
  }
  std::vector<Ref<File>> todo = std::move(files);
  todo_of_thread = &todo;
  while (!todo.empty()) {
    const Ref<File> file = std::move(todo.back());
    todo.pop_back();
    file->DropDescriptor();
  }
  todo_of_thread = nullptr;
}

}  // namespace sentry
