// What the cases of mounted overlays share: layers on a tmpfs of their own.
#ifndef TESTS_CONFORMANCE_OVERLAY_SUPPORT_H_
#define TESTS_CONFORMANCE_OVERLAY_SUPPORT_H_

#include <dirent.h>
#include <sys/xattr.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/conformance/mount_support.h"

namespace conformance {

// The layers are a (the lower one), b (the upper one), c (for work); the overlay is mounted on d.
class Overlays : public Mounts {
 protected:
  // `options` behind "lowerdir=a,upperdir=b,workdir=c".
  int MountOverlay(const std::string& more = "", unsigned long flags = 0) {
    return MountWith(Layers() + more, flags);
  }
  std::string Layers() const {
    return "lowerdir=" + At("a") + ",upperdir=" + At("b") + ",workdir=" + At("c");
  }
  int MountWith(const std::string& options, unsigned long flags = 0) {
    return mount("overlay", At("d").c_str(), "overlay", flags, options.c_str());
  }
  void Put(const std::string& name, const std::string& text) { WriteFile(At(name), text); }
  std::string Get(const std::string& name) const { return ReadFile(At(name)); }
  void MakeDir(const std::string& name) { EXPECT_THAT(mkdir(At(name).c_str(), 0755), Returns(0)); }
  struct stat Stat(const std::string& name) const {
    struct stat st {};
    EXPECT_THAT(lstat(At(name).c_str(), &st), Returns(0)) << name;
    return st;
  }
  bool IsWhiteout(const std::string& name) const {
    struct stat st;
    return lstat(At(name).c_str(), &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == 0;
  }
  bool IsOpaque(const std::string& name, const char* attribute = "trusted.overlay.opaque") const {
    char value[8];
    return getxattr(At(name).c_str(), attribute, value, sizeof value) == 1 && value[0] == 'y';
  }
  // The names of a directory, sorted, with spaces between.
  std::string List(const std::string& name) const {
    std::vector<std::string> names;
    DIR* const dir = opendir(At(name).c_str());
    if (dir == nullptr) return "?";
    while (const dirent* const entry = readdir(dir)) {
      if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
    }
    closedir(dir);
    std::sort(names.begin(), names.end());
    std::string text;
    for (const std::string& one : names) text += (text.empty() ? "" : " ") + one;
    return text;
  }
};

}  // namespace conformance

#endif  // TESTS_CONFORMANCE_OVERLAY_SUPPORT_H_
