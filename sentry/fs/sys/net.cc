#include "sentry/fs/sys/net.h"

#include <functional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sentry/fs/proc/pseudo.h"
#include "sentry/fs/sys/tree.h"
#include "sentry/net/devices/devices.h"
#include "sentry/net/devices/texts.h"

namespace sentry {
namespace {

// Numbers of inodes: a device's index above, what it is below.
constexpr uint64_t kFirstIno = 1 << 20, kPerDevice = 1 << 8;
constexpr uint64_t kDirectory = 0, kLink = 1, kSubsystem = 2, kStatistics = 3, kTexts = 16,
                   kCounters = 64;

PseudoNode Node(int index, uint64_t what, uint32_t mode) {
  return SysNode(kFirstIno + static_cast<uint64_t>(index) * kPerDevice + what, mode);
}

// The device as it is when somebody reads: ENODEV once it is gone.
Result<std::string> Show(NetworkNamespace& network, int index,
                         const std::function<std::string(const Link&)>& text) {
  const auto tables = network.devices().Tables();
  const Link* const link = tables->FindLink(index);
  if (link == nullptr) return Errno(ENODEV);
  return text(*link);
}

Ref<Inode> NewText(const Ref<NetworkNamespace>& network, int index, uint64_t what,
                   std::function<std::string(const Link&)> text) {
  return MakeRef<FunctionText>(
      Node(index, what, S_IFREG | 0444),
      [network, index, text = std::move(text)] { return Show(*network, index, text); });
}

Ref<Inode> NewDevice(const Ref<NetworkNamespace>& network, int index) {
  const auto directory = MakeRef<FixedDirectory>(Node(index, kDirectory, S_IFDIR | 0755));
  uint64_t what = kTexts;
  for (const LinkText& row : LinkTexts()) {
    directory->Put(std::string(row.name), NewText(network, index, what++, row.text));
  }
  const auto statistics = MakeRef<FixedDirectory>(Node(index, kStatistics, S_IFDIR | 0755));
  what = kCounters;
  for (const LinkCounter& row : LinkCounters()) {
    statistics->Put(std::string(row.name),
                    NewText(network, index, what++, [counter = row.counter](const Link& link) {
                      return absl::StrCat(link.counters.*counter, "\n");
                    }));
  }
  directory->Put("statistics", statistics);
  directory->Put("subsystem", MakeRef<PseudoLink>(Node(index, kSubsystem, S_IFLNK | 0777),
                                                  "../../../../class/net"));
  return directory;
}

// One entry for each device: a link to it, or itself.
class DevicesDirectory final : public PseudoDirectory {
 public:
  enum class Kind : uint8_t { kLinks, kDevices };
  DevicesDirectory(Ref<NetworkNamespace> network, Kind kind)
      : PseudoDirectory(Node(0, kind == Kind::kLinks ? kLink : kDirectory, S_IFDIR | 0755)),
        network_(std::move(network)),
        kind_(kind) {}

  Result<Ref<Inode>> Find(std::string_view name) override {
    const auto tables = network_->devices().Tables();
    const sentry::Link* const link = tables->FindLink(name);
    if (link == nullptr) return Errno(ENOENT);
    if (kind_ == Kind::kDevices) return NewDevice(network_, link->index);
    return Ref<Inode>(MakeRef<PseudoLink>(Node(link->index, kLink, S_IFLNK | 0777),
                                          "../../devices/virtual/net/" + link->name));
  }

  Status List(std::vector<DirEntry>& entries) override {
    const bool links = kind_ == Kind::kLinks;
    for (const sentry::Link& link : network_->devices().Tables()->links) {
      const PseudoNode node = Node(link.index, links ? kLink : kDirectory, 0);
      entries.push_back({.name = link.name,
                         .ino = node.ino,
                         .type = DirEntryType(links ? S_IFLNK : S_IFDIR),
                         .next = kFirstPosition + 1 + link.index});
    }
    return kOk;
  }

 private:
  const Ref<NetworkNamespace> network_;
  const Kind kind_;
};

}  // namespace

NetTree CreateNetTree(Ref<NetworkNamespace> network) {
  return {.links = MakeRef<DevicesDirectory>(network, DevicesDirectory::Kind::kLinks),
          .devices = MakeRef<DevicesDirectory>(network, DevicesDirectory::Kind::kDevices)};
}

}  // namespace sentry
