#include "sentry/fs/sys/sys.h"

#include <string_view>
#include <utility>

#include "sentry/fs/sys/cpu.h"
#include "sentry/fs/sys/net.h"
#include "sentry/fs/sys/tree.h"

namespace sentry {

Result<Ref<Inode>> CreateSys(Ref<NetworkNamespace> network) {
  SysTree tree;
  for (const std::string_view path :
       {"block", "bus", "class/tty", "dev/block", "dev/char", "firmware", "fs/cgroup",
        "kernel/mm/transparent_hugepage", "module", "power"}) {
    tree.Directory(path);
  }
  constexpr std::string_view kHugePages = "kernel/mm/transparent_hugepage";
  tree.Text(kHugePages, "enabled", "always [madvise] never\n");
  tree.Text(kHugePages, "hpage_pmd_size", "2097152\n");
  AddCpus(tree);
  AddNode(tree);
  const NetTree net = CreateNetTree(std::move(network));
  tree.Directory("class")->Put("net", net.links);
  tree.Directory("devices/virtual")->Put("net", net.devices);
  return Ref<Inode>(tree.root());
}

}  // namespace sentry
