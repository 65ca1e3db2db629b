// Control groups of cgroup v2, wherever it is mounted: /sys/fs/cgroup, or beside v1.
#ifndef TESTS_CONFORMANCE_CGROUP_SUPPORT_H_
#define TESTS_CONFORMANCE_CGROUP_SUPPORT_H_

#include <dirent.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "tests/conformance/support.h"

namespace conformance {

inline std::string CgroupRoot() {
  for (const char* path : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
    struct statfs fs = {};
    if (statfs(path, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC) return path;
  }
  return "";
}

// A group of the test's own, removed at the end.
class Cgroups : public testing::Test {
 protected:
  void SetUp() override {
    root_ = CgroupRoot();
    ASSERT_NE(root_, "") << "cgroup2 is mounted nowhere";
    own_ = OwnGroup("self");
    group_ = root_ + "/conformance." + std::to_string(getpid());
    ASSERT_THAT(mkdir(group_.c_str(), 0755), Returns(0));
  }
  void TearDown() override {
    if (group_.empty()) return;
    (void)Put(own_ == "/" ? root_ : root_ + own_, "cgroup.procs", std::to_string(getpid()));
    Remove(group_);
  }
  std::string At(std::string_view name) const { return group_ + "/" + std::string(name); }

  // Below the mount, as /proc/PID/cgroup says: "/a/b".
  static std::string OwnGroup(const std::string& pid) {
    std::istringstream lines(ReadFile("/proc/" + pid + "/cgroup"));
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("0::")) return line.substr(3);
    }
    return "";
  }
  std::string PathOfGroup() const { return group_.substr(root_.size()); }

  static std::string Get(const std::string& directory, const std::string& file) {
    return ReadFile(directory + "/" + file);
  }
  // -1 with errno, or what write(2) returned.
  static ssize_t Put(const std::string& directory, const std::string& file,
                     const std::string& text) {
    const UniqueFd fd(open((directory + "/" + file).c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd.valid()) return -1;
    return write(fd.get(), text.data(), text.size());
  }
  // The value behind "name " in a file of such lines.
  static std::string Field(const std::string& text, const std::string& name) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with(name + " ")) return line.substr(name.size() + 1);
    }
    return "";
  }
  static std::vector<std::string> Names(const std::string& directory) {
    std::vector<std::string> names;
    DIR* const dir = opendir(directory.c_str());
    if (dir == nullptr) return names;
    while (const dirent* entry = readdir(dir)) names.push_back(entry->d_name);
    closedir(dir);
    std::sort(names.begin(), names.end());
    return names;
  }
  // With its subgroups.
  static void Remove(const std::string& directory) {
    for (const std::string& name : Names(directory)) {
      struct stat st;
      const std::string path = directory + "/" + name;
      if (name[0] != '.' && lstat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) Remove(path);
    }
    EXPECT_TRUE(Eventually([&] { return rmdir(directory.c_str()) == 0; })) << directory;
  }

  std::string root_, own_, group_;
};

}  // namespace conformance

#endif  // TESTS_CONFORMANCE_CGROUP_SUPPORT_H_
