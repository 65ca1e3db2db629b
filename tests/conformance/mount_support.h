// What the cases of mounts share: a namespace of their own, and mountinfo taken apart.
#ifndef TESTS_CONFORMANCE_MOUNT_SUPPORT_H_
#define TESTS_CONFORMANCE_MOUNT_SUPPORT_H_

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "tests/conformance/support.h"

namespace conformance {

// A line of /proc/PID/mountinfo.
struct MountLine {
  int id = 0, parent = 0;
  std::string device, root, point, options;
  std::vector<std::string> fields;  // The optional ones.
  std::string type, source, super_options;
};

inline std::vector<MountLine> MountLines(const std::string& file = "/proc/self/mountinfo") {
  std::vector<MountLine> lines;
  std::istringstream text(ReadFile(file));
  for (std::string row; std::getline(text, row);) {
    std::istringstream words(row);
    MountLine line;
    words >> line.id >> line.parent >> line.device >> line.root >> line.point >> line.options;
    for (std::string word; words >> word && word != "-";) line.fields.push_back(word);
    words >> line.type >> line.source >> line.super_options;
    lines.push_back(line);
  }
  return lines;
}

// The last mount at `point`.
inline std::optional<MountLine> FindMount(const std::string& point,
                                          const std::string& file = "/proc/self/mountinfo") {
  std::optional<MountLine> found;
  for (const MountLine& line : MountLines(file)) {
    if (line.point == point) found = line;
  }
  return found;
}

inline bool HasWord(const std::string& list, const std::string& word) {
  return ("," + list + ",").find("," + word + ",") != std::string::npos;
}

// "shared", "slave", "shared slave", "unbindable" or "private".
inline std::string PropagationOf(const std::string& point) {
  const auto mount = FindMount(point);
  if (!mount) return "none";
  std::string text;
  for (const std::string& field : mount->fields) {
    if (!text.empty()) text += ' ';
    if (field.rfind("shared:", 0) == 0) text += "shared";
    if (field.rfind("master:", 0) == 0) text += "slave";
    if (field == "unbindable") text += field;
  }
  return text.empty() ? "private" : text;
}

inline bool Exists(const std::string& path) {
  struct stat st;
  return stat(path.c_str(), &st) == 0;
}

// Each case runs in a child with a mount namespace of its own, where everything is private, at a
// fresh tmpfs with the directories a, b, c and d.
class Mounts : public testing::Test {
 protected:
  template <typename Body>
  void Inside(Body body) {
    EXPECT_THAT(InChild([&] {
                  CHILD_CHECK(unshare(CLONE_NEWNS) == 0);
                  CHILD_CHECK(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
                  CHILD_CHECK(mount("base", dir_.path().c_str(), "tmpfs", 0, nullptr) == 0);
                  for (const char* name : {"a", "b", "c", "d"}) {
                    CHILD_CHECK(mkdir((dir_ / name).c_str(), 0755) == 0);
                  }
                  body();
                  return testing::Test::HasFailure() ? 1 : 0;
                }),
                Exited(0));
  }
  std::string At(const std::string& name) const { return dir_ / name; }
  int MountTmpfs(const std::string& name, unsigned long flags = 0, const char* data = nullptr) {
    return mount("tmp", At(name).c_str(), "tmpfs", flags, data);
  }
  int Bind(const std::string& from, const std::string& to, unsigned long flags = 0) {
    return mount(At(from).c_str(), At(to).c_str(), nullptr, MS_BIND | flags, nullptr);
  }
  int Propagate(const std::string& name, unsigned long type) {
    return mount(nullptr, At(name).c_str(), nullptr, type, nullptr);
  }
  void Touch(const std::string& name) { UniqueFd(creat(At(name).c_str(), 0644)).reset(); }
  bool Has(const std::string& name) const { return Exists(At(name)); }

  TempDir dir_;
};

}  // namespace conformance

#endif  // TESTS_CONFORMANCE_MOUNT_SUPPORT_H_
