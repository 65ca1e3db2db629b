// The files of a control group: names, texts, and what a write does.
#ifndef SENTRY_FS_CGROUP_INTERFACE_FILES_H_
#define SENTRY_FS_CGROUP_INTERFACE_FILES_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "sentry/task/control_group.h"
#include "sentry/task/kernel.h"

namespace sentry::cgroup {

// A group, and the kernel whose processes are in it.
struct View {
  Kernel& kernel;
  ControlGroup& group;
};

// Whose files are where: those of kCore in every group, those of kPids where the parent gives them,
// the others at the root only, since nothing but the host could enforce them.
enum class Controller : uint8_t { kCore, kPids, kRootOnly };

struct FileRow {
  std::string_view name;
  uint32_t mode;
  Controller controller = Controller::kCore;
  // nullptr: `shown`, or what ControlGroup::Show has put in its place.
  Result<std::string> (*read)(const View& view) = nullptr;
  // nullptr: EINVAL. Whitespace around `text` has been taken off.
  Status (*write)(const View& view, std::string_view text) = nullptr;
  std::string_view shown = {};
  // What Linux lets a cgroup namespace write at its root (mount option nsdelegate); EPERM
  // otherwise.
  bool delegated = false;
};

// By name.
std::span<const FileRow> Files();
bool IsThere(const FileRow& row, const ControlGroup& group);

// usage.cc
Result<std::string> CpuStatText(const View& view);
Result<std::string> MemoryCurrentText(const View& view);
Result<std::string> MemoryPeakText(const View& view);
Result<std::string> MemoryStatText(const View& view);

}  // namespace sentry::cgroup

#endif  // SENTRY_FS_CGROUP_INTERFACE_FILES_H_
