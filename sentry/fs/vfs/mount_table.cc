#include "sentry/fs/vfs/mount_table.h"

#include <sys/mount.h>

#include <algorithm>

#include "absl/container/flat_hash_set.h"

namespace sentry {

Mount* MountTable::MountedOn(const Mount& mount, const Dentry& dentry) const {
  const auto it = mounted_on_.find({&mount, &dentry});
  return it == mounted_on_.end() ? nullptr : it->second;
}

std::pair<Mount*, Dentry*> MountTable::Topmost(Mount& mount, Dentry& dentry) const {
  std::pair<Mount*, Dentry*> at{&mount, &dentry};
  while (Mount* const above = MountedOn(*at.first, *at.second)) at = {above, above->root_.get()};
  return at;
}

std::vector<Mount*> MountTable::MountsOn(const Dentry& dentry) const {
  std::vector<Mount*> mounts;
  for (const auto& [place, mount] : mounted_on_) {
    if (place.second == &dentry) mounts.push_back(mount);
  }
  return mounts;
}

MountTable::Tree MountTable::Subtree(Mount& mount) {
  Tree tree{Ref<Mount>::Share(mount)};
  for (size_t i = 0; i < tree.size(); ++i) {
    for (Mount* const child : tree[i]->children_) tree.push_back(Ref<Mount>::Share(*child));
  }
  return tree;
}

// clone_mnt() of Linux.
Ref<Mount> MountTable::CopyMount(Mount& mount, Dentry& root, const Copy& copy) {
  Ref<Mount> made =
      MakeRef<Mount>(mount.superblock_, Ref<Dentry>::Share(root), mount.source_, mount.flags());
  if (copy.slave) {
    if (mount.group_ != 0) BecomeSlave(*made, mount.group_);
  } else {
    if (mount.group_ != 0) JoinGroup(*made, mount.group_);
    if (mount.master_ != 0) BecomeSlave(*made, mount.master_);
  }
  made->unbindable_ = mount.unbindable_ && !copy.leaves_unbindable;
  if (copy.shared && made->group_ == 0) NewGroup(*made);
  return made;
}

MountTable::Tree MountTable::CopyTree(Mount& mount, Dentry& root, const Copy& copy,
                                      Tree* originals) {
  Tree tree{CopyMount(mount, root, copy)};
  Tree from{Ref<Mount>::Share(mount)};  // What each is a copy of.
  for (size_t i = 0; i < from.size(); ++i) {
    for (Mount* const child : from[i]->children_) {
      Dentry& point = *child->mount_point_;
      if (!tree[i]->root_->IsAncestorOfLocked(point)) continue;
      if (child->unbindable_ && copy.leaves_unbindable) continue;
      tree.push_back(CopyMount(*child, *child->root_, copy));
      Link(*tree.back(), *tree[i], point);
      from.push_back(Ref<Mount>::Share(*child));
    }
  }
  // Otherwise no reference here is the last: the mounts hang in a tree.
  if (originals != nullptr) *originals = std::move(from);
  return tree;
}

void MountTable::Link(Mount& mount, Mount& parent, Dentry& point) {
  errors_.MountsChanged();
  mounted_on_[{&parent, &point}] = &mount;
  // Once it is too many to count it stays so: who finds it is not 0 looks for mounts.
  if (point.mounts_ != UINT16_MAX) ++point.mounts_;
  parent.children_.push_back(&mount);
  mount.parent_ = Ref<Mount>::Share(parent);
  mount.mount_point_ = Ref<Dentry>::Share(point);
}

void MountTable::Unlink(Mount& mount, Garbage& garbage) {
  if (!mount.parent_) return;
  errors_.MountsChanged();
  mounted_on_.erase({mount.parent_.get(), mount.mount_point_.get()});
  if (mount.mount_point_->mounts_ != UINT16_MAX) --mount.mount_point_->mounts_;
  std::erase(mount.parent_->children_, &mount);
  garbage.dentries.push_back(std::move(mount.mount_point_));
  garbage.mounts.push_back(std::move(mount.parent_));
}

void MountTable::DropStrangers(MountNamespace& ns) {
  std::erase_if(ns.mounts_, [&ns](const Ref<Mount>& mount)
                                ABSL_NO_THREAD_SAFETY_ANALYSIS { return mount->ns_ != &ns; });
}

void MountTable::SetNamespace(const Tree& tree, MountNamespace& ns) {
  absl::flat_hash_set<MountNamespace*> left;
  for (const Ref<Mount>& mount : tree) {
    if (mount->ns_ == &ns) continue;
    if (mount->ns_ != nullptr) left.insert(mount->ns_);
    mount->ns_ = &ns;
    ns.mounts_.push_back(mount);
  }
  for (MountNamespace* const other : left) DropStrangers(*other);
  ns.Changed();
}

void MountTable::Graft(const Tree& tree, Mount& parent, Dentry& point, Garbage& garbage) {
  Mount& top = *tree.front();
  // What others have mounted here meanwhile stays on top, as in Linux.
  Mount* const above = MountedOn(parent, point);
  if (above != nullptr) Unlink(*above, garbage);
  Link(top, parent, point);
  if (above != nullptr) Link(*above, top, *top.root_);
  SetNamespace(tree, *parent.ns_);
}

void MountTable::SetRoot(MountNamespace& ns, Tree tree) {
  ns.root_ = tree.front().get();
  SetNamespace(tree, ns);
}

void MountTable::Drop(Tree tree, Garbage& garbage) {
  for (const Ref<Mount>& mount : tree) {
    LeaveGroup(*mount);
    LeaveMaster(*mount);
    Unlink(*mount, garbage);
  }
  for (Ref<Mount>& mount : tree) garbage.mounts.push_back(std::move(mount));
}

std::vector<Mount*> MountTable::Receivers(const Mount& parent, const Dentry& point) const {
  std::vector<Mount*> found;
  absl::flat_hash_set<int> seen{parent.group_};
  std::vector<int> groups{parent.group_};
  const auto add = [&](Mount* mount) {
    const bool known = std::find(found.begin(), found.end(), mount) != found.end();
    if (mount != &parent && !known && mount->root_->IsAncestorOfLocked(point)) {
      found.push_back(mount);
    }
  };
  for (size_t i = 0; i < groups.size(); ++i) {
    const PeerGroup* const group = FindGroup(groups[i]);
    if (group == nullptr) continue;
    for (Mount* const member : group->members) add(member);
    for (Mount* const slave : group->slaves) {
      add(slave);
      if (slave->group_ != 0 && seen.insert(slave->group_).second) groups.push_back(slave->group_);
    }
  }
  return found;
}

// propagate_mnt() of Linux. Each group of peers among the slaves gets one copy that receives from
// the original, and copies of that.
std::vector<MountTable::Placed> MountTable::CopiesFor(const Tree& tree, const Mount& parent,
                                                      const Dentry& point, size_t limit) {
  struct Work {
    int group;
    Mount* origin;       // What is copied for it.
    const Mount* maker;  // Has it already.
  };
  std::vector<Placed> copies;
  size_t count = 0;
  absl::flat_hash_set<int> seen{parent.group_};
  std::vector<Work> works{{parent.group_, tree.front().get(), &parent}};
  const auto place = [&](Mount* at, Mount& origin, const Copy& copy)
                         ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu) {
                           copies.push_back({CopyTree(origin, *origin.root_, copy), at});
                           count += copies.back().tree.size();
                           return copies.back().tree.front().get();
                         };
  for (size_t i = 0; i < works.size() && count <= limit; ++i) {
    const Work work = works[i];
    const PeerGroup* const group = FindGroup(work.group);
    if (group == nullptr) continue;
    const std::vector<Mount*> members = group->members, slaves = group->slaves;
    for (Mount* const member : members) {
      if (member == work.maker || !member->root_->IsAncestorOfLocked(point)) continue;
      place(member, *work.origin, {.slave = false});
      if (count > limit) return copies;
    }
    for (Mount* const slave : slaves) {
      const bool sees = slave->root_->IsAncestorOfLocked(point);
      if (slave->group_ == 0) {
        if (sees) place(slave, *work.origin, {.slave = true});
        if (count > limit) return copies;
        continue;
      }
      // The first of its peers that sees the place passes it on to the others.
      if (!sees || !seen.insert(slave->group_).second) continue;
      Mount* const origin = place(slave, *work.origin, {.slave = true, .shared = true});
      works.push_back({slave->group_, origin, slave});
    }
  }
  return copies;
}

