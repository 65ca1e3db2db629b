// Memory policies (numa(7)) as they are on any machine: node 0 exists.
#include <linux/mempolicy.h>

#include "tests/conformance/memory_support.h"

namespace {

constexpr unsigned long kNode0 = 1, kNoNode = 1ul << 40;
constexpr unsigned long kBits = 64;

long SetPolicy(int mode, const unsigned long* nodes, unsigned long max) {
  return syscall(SYS_set_mempolicy, mode, nodes, max);
}
long GetPolicy(int* mode, unsigned long* nodes, unsigned long max, const void* addr,
               unsigned long flags) {
  return syscall(SYS_get_mempolicy, mode, nodes, max, addr, flags);
}
long Bind(const void* at, size_t size, int mode, const unsigned long* nodes, unsigned long max,
          unsigned flags = 0) {
  return syscall(SYS_mbind, at, size, mode, nodes, max, flags);
}

TEST(MemPolicy, DefaultToBeginWith) {
  EXPECT_THAT(InChild([] {
                int mode = -1;
                unsigned long nodes[16] = {~0ul};
                CHILD_CHECK(GetPolicy(&mode, nodes, 1024, nullptr, 0) == 0);
                CHILD_CHECK(mode == MPOL_DEFAULT && nodes[0] == 0);
                return 0;
              }),
              Exited(0));
}

TEST(MemPolicy, SetAndTold) {
  EXPECT_THAT(InChild([] {
                for (const int mode : {int{MPOL_BIND}, int{MPOL_PREFERRED}, int{MPOL_INTERLEAVE},
                                       int{MPOL_PREFERRED_MANY}, MPOL_BIND | MPOL_F_STATIC_NODES}) {
                  CHILD_CHECK(SetPolicy(mode, &kNode0, kBits) == 0);
                  int told = -1;
                  unsigned long nodes[16] = {};
                  CHILD_CHECK(GetPolicy(&told, nodes, 1024, nullptr, 0) == 0);
                  CHILD_CHECK(told == mode && nodes[0] == 1);
                }
                CHILD_CHECK(SetPolicy(MPOL_LOCAL, nullptr, 0) == 0);
                int told = -1;
                CHILD_CHECK(GetPolicy(&told, nullptr, 0, nullptr, 0) == 0 && told == MPOL_LOCAL);
                CHILD_CHECK(SetPolicy(MPOL_PREFERRED, nullptr, 0) == 0);
                CHILD_CHECK(GetPolicy(&told, nullptr, 0, nullptr, 0) == 0 && told == MPOL_LOCAL);
                CHILD_CHECK(SetPolicy(MPOL_DEFAULT, nullptr, 0) == 0);
                CHILD_CHECK(GetPolicy(&told, nullptr, 0, nullptr, 0) == 0 && told == MPOL_DEFAULT);
                return 0;
              }),
              Exited(0));
}

TEST(MemPolicy, SetErrors) {
  EXPECT_THAT(SetPolicy(77, &kNode0, kBits), FailsWith(EINVAL));
  EXPECT_THAT(SetPolicy(-1, &kNode0, kBits), FailsWith(EINVAL));
  EXPECT_THAT(SetPolicy(MPOL_BIND, nullptr, 0), FailsWith(EINVAL));
  EXPECT_THAT(SetPolicy(MPOL_BIND, &kNoNode, kBits), FailsWith(EINVAL));
  EXPECT_THAT(SetPolicy(MPOL_DEFAULT, &kNode0, kBits), FailsWith(EINVAL));
  EXPECT_THAT(SetPolicy(MPOL_LOCAL, &kNode0, kBits), FailsWith(EINVAL));
  EXPECT_THAT(SetPolicy(MPOL_BIND | MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES, &kNode0, kBits),
              FailsWith(EINVAL));
  EXPECT_THAT(SetPolicy(MPOL_INTERLEAVE | MPOL_F_NUMA_BALANCING, &kNode0, kBits),
              FailsWith(EINVAL));
  EXPECT_THAT(SetPolicy(MPOL_BIND, reinterpret_cast<unsigned long*>(8), kBits), FailsWith(EFAULT));
  EXPECT_THAT(SetPolicy(77, reinterpret_cast<unsigned long*>(8), kBits), FailsWith(EINVAL));
  EXPECT_THAT(SetPolicy(MPOL_BIND, &kNode0, 1ul << 20), FailsWith(EINVAL));
}

TEST(MemPolicy, InheritedByThreadsAndChildren) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(SetPolicy(MPOL_BIND, &kNode0, kBits) == 0);
                return WEXITSTATUS(InChild([] {
                  int told = -1;
                  CHILD_CHECK(GetPolicy(&told, nullptr, 0, nullptr, 0) == 0 && told == MPOL_BIND);
                  return 0;
                }));
              }),
              Exited(0));
}

