// Puts a sysfs together from paths.
#ifndef SENTRY_FS_SYS_TREE_H_
#define SENTRY_FS_SYS_TREE_H_

#include <linux/magic.h>

#include <cerrno>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/proc/pseudo.h"

namespace sentry {

// Of sysfs.
inline PseudoNode SysNode(uint64_t ino, uint32_t mode) {
  return {.dev = 20,
          .ino = ino,
          .mode = mode,
          .creation_error = EPERM,
          .filesystem = SYSFS_MAGIC,
          .block_size = 4096};
}

// Paths are relative to the root; directories come to be when something is put into them.
class SysTree {
 public:
  using Make = std::function<Result<std::string>()>;
  using Fill = std::function<void(SysTree&)>;

  // Inode numbers start behind `ino`.
  explicit SysTree(uint64_t ino = 0) : ino_(ino), root_(NewDirectory()) {}

  // Paths lead through directories of this tree only.
  Ref<FixedDirectory> Directory(std::string_view path);
  void Text(std::string_view directory, std::string name, std::string text) {
    Text(directory, std::move(name),
         [text = std::move(text)] { return Result<std::string>(text); });
  }
  // What `make` says at each reading.
  void Text(std::string_view directory, std::string name, Make make);
  void Link(std::string_view directory, std::string name, std::string target);
  // A directory of many files, with a tree of its own that is filled when somebody looks inside.
  void Later(std::string_view directory, std::string name, Fill fill);
  Ref<FixedDirectory> root() const { return root_; }

 private:
  Ref<FixedDirectory> NewDirectory() {
    return MakeRef<FixedDirectory>(SysNode(++ino_, S_IFDIR | 0755));
  }

  uint64_t ino_ = 0;
  uint64_t laters_ = 0;
  Ref<FixedDirectory> root_;
};

}  // namespace sentry

#endif  // SENTRY_FS_SYS_TREE_H_