Status MountTable::Join(Tree tree, Mount& parent, Dentry& point, Garbage& garbage) {
  std::vector<Placed> copies;
  const size_t room = kMaxMounts - std::min(kMaxMounts, parent.ns_->mounts_.size());
  Status result =
      tree.size() <= room && point.mounts_ < UINT16_MAX / 2 ? Status(kOk) : Status(Errno(ENOSPC));
  if (result.ok() && parent.group_ != 0) {
    for (const Ref<Mount>& mount : tree) {
      if (mount->unbindable_) result = Errno(EINVAL);
      if (mount->group_ == 0 && result.ok()) NewGroup(*mount);
    }
    if (result.ok()) copies = CopiesFor(tree, parent, point, room);
    size_t count = tree.size();
    for (const Placed& copy : copies) count += copy.tree.size();
    if (count > room || copies.size() > UINT16_MAX / 2) result = Errno(ENOSPC);
  }
  if (!result.ok()) {
    for (Placed& copy : copies) Drop(std::move(copy.tree), garbage);
    if (tree.front()->ns_ == nullptr) Drop(std::move(tree), garbage);
    return result;
  }
  Graft(tree, parent, point, garbage);
  for (const Placed& copy : copies) Graft(copy.tree, *copy.parent, point, garbage);
  return kOk;
}

