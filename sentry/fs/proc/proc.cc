#include "sentry/fs/proc/proc.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sentry/fs/proc/proc_internal.h"
#include "sentry/task/task.h"

namespace sentry {
namespace proc {
namespace {

// /proc/self and /proc/thread-self: whoever looks.
class SelfLink final : public PseudoInode {
 public:
  enum class Kind : uint8_t { kProcess, kThread };
  SelfLink(const PseudoNode& node, Kind kind) : PseudoInode(node), kind_(kind) {}
  Result<std::string> ReadLink() override {
    Task* const task = Task::Current();
    if (task == nullptr) return Errno(ENOENT);
    if (kind_ == Kind::kProcess) return absl::StrCat(task->tgid());
    return absl::StrCat(task->tgid(), "/task/", task->tid());
  }

 private:
  const Kind kind_;
};

constexpr int64_t kFirstProcess = 256;  // Positions in the listing: above those of what is fixed.

// The root: what is fixed, and a directory for each process.
class Root final : public PseudoDirectory {
 public:
  explicit Root(Kernel& kernel)
      : PseudoDirectory({.dev = kProcDevice, .ino = 1, .mode = S_IFDIR | 0555}),
        kernel_(kernel),
        fixed_(MakeRef<FixedDirectory>(node())) {
    Builder builder(*fixed_);
    PutSystemFiles(kernel, builder);
    PutSysctls(kernel, builder);
    PseudoNode link{.dev = kProcDevice, .ino = 2, .mode = S_IFLNK | 0777};
    fixed_->Put("self", MakeRef<SelfLink>(link, SelfLink::Kind::kProcess));
    ++link.ino;
    fixed_->Put("thread-self", MakeRef<SelfLink>(link, SelfLink::Kind::kThread));
    ++link.ino;
    fixed_->Put("mounts", MakeRef<PseudoLink>(link, "self/mounts"));
    ++link.ino;
    fixed_->Put("net", MakeRef<PseudoLink>(link, "self/net"));
  }

  Result<Ref<Inode>> Find(std::string_view name) override {
    const auto fixed = fixed_->Find(name);
    if (fixed.ok()) return fixed;
    Pid pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error != std::errc() || end != name.data() + name.size() || name[0] == '0' || pid <= 0) {
      return Errno(ENOENT);
    }
    // A thread's number leads to the thread, although only processes are listed.
    const Ref<Task> task = kernel_.FindTask(pid);
    const Pid tgid = task ? task->tgid() : pid;
    const Ref<ThreadGroup> group = kernel_.FindGroup(tgid);
    if (!group) return Errno(ENOENT);
    const Subject subject{.kernel = &kernel_,
                          .tgid = tgid,
                          .tid = pid != tgid ? pid : 0,
                          .born = group->start_time_ns};
    return NewTaskDirectory(subject);
  }

  Status List(std::vector<DirEntry>& entries) override {
    TRY(fixed_->List(entries));
    std::vector<Pid> pids;
    for (const Ref<ThreadGroup>& group : kernel_.AllGroups()) pids.push_back(group->id);
    std::sort(pids.begin(), pids.end());
    for (const Pid pid : pids) {
      const Subject subject{.kernel = &kernel_, .tgid = pid};
      entries.push_back({.name = absl::StrCat(pid),
                         .ino = subject.Node(S_IFDIR, kSlotDirectories).ino,
                         .type = DirEntryType(S_IFDIR),
                         .next = kFirstProcess + pid});
    }
    return kOk;
  }

 private:
  Kernel& kernel_;
  const Ref<FixedDirectory> fixed_;
};

}  // namespace
}  // namespace proc

Ref<Inode> CreateProc(Kernel& kernel) { return MakeRef<proc::Root>(kernel); }

}  // namespace sentry
