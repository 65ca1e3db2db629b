#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <string_view>

#include "sentry/fs/dev/devices.h"
#include "sentry/fs/tmpfs/tmpfs.h"

namespace sentry {
namespace {

struct DeviceNode {
  std::string_view name;
  uint32_t major, minor, mode;
};
constexpr DeviceNode kNodes[] = {
    {"null", 1, 3, 0666},    {"zero", 1, 5, 0666}, {"full", 1, 7, 0666}, {"random", 1, 8, 0666},
    {"urandom", 1, 9, 0666}, {"tty", 5, 0, 0666},  {"ptmx", 5, 2, 0666},
};

struct LinkNode {
  std::string_view name, target;
};
constexpr LinkNode kLinks[] = {
    {"fd", "/proc/self/fd"},
    {"stdin", "/proc/self/fd/0"},
    {"stdout", "/proc/self/fd/1"},
    {"stderr", "/proc/self/fd/2"},
};

struct DirectoryNode {
  std::string_view name;
  uint32_t mode;
};
constexpr DirectoryNode kDirectories[] = {{"shm", 01777}, {"pts", 0755}, {"mqueue", 01777}};

}  // namespace

Result<Ref<Inode>> CreateDevTree() {
  Ref<Inode> root = Tmpfs::Create({.mode = 0755});
  for (const DeviceNode& node : kNodes) {
    TRY(root->Create(node.name,
                     {.mode = S_IFCHR | node.mode, .rdev = makedev(node.major, node.minor)}));
  }
  for (const LinkNode& link : kLinks) {
    TRY(root->Symlink(link.name, link.target, {.mode = S_IFLNK | 0777}));
  }
  for (const DirectoryNode& directory : kDirectories) {
    TRY(root->Mkdir(directory.name, {.mode = S_IFDIR | directory.mode}));
  }
  return root;
}

}  // namespace sentry
