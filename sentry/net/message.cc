#include "sentry/net/message.h"

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "sentry/fs/wake.h"

namespace sentry {
namespace {

// Files in flight of each user that has any.
struct Accounts {
  absl::Mutex mu;  // Leaf.
  absl::flat_hash_map<uint32_t, size_t> files ABSL_GUARDED_BY(mu);
};

Accounts& AllAccounts() {
  static auto* const accounts = new Accounts;  // Never destroyed: files may outlive main.
  return *accounts;
}

}  // namespace

void FileRights::Charge(uint32_t uid) {
  if (charged() || files_.empty()) return;
  uid_ = uid;
  Accounts& accounts = AllAccounts();
  absl::MutexLock lock(&accounts.mu);
  accounts.files[uid] += files_.size();
}

void FileRights::Discharge(uint32_t uid, size_t count) {
  Accounts& accounts = AllAccounts();
  absl::MutexLock lock(&accounts.mu);
  const auto it = accounts.files.find(uid);
  it->second -= count;
  if (it->second == 0) accounts.files.erase(it);
}

size_t FileRights::InFlight(uint32_t uid) {
  Accounts& accounts = AllAccounts();
  absl::MutexLock lock(&accounts.mu);
  const auto it = accounts.files.find(uid);
  return it == accounts.files.end() ? 0 : it->second;
}

void FileRights::Drop(std::vector<Ref<File>> files) {
  thread_local std::vector<Ref<File>>* todo_of_thread = nullptr;
  if (todo_of_thread != nullptr) {
    for (Ref<File>& file : files) todo_of_thread->push_back(std::move(file));
    return;
  }
  const StaysOnThread stays;
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
