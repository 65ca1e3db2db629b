#include "sentry/task/control_group.h"

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"

namespace sentry {

namespace internal {
ABSL_CONST_INIT absl::Mutex control_groups_mu(absl::kConstInit);
}  // namespace internal

namespace {

using internal::control_groups_mu;

uint64_t last_id ABSL_GUARDED_BY(control_groups_mu) = 0;

void Step(size_t& count, int64_t step) { count += static_cast<size_t>(step); }

}  // namespace

ControlGroup::ControlGroup(uint64_t id, Ref<ControlGroup> parent, std::string_view name,
                           const Owner& owner)
    : id_(id),
      parent_(std::move(parent)),
      name_(name),
      owner_(owner),
      depth_(parent_ ? parent_->depth_ + 1 : 0) {}

Ref<ControlGroup> ControlGroup::CreateRoot() {
  absl::MutexLock lock(&control_groups_mu);
  return Ref<ControlGroup>::Adopt(new ControlGroup(++last_id, Ref<ControlGroup>(), "", Owner()));
}

bool ControlGroup::IsWithin(const ControlGroup& ancestor) const {
  const ControlGroup* group = this;
  while (group != nullptr && group != &ancestor) group = group->parent_.get();
  return group != nullptr;
}

std::string ControlGroup::Path() const {
  std::string path;
  for (const ControlGroup* group = this; !group->is_root(); group = group->parent_.get()) {
    path.insert(0, absl::StrCat("/", group->name_));
  }
  if (path.empty()) path = "/";
  if (removed()) path += " (deleted)";
  return path;
}

bool ControlGroup::removed() const {
  absl::MutexLock lock(&control_groups_mu);
  return removed_;
}

// cgroup_check_hierarchy_limits() of Linux.
Status ControlGroup::CheckRoomLocked() const {
  if (depth_ >= kMostDepth) return Errno(EAGAIN);
  uint64_t level = 1;
  for (const ControlGroup* group = this; group != nullptr; group = group->parent_.get(), ++level) {
    const uint64_t most = group->is_root()
                              ? std::min<uint64_t>(group->limits_.descendants, kMostGroups)
                              : group->limits_.descendants;
    if (group->counts_.descendants >= most || level > group->limits_.depth) return Errno(EAGAIN);
  }
  return kOk;
}

void ControlGroup::CountLocked(int64_t tasks, int64_t processes, int64_t groups) {
  for (ControlGroup* group = this; group != nullptr; group = group->parent_.get()) {
    Counts& counts = group->counts_;
    Step(counts.tasks, tasks);
    Step(counts.populated, processes);
    Step(counts.descendants, groups);
    counts.peak = std::max(counts.peak, counts.tasks);
  }
}

Result<Ref<ControlGroup>> ControlGroup::Add(std::string_view name, const Owner& owner) {
  absl::MutexLock lock(&control_groups_mu);
  if (removed_) return Errno(ENODEV);
  if (children_.contains(name)) return Errno(EEXIST);
  TRY(CheckRoomLocked());
  const auto child = Ref<ControlGroup>::Adopt(
      new ControlGroup(++last_id, Ref<ControlGroup>::Share(*this), name, owner));
  children_.emplace(name, child);
  CountLocked(0, 0, 1);
  return child;
}

Status ControlGroup::Remove(std::string_view name) {
  Ref<ControlGroup> child;  // Released without the lock.
  absl::MutexLock lock(&control_groups_mu);
  const auto found = children_.find(name);
  if (found == children_.end()) return Errno(ENOENT);
  if (found->second->counts_.populated != 0 || !found->second->children_.empty()) {
    return Errno(EBUSY);
  }
  child = std::move(found->second);
  children_.erase(found);
  child->removed_ = true;
  CountLocked(0, 0, -1);
  return kOk;
}

Result<Ref<ControlGroup>> ControlGroup::Find(std::string_view name) const {
  absl::MutexLock lock(&control_groups_mu);
  const auto found = children_.find(name);
  if (found == children_.end()) return Errno(ENOENT);
  return found->second;
}

std::vector<std::pair<std::string, Ref<ControlGroup>>> ControlGroup::Children() const {
  absl::MutexLock lock(&control_groups_mu);
  return {children_.begin(), children_.end()};
}

ControlGroup::Counts ControlGroup::counts() const {
  absl::MutexLock lock(&control_groups_mu);
  return counts_;
}

ControlGroup::Limits ControlGroup::limits() const {
  absl::MutexLock lock(&control_groups_mu);
  return limits_;
}

void ControlGroup::SetLimits(const Limits& limits) {
  absl::MutexLock lock(&control_groups_mu);
  limits_ = limits;
}

bool ControlGroup::gives_pids() const {
  absl::MutexLock lock(&control_groups_mu);
  return gives_pids_;
}

Status ControlGroup::GivePids(bool on) {
  absl::MutexLock lock(&control_groups_mu);
  if (gives_pids_ == on) return kOk;
  if (on && counts_.processes != 0) return Errno(EBUSY);
  const bool used = std::any_of(
      children_.begin(), children_.end(),
      [](const auto& child) ABSL_NO_THREAD_SAFETY_ANALYSIS { return child.second->gives_pids_; });
  if (!on && used) return Errno(EBUSY);
  gives_pids_ = on;
  // Their files go, and what was written to them with them.
  for (const auto& [name, child] : children_) child->limits_.tasks = kNoLimit;
  return kOk;
}

std::string ControlGroup::Shown(std::string_view file, std::string_view usual) const {
  absl::MutexLock lock(&control_groups_mu);
  const auto found = shown_.find(file);
  return std::string(found == shown_.end() ? usual : std::string_view(found->second));
}

void ControlGroup::Show(std::string_view file, std::string_view text) {
  absl::MutexLock lock(&control_groups_mu);
  shown_[std::string(file)] = std::string(text);
}

Status ControlGroup::ChargeTask() {
  absl::MutexLock lock(&control_groups_mu);
  for (ControlGroup* group = this; group != nullptr; group = group->parent_.get()) {
    if (group->counts_.tasks < group->limits_.tasks) continue;
    ++group->counts_.refused;
    return Errno(EAGAIN);
  }
  CountLocked(1, 0, 0);
  return kOk;
}

void ControlGroup::UnchargeTasks(size_t count) {
  absl::MutexLock lock(&control_groups_mu);
  CountLocked(-static_cast<int64_t>(count), 0, 0);
}

void ControlGroup::AddProcess(size_t tasks) {
  absl::MutexLock lock(&control_groups_mu);
  ++counts_.processes;
  CountLocked(static_cast<int64_t>(tasks), 1, 0);
}

void ControlGroup::RemoveProcess(const platform::CpuTimes& used) {
  absl::MutexLock lock(&control_groups_mu);
  --counts_.processes;
  CountLocked(0, -1, 0);
  for (ControlGroup* group = this; group != nullptr; group = group->parent_.get()) {
    group->counts_.dead_cpu.user_ns += used.user_ns;
    group->counts_.dead_cpu.system_ns += used.system_ns;
  }
}

Status ControlGroup::Move(ControlGroup& from, ControlGroup& to, size_t tasks) {
  absl::MutexLock lock(&control_groups_mu);
  if (to.removed_) return Errno(ENODEV);
  if (to.gives_pids_) return Errno(EBUSY);
  const auto count = static_cast<int64_t>(tasks);
  --from.counts_.processes;
  from.CountLocked(-count, -1, 0);
  ++to.counts_.processes;
  to.CountLocked(count, 1, 0);
  return kOk;
}

}  // namespace sentry
