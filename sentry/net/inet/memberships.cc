#include "sentry/net/inet/memberships.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace sentry {
namespace {

constexpr size_t kMaxGroups = 20;     // net.ipv4.igmp_max_memberships.
constexpr size_t kMaxGroups6 = 2340;  // What fits into net.core.optmem_max.

}  // namespace

std::vector<Memberships::Membership>::iterator Memberships::Find(const IpAddress& group) {
  return std::find_if(groups_.begin(), groups_.end(),
                      [&](const Membership& one) { return one.group == group; });
}

Status Memberships::Join(const IpAddress& group, Mode mode) {
  if (Find(group) != groups_.end()) return Errno(EADDRINUSE);
  if (group.is_v4() && groups_.size() >= kMaxGroups) return Errno(ENOBUFS);
  if (groups_.size() >= kMaxGroups6) return Errno(ENOMEM);
  groups_.push_back({.group = group, .mode = mode, .listed = false, .sources = {}});
  return kOk;
}

Status Memberships::Leave(const IpAddress& group) {
  const auto it = Find(group);
  if (it == groups_.end()) return Errno(EADDRNOTAVAIL);
  groups_.erase(it);
  return kOk;
}

// ip_mc_source() of Linux.
Status Memberships::ChangeSource(const IpAddress& group, const IpAddress& source, Mode mode,
                                 Change change) {
  const auto it = Find(group);
  if (it == groups_.end()) return Errno(EINVAL);
  if (it->mode != mode && it->listed) return Errno(EINVAL);
  it->mode = mode;
  const auto found = std::find(it->sources.begin(), it->sources.end(), source);
  const bool there = found != it->sources.end();
  if (there != (change == Change::kRemove)) return Errno(EADDRNOTAVAIL);
  if (change == Change::kRemove) {
    // To hear nobody is not to be there.
    if (it->sources.size() == 1 && mode == Mode::kInclude) return Leave(group);
    it->sources.erase(found);
    return kOk;
  }
  if (it->sources.size() >= MaxSources(group.is_v4() ? AF_INET : AF_INET6)) return Errno(ENOBUFS);
  it->sources.push_back(source);
  it->listed = true;
  return kOk;
}

Status Memberships::SetSources(const IpAddress& group, Mode mode, std::vector<IpAddress> sources) {
  const auto it = Find(group);
  if (it == groups_.end()) return Errno(EINVAL);
  it->mode = mode;
  it->listed = !sources.empty();
  it->sources = std::move(sources);
  return kOk;
}

const Memberships::Membership* Memberships::Get(const IpAddress& group) const {
  const auto it = std::find_if(groups_.begin(), groups_.end(),
                               [&](const Membership& one) { return one.group == group; });
  return it == groups_.end() ? nullptr : &*it;
}

std::optional<bool> Memberships::Hears(const IpAddress& group, const IpAddress& source) const {
  for (const Membership& one : groups_) {
    if (one.group != group) continue;
    const bool named =
        std::find(one.sources.begin(), one.sources.end(), source) != one.sources.end();
    return named == (one.mode == Mode::kInclude);
  }
  return std::nullopt;
}

}  // namespace sentry