void MountTable::Lift(Mount& mount, Garbage& garbage) {
  garbage.mounts.push_back(Ref<Mount>::Share(mount));
  Unlink(mount, garbage);
}

void MountTable::Put(Mount& mount, Mount& parent, Dentry& point) {
  Link(mount, parent, point);
  SetNamespace(Subtree(mount), *parent.ns_);
}

void MountTable::RemoveOne(Mount& mount, Garbage& garbage) {
  LeaveGroup(mount);
  LeaveMaster(mount);
  garbage.mounts.push_back(Ref<Mount>::Share(mount));
  Unlink(mount, garbage);
  MountNamespace* const ns = std::exchange(mount.ns_, nullptr);
  if (ns == nullptr) return;
  garbage.left.insert(ns);
  if (ns->root_ == &mount) ns->root_ = nullptr;
}

// umount_tree() and propagate_umount() of Linux: children before parents, so that a copy elsewhere
// goes exactly when nothing of others hangs on it.
void MountTable::Remove(Mount& mount, Garbage& garbage) {
  const Tree tree = Subtree(mount);
  for (auto it = tree.rbegin(); it != tree.rend(); ++it) {
    Mount& one = **it;
    std::vector<Mount*> copies;
    if (one.parent_ && one.parent_->group_ != 0) {
      for (Mount* const receiver : Receivers(*one.parent_, *one.mount_point_)) {
        Mount* const copy = MountedOn(*receiver, *one.mount_point_);
        if (copy != nullptr && copy->root_ == one.root_) copies.push_back(copy);
      }
    }
    RemoveOne(one, garbage);
    for (Mount* const copy : copies) {
      if (copy->children_.empty() && copy->ns_ != nullptr) RemoveOne(*copy, garbage);
    }
  }
  for (MountNamespace* const ns : std::exchange(garbage.left, {})) {
    DropStrangers(*ns);
    ns->Changed();
  }
}

void MountTable::Dissolve(MountNamespace& ns, Garbage& garbage) {
  // Taken out first: then none is looked for in the list.
  const Tree all = std::exchange(ns.mounts_, {});
  for (auto it = all.rbegin(); it != all.rend(); ++it) RemoveOne(**it, garbage);
  for (const Ref<Mount>& mount : all) garbage.mounts.push_back(mount);
  garbage.left.clear();
}

const MountTable::PeerGroup* MountTable::FindGroup(int group) const {
  const auto it = groups_.find(group);
  return it == groups_.end() ? nullptr : &it->second;
}

void MountTable::NewGroup(Mount& mount) { JoinGroup(mount, ++last_group_); }

void MountTable::JoinGroup(Mount& mount, int group) {
  mount.group_ = group;
  groups_[group].members.push_back(&mount);
}

void MountTable::BecomeSlave(Mount& mount, int group) {
  LeaveMaster(mount);
  mount.master_ = group;
  groups_[group].slaves.push_back(&mount);
}

void MountTable::LeaveGroup(Mount& mount) {
  if (mount.group_ == 0) return;
  const auto it = groups_.find(std::exchange(mount.group_, 0));
  std::erase(it->second.members, &mount);
  if (!it->second.members.empty()) return;
  // The last peer leaves its slaves to its own master.
  const std::vector<Mount*> slaves = std::move(it->second.slaves);
  groups_.erase(it);
  for (Mount* const slave : slaves) {
    slave->master_ = mount.master_;
    if (mount.master_ != 0) groups_[mount.master_].slaves.push_back(slave);
  }
}

void MountTable::LeaveMaster(Mount& mount) {
  if (mount.master_ == 0) return;
  const auto it = groups_.find(std::exchange(mount.master_, 0));
  if (it != groups_.end()) std::erase(it->second.slaves, &mount);
}

// change_mnt_propagation() of Linux.
void MountTable::SetPropagation(Mount& mount, Propagation type) {
  const auto how = static_cast<uint32_t>(type);
  if (how == MS_SHARED) {
    if (mount.group_ == 0) NewGroup(mount);
    mount.unbindable_ = false;
    return;
  }
  const int group = mount.group_;
  const bool has_peers = group != 0 && FindGroup(group)->members.size() > 1;
  if (how == MS_SLAVE) {
    LeaveGroup(mount);
    if (has_peers) BecomeSlave(mount, group);
    mount.unbindable_ = false;
    return;
  }
  LeaveGroup(mount);
  LeaveMaster(mount);
  mount.unbindable_ = how == MS_UNBINDABLE;
}

}  // namespace sentry
