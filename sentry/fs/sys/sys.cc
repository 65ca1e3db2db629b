#include "sentry/fs/sys/sys.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/host_cpus.h"
#include "sentry/fs/proc/host_info.h"
#include "sentry/fs/proc/pseudo.h"
#include "sentry/fs/sys/net.h"

namespace sentry {
namespace {

// Puts a tree together from paths.
class TreeBuilder {
 public:
  TreeBuilder() : root_(NewDirectory()) {}

  Ref<FixedDirectory> Directory(std::string_view path) {
    Ref<FixedDirectory> at = root_;
    while (!path.empty()) {
      const size_t slash = std::min(path.find('/'), path.size());
      const std::string name(path.substr(0, slash));
      path.remove_prefix(std::min(slash + 1, path.size()));
      const auto found = at->Find(name);
      // Only directories are made by the code below under names that paths pass through.
      Ref<FixedDirectory> next =
          found.ok() ? Ref<FixedDirectory>::Share(static_cast<FixedDirectory&>(**found))
                     : NewDirectory();
      if (!found.ok()) at->Put(name, next);
      at = std::move(next);
    }
    return at;
  }
  void Text(std::string_view directory, std::string name, std::string text) {
    const PseudoNode node = SysNode(++ino_, S_IFREG | 0444);
    Directory(directory)->Put(
        std::move(name), MakeRef<FunctionText>(
                             node, [text = std::move(text)] { return Result<std::string>(text); }));
  }
  Ref<Inode> root() const { return root_; }

 private:
  Ref<FixedDirectory> NewDirectory() {
    return MakeRef<FixedDirectory>(SysNode(++ino_, S_IFDIR | 0555));
  }
  uint64_t ino_ = 0;
  Ref<FixedDirectory> root_;
};

}  // namespace

Result<Ref<Inode>> CreateSys(Ref<NetworkNamespace> network) {
  TreeBuilder tree;
  for (const std::string_view path :
       {"block", "bus", "class/tty", "dev/block", "dev/char", "firmware", "fs/cgroup",
        "kernel/mm/transparent_hugepage", "module", "power"}) {
    tree.Directory(path);
  }
  tree.Text("kernel/mm/transparent_hugepage", "enabled", "always [madvise] never\n");
  const int count = HostCpuCount();
  const std::string range = count == 1 ? "0\n" : absl::StrFormat("0-%d\n", count - 1);
  constexpr std::string_view kCpu = "devices/system/cpu";
  for (const char* name : {"online", "possible", "present"}) tree.Text(kCpu, name, range);
  tree.Text(kCpu, "offline", "\n");
  for (int i = 0; i < count; ++i) {
    const std::string cpu = absl::StrFormat("%s/cpu%d", kCpu, i);
    tree.Text(cpu + "/topology", "core_id", absl::StrFormat("%d\n", i));
    tree.Text(cpu + "/topology", "physical_package_id", "0\n");
  }
  tree.Text("devices/system/node", "online", "0\n");
  tree.Text("devices/system/node", "possible", "0\n");
  tree.Text("devices/system/node/node0", "cpulist", range);
  const NetTree net = CreateNetTree(std::move(network));
  tree.Directory("class")->Put("net", net.links);
  tree.Directory("devices/virtual")->Put("net", net.devices);
  return tree.root();
}

}  // namespace sentry
