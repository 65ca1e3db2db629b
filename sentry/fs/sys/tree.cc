#include "sentry/fs/sys/tree.h"

#include <algorithm>
#include <vector>

#include "absl/base/call_once.h"

namespace sentry {
namespace {

// Each has room for so many numbers.
constexpr uint64_t kLaterInodes = uint64_t{1} << 16;
constexpr uint64_t kFirstLater = uint64_t{1} << 32;

class LaterDirectory final : public PseudoDirectory {
 public:
  LaterDirectory(uint64_t ino, SysTree::Fill fill)
      : PseudoDirectory(SysNode(ino, S_IFDIR | 0755)), tree_(ino), fill_(std::move(fill)) {}

  Result<Ref<Inode>> Find(std::string_view name) override { return Filled()->Find(name); }
  Status List(std::vector<DirEntry>& entries) override { return Filled()->List(entries); }

 private:
  Ref<FixedDirectory> Filled() {
    absl::call_once(once_, [this] { fill_(tree_); });
    return tree_.root();
  }

  absl::once_flag once_;
  SysTree tree_;
  const SysTree::Fill fill_;
};

}  // namespace

Ref<FixedDirectory> SysTree::Directory(std::string_view path) {
  Ref<FixedDirectory> at = root_;
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    const std::string name(path.substr(0, slash));
    path.remove_prefix(std::min(slash + 1, path.size()));
    const auto found = at->Find(name);
    Ref<FixedDirectory> next =
        found.ok() ? Ref<FixedDirectory>::Share(static_cast<FixedDirectory&>(**found))
                   : NewDirectory();
    if (!found.ok()) at->Put(name, next);
    at = std::move(next);
  }
  return at;
}

void SysTree::Text(std::string_view directory, std::string name, Make make) {
  const PseudoNode node = SysNode(++ino_, S_IFREG | 0444);
  Directory(directory)->Put(std::move(name), MakeRef<FunctionText>(node, std::move(make)));
}

void SysTree::Link(std::string_view directory, std::string name, std::string target) {
  const PseudoNode node = SysNode(++ino_, S_IFLNK | 0777);
  Directory(directory)->Put(std::move(name), MakeRef<PseudoLink>(node, std::move(target)));
}

void SysTree::Later(std::string_view directory, std::string name, Fill fill) {
  const uint64_t ino = kFirstLater + kLaterInodes * ++laters_;
  Directory(directory)->Put(std::move(name), MakeRef<LaterDirectory>(ino, std::move(fill)));
}

}  // namespace sentry
