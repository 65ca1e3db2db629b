#include "runsc/spec/mount_options.h"

#include <linux/mount.h>
#include <sys/mount.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace runsc::spec {

namespace {

struct Option {
  std::string_view name;
  uint64_t flag;
  bool clear;
};

// Since Linux 5.10; glibc's header may be older.
constexpr uint64_t kMsNoSymFollow = 256;

constexpr Option kOptions[] = {
    {"acl", MS_POSIXACL, false},
    {"async", MS_SYNCHRONOUS, true},
    {"atime", MS_NOATIME, true},
    {"bind", MS_BIND, false},
    {"defaults", 0, false},
    {"dev", MS_NODEV, true},
    {"diratime", MS_NODIRATIME, true},
    {"dirsync", MS_DIRSYNC, false},
    {"exec", MS_NOEXEC, true},
    {"iversion", MS_I_VERSION, false},
    {"lazytime", MS_LAZYTIME, false},
    {"loud", MS_SILENT, true},
    {"mand", MS_MANDLOCK, false},
    {"noacl", MS_POSIXACL, true},
    {"noatime", MS_NOATIME, false},
    {"nodev", MS_NODEV, false},
    {"nodiratime", MS_NODIRATIME, false},
    {"noexec", MS_NOEXEC, false},
    {"noiversion", MS_I_VERSION, true},
    {"nolazytime", MS_LAZYTIME, true},
    {"nomand", MS_MANDLOCK, true},
    {"norelatime", MS_RELATIME, true},
    {"nostrictatime", MS_STRICTATIME, true},
    {"nosuid", MS_NOSUID, false},
    {"nosymfollow", kMsNoSymFollow, false},
    {"rbind", MS_BIND | MS_REC, false},
    {"relatime", MS_RELATIME, false},
    {"remount", MS_REMOUNT, false},
    {"ro", MS_RDONLY, false},
    {"rw", MS_RDONLY, true},
    {"silent", MS_SILENT, false},
    {"strictatime", MS_STRICTATIME, false},
    {"suid", MS_NOSUID, true},
    {"symfollow", kMsNoSymFollow, true},
    {"sync", MS_SYNCHRONOUS, false},
};

constexpr Option kPropagation[] = {
    {"private", MS_PRIVATE, false},       {"rprivate", MS_PRIVATE | MS_REC, false},
    {"shared", MS_SHARED, false},         {"rshared", MS_SHARED | MS_REC, false},
    {"slave", MS_SLAVE, false},           {"rslave", MS_SLAVE | MS_REC, false},
    {"unbindable", MS_UNBINDABLE, false}, {"runbindable", MS_UNBINDABLE | MS_REC, false},
};

// mount_setattr(2) with AT_RECURSIVE. The ways to keep access times share a field.
constexpr Option kRecursive[] = {
    {"ratime", MOUNT_ATTR_NOATIME, true},
    {"rdev", MOUNT_ATTR_NODEV, true},
    {"rdiratime", MOUNT_ATTR_NODIRATIME, true},
    {"rexec", MOUNT_ATTR_NOEXEC, true},
    {"rnoatime", MOUNT_ATTR_NOATIME, false},
    {"rnodev", MOUNT_ATTR_NODEV, false},
    {"rnodiratime", MOUNT_ATTR_NODIRATIME, false},
    {"rnoexec", MOUNT_ATTR_NOEXEC, false},
    {"rnorelatime", MOUNT_ATTR_RELATIME, true},
    {"rnostrictatime", MOUNT_ATTR_STRICTATIME, true},
    {"rnosuid", MOUNT_ATTR_NOSUID, false},
    {"rnosymfollow", MOUNT_ATTR_NOSYMFOLLOW, false},
    {"rrelatime", MOUNT_ATTR_RELATIME, false},
    {"rro", MOUNT_ATTR_RDONLY, false},
    {"rrw", MOUNT_ATTR_RDONLY, true},
    {"rstrictatime", MOUNT_ATTR_STRICTATIME, false},
    {"rsuid", MOUNT_ATTR_NOSUID, true},
    {"rsymfollow", MOUNT_ATTR_NOSYMFOLLOW, true},
};

template <size_t N>
const Option* Find(const Option (&table)[N], std::string_view name) {
  const auto* found = std::find_if(std::begin(table), std::end(table),
                                   [&](const Option& option) { return option.name == name; });
  return found == std::end(table) ? nullptr : found;
}

// The later of two opposite options wins.
void Apply(const Option& option, uint64_t& set, uint64_t& cleared) {
  if (option.clear) {
    set &= ~option.flag;
    cleared |= option.flag;
  } else {
    set |= option.flag;
    cleared &= ~option.flag;
  }
}

void DecodeOne(const std::string& name, Mount& mount) {
  if (const Option* option = Find(kOptions, name)) {
    return Apply(*option, mount.flags, mount.cleared_flags);
  }
  if (const Option* option = Find(kPropagation, name)) {
    mount.propagation.push_back(option->flag);
    return;
  }
  if (const Option* option = Find(kRecursive, name)) {
    // Their bits are the same. What a mount shows, with the mounts below, is one mount inside.
    constexpr uint64_t kAlsoFlags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
    static_assert(MOUNT_ATTR_RDONLY == MS_RDONLY && MOUNT_ATTR_NOSUID == MS_NOSUID &&
                  MOUNT_ATTR_NODEV == MS_NODEV && MOUNT_ATTR_NOEXEC == MS_NOEXEC);
    if ((option->flag & kAlsoFlags) != 0) Apply(*option, mount.flags, mount.cleared_flags);
    if ((option->flag & MOUNT_ATTR__ATIME) != 0 || option->flag == MOUNT_ATTR_RELATIME) {
      mount.recursive_clear |= MOUNT_ATTR__ATIME;
      if (!option->clear) mount.recursive_set |= option->flag;
      return;
    }
    return Apply(*option, mount.recursive_set, mount.recursive_clear);
  }
  if (name == "tmpcopyup") {
    mount.tmpcopyup = true;
  } else if (name == "idmap" || name == "ridmap") {
    mount.idmapped = true;
  } else {
    absl::StrAppend(&mount.data, mount.data.empty() ? "" : ",", name);
  }
}

}  // namespace

void DecodeOptions(const std::vector<std::string>& options, Mount& mount) {
  for (const std::string& option : options) DecodeOne(option, mount);
}

uint64_t DecodePropagation(std::string_view option) {
  const Option* found = Find(kPropagation, option);
  return found == nullptr ? 0 : found->flag;
}

std::vector<std::string> KnownMountOptions() {
  std::vector<std::string> names = {"tmpcopyup"};
  for (const Option& option : kOptions) names.emplace_back(option.name);
  for (const Option& option : kPropagation) names.emplace_back(option.name);
  for (const Option& option : kRecursive) names.emplace_back(option.name);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace runsc::spec