TEST(MemPolicy, GetErrors) {
  int mode;
  unsigned long nodes[16];
  EXPECT_THAT(GetPolicy(&mode, nodes, 1024, nullptr, 0x80), FailsWith(EINVAL));
  EXPECT_THAT(GetPolicy(&mode, nodes, 0, nullptr, 0), FailsWith(EINVAL));
  EXPECT_THAT(GetPolicy(&mode, nodes, 1024, &mode, 0), FailsWith(EINVAL));
  EXPECT_THAT(GetPolicy(&mode, nullptr, 0, nullptr, MPOL_F_NODE), FailsWith(EINVAL));
  EXPECT_THAT(GetPolicy(&mode, nodes, 1024, nullptr, MPOL_F_MEMS_ALLOWED | MPOL_F_ADDR),
              FailsWith(EINVAL));
  EXPECT_THAT(GetPolicy(&mode, nullptr, 0, reinterpret_cast<void*>(8), MPOL_F_ADDR),
              FailsWith(EFAULT));
  EXPECT_THAT(GetPolicy(reinterpret_cast<int*>(8), nullptr, 0, nullptr, 0), FailsWith(EFAULT));
}

TEST(MemPolicy, NodesThatMayBeUsed) {
  unsigned long nodes[16] = {};
  ASSERT_THAT(GetPolicy(nullptr, nodes, 1024, nullptr, MPOL_F_MEMS_ALLOWED), Returns(0));
  EXPECT_EQ(nodes[0] & 1, 1u);
}

TEST(MemPolicy, NodeOfAPage) {
  Mapping map(kPage);
  map[0] = 1;
  int node = -1;
  ASSERT_THAT(GetPolicy(&node, nullptr, 0, map.get(), MPOL_F_NODE | MPOL_F_ADDR), Returns(0));
  EXPECT_GE(node, 0);
}

TEST(Mbind, PolicyOfARange) {
  Mapping map(4 * kPage);
  ASSERT_THAT(Bind(map.page(1), 2 * kPage, MPOL_BIND, &kNode0, kBits), Returns(0));
  int mode = -1;
  for (const size_t i : {0u, 1u, 2u, 3u}) {
    ASSERT_THAT(GetPolicy(&mode, nullptr, 0, map.page(i), MPOL_F_ADDR), Returns(0));
    EXPECT_EQ(mode, i == 1 || i == 2 ? MPOL_BIND : MPOL_DEFAULT) << i;
  }
  ASSERT_THAT(Bind(map.get(), 4 * kPage, MPOL_DEFAULT, nullptr, 0), Returns(0));
  ASSERT_THAT(GetPolicy(&mode, nullptr, 0, map.page(1), MPOL_F_ADDR), Returns(0));
  EXPECT_EQ(mode, MPOL_DEFAULT);
}

