// procfs over a kernel without guests.
#include "sentry/fs/proc/proc.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>

#include <set>
#include <string>

#include "sentry/fs/proc/proc_internal.h"
#include "sentry/task/fake_platform.h"
#include "sentry/task/kernel.h"

namespace sentry {
namespace {

std::string ReadAll(Inode& inode) {
  const auto file = inode.Open(OpenFlags(O_RDONLY));
  if (!file.ok()) return "!open " + std::to_string(file.error().code());
  std::string text;
  for (;;) {
    std::byte chunk[100];  // Small, so that texts arrive in pieces.
    IoDst dst{std::span<std::byte>(chunk)};
    const auto count = (*file)->Read(dst);
    if (!count.ok()) return "!read " + std::to_string(count.error().code());
    if (*count == 0) return text;
    text.append(reinterpret_cast<const char*>(chunk), *count);
  }
}

class Proc : public testing::Test {
 protected:
  // The inode of a path below /proc.
  Result<Ref<Inode>> Find(std::string_view path) {
    Ref<Inode> at = root_;
    while (!path.empty()) {
      const size_t slash = std::min(path.find('/'), path.size());
      at = TRY(at->Lookup(path.substr(0, slash)));
      path.remove_prefix(std::min(slash + 1, path.size()));
    }
    return at;
  }
  std::string Text(std::string_view path) {
    const auto inode = Find(path);
    return inode.ok() ? ReadAll(**inode) : "!find " + std::to_string(inode.error().code());
  }

  fake::FakePlatform platform_;
  fake::FakeDispatcher dispatcher_;
  Kernel kernel_{platform_, dispatcher_, {.hostname = "box"}};
  Ref<Inode> root_ = CreateProc(kernel_);
};

TEST_F(Proc, SystemFiles) {
  EXPECT_EQ(Text("sys/kernel/hostname"), "box\n");
  EXPECT_EQ(Text("sys/kernel/cap_last_cap"), "40\n");
  EXPECT_TRUE(Text("cpuinfo").starts_with("processor\t: 0\nvendor_id\t: "));
  EXPECT_TRUE(Text("meminfo").starts_with("MemTotal:       "));
  EXPECT_TRUE(Text("stat").starts_with("cpu  "));
  EXPECT_EQ(Text("sys/kernel/random/boot_id").size(), 37u);
  EXPECT_EQ(Text("sys/kernel/random/boot_id"), Text("sys/kernel/random/boot_id"));
  EXPECT_NE(Text("sys/kernel/random/uuid"), Text("sys/kernel/random/uuid"));
}

TEST_F(Proc, NamesThatAreNoProcesses) {
  for (const char* name : {"1", "01", "-1", "99999999999", "1x", "nothing"}) {
    EXPECT_EQ(Find(name).error(), Errno(ENOENT)) << name;
  }
  EXPECT_EQ((*Find("self"))->ReadLink().error(), Errno(ENOENT));  // Nobody looks.
}

TEST_F(Proc, ListingsAgreeWithLookups) {
  const auto file = root_->Open(OpenFlags(O_RDONLY | O_DIRECTORY));
  ASSERT_TRUE(file.ok());
  std::set<std::string> names;
  ASSERT_TRUE((*file)
                  ->ReadDir([&](const DirEntry& entry) {
                    names.insert(entry.name);
                    return true;
                  })
                  .ok());
  EXPECT_TRUE(names.contains("cpuinfo"));
  for (const std::string& name : names) {
    if (name == "." || name == "..") continue;
    EXPECT_TRUE(root_->Lookup(name).ok()) << name;
  }
}

TEST_F(Proc, ADirectoryIsReadInPieces) {
  const auto file = root_->Open(OpenFlags(O_RDONLY | O_DIRECTORY));
  std::vector<std::string> names;
  for (size_t before = ~size_t{0}; names.size() != before;) {
    before = names.size();
    int room = 2;
    ASSERT_TRUE((*file)
                    ->ReadDir([&](const DirEntry& entry) {
                      if (room-- == 0) return false;
                      names.push_back(entry.name);
                      return true;
                    })
                    .ok());
  }
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
  EXPECT_GT(names.size(), 10u);
}

}  // namespace
}  // namespace sentry
