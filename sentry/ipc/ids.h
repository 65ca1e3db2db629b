// What the three kinds of System V objects share: permissions, numbers, the table. Linux:
// ipc/util.c.
#ifndef SENTRY_IPC_IDS_H_
#define SENTRY_IPC_IDS_H_

#include <sys/ipc.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/task/credentials.h"

namespace sentry {

// Who makes a call: the credentials and the process that is remembered.
struct IpcCaller {
  const Credentials& creds;
  int32_t pid = 0;
};

// Rights of everybody, as IpcPermissions::Check wants them.
inline constexpr uint32_t kIpcRead = 0444, kIpcWrite = 0222, kIpcExecute = 0111;

// struct ipc64_perm.
struct IpcPermissions {
  int32_t key = IPC_PRIVATE;
  uint32_t uid = 0, gid = 0;    // Owner; IPC_SET changes them.
  uint32_t cuid = 0, cgid = 0;  // Creator.
  uint32_t mode = 0;            // 0777, and SHM_DEST and SHM_LOCKED for shared memory.
  int32_t id = 0;
  uint16_t seq = 0;

  static IpcPermissions Of(const IpcCaller& caller, int32_t key, int flags) {
    return {.key = key,
            .uid = caller.creds.euid,
            .gid = caller.creds.egid,
            .cuid = caller.creds.euid,
            .cgid = caller.creds.egid,
            .mode = static_cast<uint32_t>(flags) & 0777};
  }
  // ipcperms(): EACCES unless every right that `wanted` (0444, 0222 or both) names is granted.
  Status Check(const Credentials& creds, uint32_t wanted) const;
  // Of IPC_SET, IPC_RMID and the like: EPERM for who is neither owner nor creator.
  Status CheckOwner(const Credentials& creds) const;
  // ipc_update_perm(): what IPC_SET changes.
  void Set(uint32_t new_uid, uint32_t new_gid, uint32_t new_mode) {
    uid = new_uid;
    gid = new_gid;
    mode = (mode & ~0777u) | (new_mode & 0777);
  }
};

// A table of objects by number and key. T has `IpcPermissions perm` and is RefCounted. Guarded by
// its owner's lock.
template <typename T>
class IpcTable {
 public:
  static constexpr int kIndexBits = 15;

  // Numbers `object` (its permissions are set but for id and seq). ENOSPC with `limit` objects.
  Result<int> Add(Ref<T> object, int limit) {
    if (size() >= limit) return Errno(ENOSPC);
    const int index = FreeIndex();
    if (index <= last_index_) ++seq_;
    last_index_ = index;
    IpcPermissions& perm = object->perm;
    perm.seq = seq_;
    perm.id = seq_ << kIndexBits | index;
    if (perm.key != IPC_PRIVATE) by_key_[perm.key] = object.get();
    by_index_[index] = std::move(object);
    return perm.id;
  }
  // EINVAL for a number that nothing has.
  Result<Ref<T>> Find(int id) const {
    if (id < 0) return Errno(EINVAL);
    const auto it = by_index_.find(id & ((1 << kIndexBits) - 1));
    if (it == by_index_.end() || it->second->perm.id != id) return Errno(EINVAL);
    return it->second;
  }
  // By place in the table, for *_STAT.
  Result<Ref<T>> At(int index) const {
    const auto it = by_index_.find(index);
    if (index < 0 || it == by_index_.end()) return Errno(EINVAL);
    return it->second;
  }
  T* FindKey(int32_t key) const {
    const auto it = by_key_.find(key);
    return it == by_key_.end() ? nullptr : it->second;
  }
  // Nobody finds it by its key any more.
  void ForgetKey(T& object) {
    if (object.perm.key != IPC_PRIVATE) by_key_.erase(object.perm.key);
    object.perm.key = IPC_PRIVATE;
  }
  // The reference that the table had, to be dropped without a lock.
  Ref<T> Remove(T& object) {
    ForgetKey(object);
    const auto it = by_index_.find(object.perm.id & ((1 << kIndexBits) - 1));
    if (it == by_index_.end() || it->second.get() != &object) return nullptr;
    Ref<T> removed = std::move(it->second);
    by_index_.erase(it);
    return removed;
  }
  int size() const { return static_cast<int>(by_index_.size()); }
  // What *_INFO return: the highest place in use, 0 without any.
  int highest_index() const { return by_index_.empty() ? 0 : by_index_.rbegin()->first; }
  const std::map<int, Ref<T>>& objects() const { return by_index_; }

 private:
  // Places are given out in turn, so that numbers come back late (ipc_idr_alloc()).
  int FreeIndex() const {
    const int end = std::max(64, size() * 3 / 2);
    const int index = FirstFree(last_index_ + 1);
    return index < end ? index : FirstFree(0);
  }
  int FirstFree(int index) const {
    for (auto it = by_index_.lower_bound(index); it != by_index_.end() && it->first == index;
         ++it) {
      ++index;
    }
    return index;
  }

  std::map<int, Ref<T>> by_index_;
  absl::flat_hash_map<int32_t, T*> by_key_;
  int last_index_ = -1;
  uint16_t seq_ = 0;
};

// ipcget(): the number of the object under `key`, made when it has to be. `check` says whether what
// exists will do, before rights are looked at; `make` returns a new Ref<T>. ENOENT, EEXIST, EACCES.
template <typename T, typename Check, typename Make>
Result<int> IpcGet(IpcTable<T>& table, const Credentials& creds, int32_t key, int flags, int limit,
                   Check check, Make make) {
  T* const found = key == IPC_PRIVATE ? nullptr : table.FindKey(key);
  if (found == nullptr) {
    if (key != IPC_PRIVATE && (flags & IPC_CREAT) == 0) return Errno(ENOENT);
    return table.Add(TRY(make()), limit);
  }
  if ((flags & IPC_CREAT) != 0 && (flags & IPC_EXCL) != 0) return Errno(EEXIST);
  TRY(check(*found));
  TRY(found->perm.Check(creds, static_cast<uint32_t>(flags)));
  return found->perm.id;
}

}  // namespace sentry

#endif  // SENTRY_IPC_IDS_H_