TEST(Mbind, Errors) {
  Mapping map(2 * kPage);
  EXPECT_THAT(Bind(map.get() + 1, kPage, MPOL_BIND, &kNode0, kBits), FailsWith(EINVAL));
  EXPECT_THAT(Bind(map.get(), kPage, MPOL_BIND, &kNode0, kBits, 0x80), FailsWith(EINVAL));
  EXPECT_THAT(Bind(map.get(), kPage, 99, &kNode0, kBits), FailsWith(EINVAL));
  EXPECT_THAT(Bind(map.get(), 0, MPOL_BIND, &kNode0, kBits), Returns(0));
  EXPECT_THAT(Bind(map.get(), kPage, MPOL_BIND, &kNode0, kBits, MPOL_MF_MOVE | MPOL_MF_STRICT),
              Returns(0));
  ASSERT_THAT(munmap(map.page(1), kPage), Returns(0));
  EXPECT_THAT(Bind(map.get(), 2 * kPage, MPOL_BIND, &kNode0, kBits), FailsWith(EFAULT));
  EXPECT_THAT(AsNobody([&] {
                return Bind(map.get(), kPage, MPOL_BIND, &kNode0, kBits, MPOL_MF_MOVE_ALL) == -1 &&
                               errno == EPERM
                           ? 0
                           : 1;
              }),
              Exited(0));
  EXPECT_THAT(Bind(map.get(), kPage, MPOL_DEFAULT, nullptr, 0), Returns(0));
}

TEST(Mbind, HomeNode) {
  Mapping map(2 * kPage);
  const auto home = [&](const char* at, size_t size, unsigned long node, unsigned long flags) {
    return syscall(450, at, size, node, flags);
  };
  EXPECT_THAT(home(map.get() + 1, kPage, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(home(map.get(), kPage, 0, 1), FailsWith(EINVAL));
  EXPECT_THAT(home(map.get(), kPage, 5000, 0), FailsWith(EINVAL));
  EXPECT_THAT(home(map.get(), kPage, 0, 0), FailsWith(ENOENT));
  ASSERT_THAT(Bind(map.get(), kPage, MPOL_BIND, &kNode0, kBits), Returns(0));
  EXPECT_THAT(home(map.get(), kPage, 0, 0), Returns(0));
  ASSERT_THAT(Bind(map.get(), kPage, MPOL_INTERLEAVE, &kNode0, kBits), Returns(0));
  EXPECT_THAT(home(map.get(), kPage, 0, 0), FailsWith(EOPNOTSUPP));
}

TEST(MigratePages, NothingToMove) {
  EXPECT_THAT(syscall(SYS_migrate_pages, 0, kBits, &kNode0, &kNode0), Returns(0));
  EXPECT_THAT(syscall(SYS_migrate_pages, getpid(), kBits, &kNode0, &kNode0), Returns(0));
  EXPECT_THAT(syscall(SYS_migrate_pages, 0, kBits, &kNode0, 8), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_migrate_pages, 999999999, kBits, &kNode0, &kNode0), FailsWith(ESRCH));
}

TEST(MovePages, TellsAndMoves) {
  Mapping map(2 * kPage);
  memset(map.get(), 1, 2 * kPage);
  void* pages[] = {map.get(), map.page(1), reinterpret_cast<void*>(uintptr_t{1} << 46)};
  int status[3] = {99, 99, 99};
  ASSERT_THAT(syscall(SYS_move_pages, 0, 3, pages, nullptr, status, 0), Returns(0));
  EXPECT_GE(status[0], 0);
  EXPECT_EQ(status[1], status[0]);
  EXPECT_EQ(status[2], -EFAULT);
  const int nodes[] = {0, 0, 0};
  ASSERT_THAT(syscall(SYS_move_pages, 0, 2, pages, nodes, status, MPOL_MF_MOVE), Returns(0));
  EXPECT_EQ(status[0], 0);
  const int bad[] = {900, 0, 0};
  EXPECT_THAT(syscall(SYS_move_pages, 0, 2, pages, bad, status, MPOL_MF_MOVE), FailsWith(ENODEV));
}

TEST(MovePages, Errors) {
  void* page = &page;
  int status;
  EXPECT_THAT(syscall(SYS_move_pages, 0, 1, &page, nullptr, &status, 0x80), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_move_pages, 999999999, 1, &page, nullptr, &status, 0), FailsWith(ESRCH));
  EXPECT_THAT(syscall(SYS_move_pages, 0, 1, 8, nullptr, &status, 0), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_move_pages, 0, 1, &page, nullptr, 8, 0), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_move_pages, 0, 0, nullptr, nullptr, nullptr, 0), Returns(0));
}

}  // namespace
