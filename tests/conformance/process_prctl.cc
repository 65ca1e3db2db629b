// prctl(2): options about memory, the machine, and what /proc shows of a process.
#include <linux/capability.h>
#include <linux/prctl.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "tests/conformance/proc_support.h"

namespace {

constexpr int kSetMemoryMerge = 67, kGetMemoryMerge = 68, kGetAuxv = 0x41555856;
constexpr unsigned long kExceptAdvised = 2;

bool HasResourceCapability() {
  const uint64_t effective = NumberField(Self("status"), "CapEff", 16);
  return (effective >> CAP_SYS_RESOURCE & 1) != 0;
}

TEST(Prctl, AuxiliaryVector) {
  uint64_t vector[64] = {};
  const int size = prctl(kGetAuxv, vector, sizeof vector, 0, 0);
  if (size < 0) GTEST_SKIP() << "before Linux 6.4";
  ASSERT_EQ(size % 16, 0);
  ASSERT_LE(static_cast<size_t>(size), sizeof vector);
  uint64_t pages = 0, entry = 0;
  for (int i = 0; i < size / 8 && vector[i] != AT_NULL; i += 2) {
    if (vector[i] == AT_PAGESZ) pages = vector[i + 1];
    if (vector[i] == AT_ENTRY) entry = vector[i + 1];
  }
  EXPECT_EQ(pages, 4096u);
  EXPECT_EQ(entry, getauxval(AT_ENTRY));
  // The size is told whatever there is room for.
  uint64_t two[3] = {~0ul, ~0ul, ~0ul};
  EXPECT_THAT(prctl(kGetAuxv, two, 16, 0, 0), Returns(size));
  EXPECT_EQ(two[0], vector[0]);
  EXPECT_EQ(two[2], ~0ul);
  EXPECT_THAT(prctl(kGetAuxv, nullptr, 0, 0, 0), Returns(size));
  EXPECT_THAT(prctl(kGetAuxv, 1, 16, 0, 0), FailsWith(EFAULT));
  EXPECT_THAT(prctl(kGetAuxv, vector, sizeof vector, 1, 0), FailsWith(EINVAL));
}

TEST(Prctl, Speculation) {
  EXPECT_GE(prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 0, 0, 0), 0);
  EXPECT_GE(prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, 0, 0, 0), 0);
  EXPECT_GE(prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_L1D_FLUSH, 0, 0, 0), 0);
  EXPECT_THAT(prctl(PR_GET_SPECULATION_CTRL, 99, 0, 0, 0), FailsWith(ENODEV));
  EXPECT_THAT(prctl(PR_GET_SPECULATION_CTRL, 0, 1, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(prctl(PR_SET_SPECULATION_CTRL, 99, PR_SPEC_ENABLE, 0, 0), FailsWith(ENODEV));
  EXPECT_THAT(prctl(PR_SET_SPECULATION_CTRL, 0, PR_SPEC_ENABLE, 1, 0), FailsWith(EINVAL));
}

// What is told can be set only where PR_SPEC_PRCTL is told.
TEST(Prctl, SpeculationThatIsNotTheProcesss) {
  const int told = prctl(PR_GET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, 0, 0, 0);
  if ((told & PR_SPEC_PRCTL) != 0) GTEST_SKIP() << "it is";
  EXPECT_THAT(prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, PR_SPEC_DISABLE, 0, 0),
              FailsWith(ENXIO));
}

TEST(Prctl, MergingOfPages) {
  if (prctl(kGetMemoryMerge, 0, 0, 0, 0) < 0) GTEST_SKIP() << "a kernel without KSM";
  EXPECT_EQ(InChild([] {
              CHILD_CHECK(prctl(kGetMemoryMerge, 0, 0, 0, 0) == 0);
              CHILD_CHECK(prctl(kSetMemoryMerge, 1, 0, 0, 0) == 0);
              CHILD_CHECK(prctl(kGetMemoryMerge, 0, 0, 0, 0) == 1);
              CHILD_CHECK(Self("ksm_stat").find("ksm_merge_any: yes\n") != std::string::npos);
              CHILD_CHECK(InChild([] { return 1 - prctl(kGetMemoryMerge, 0, 0, 0, 0); }) == 0);
              CHILD_CHECK(prctl(kSetMemoryMerge, 0, 0, 0, 0) == 0);
              CHILD_CHECK(prctl(kGetMemoryMerge, 0, 0, 0, 0) == 0);
              return 0;
            }),
            0);
  EXPECT_THAT(prctl(kSetMemoryMerge, 1, 1, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(prctl(kGetMemoryMerge, 1, 0, 0, 0), FailsWith(EINVAL));
}

TEST(Prctl, HugePagesExceptWhereAdvised) {
  EXPECT_EQ(InChild([] {
              if (prctl(PR_SET_THP_DISABLE, 1, kExceptAdvised, 0, 0) != 0) {
                CHILD_CHECK(errno == EINVAL);  // Before Linux 6.18.
                return 0;
              }
              CHILD_CHECK(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 3);
              CHILD_CHECK(InChild([] { return 3 - prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0); }) == 0);
              CHILD_CHECK(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0);
              CHILD_CHECK(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1);
              CHILD_CHECK(prctl(PR_SET_THP_DISABLE, 0, kExceptAdvised, 0, 0) == -1);
              CHILD_CHECK(errno == EINVAL);
              CHILD_CHECK(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0) == 0);
              CHILD_CHECK(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 0);
              return 0;
            }),
            0);
}

TEST(Prctl, WritingOrExecuting) {
  constexpr int kSetMdwe = 65, kGetMdwe = 66;  // Linux 6.3.
  if (prctl(kGetMdwe, 0, 0, 0, 0) < 0) GTEST_SKIP() << "the kernel does not know it";
  EXPECT_THAT(prctl(kGetMdwe, 0, 0, 0, 0), Returns(0));
  EXPECT_THAT(prctl(kSetMdwe, 0, 0, 0, 0), Returns(0));
  EXPECT_THAT(prctl(kGetMdwe, 1, 0, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(prctl(kSetMdwe, 0, 1, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(prctl(kSetMdwe, 8, 0, 0, 0), FailsWith(EINVAL));
}

TEST(Prctl, IoFlusher) {
  EXPECT_EQ(InChild([] {
              if (!HasResourceCapability()) {
                CHILD_CHECK(prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) == -1 && errno == EPERM);
                CHILD_CHECK(prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0) == -1 && errno == EPERM);
                return 0;
              }
              CHILD_CHECK(prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0) == 0);
              CHILD_CHECK(prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) == 0);
              CHILD_CHECK(prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0) == 1);
              CHILD_CHECK(InChild([] { return 1 - prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0); }) == 0);
              CHILD_CHECK(prctl(PR_SET_IO_FLUSHER, 2, 0, 0, 0) == -1 && errno == EINVAL);
              CHILD_CHECK(prctl(PR_SET_IO_FLUSHER, 1, 1, 0, 0) == -1 && errno == EINVAL);
              return 0;
            }),
            0);
  EXPECT_EQ(AsNobody([] {
              CHILD_CHECK(prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) == -1 && errno == EPERM);
              return 0;
            }),
            0);
}

TEST(PrctlSetMm, Arguments) {
  unsigned size = 0;
  EXPECT_THAT(prctl(PR_SET_MM, PR_SET_MM_MAP_SIZE, &size, 0, 0), Returns(0));
  EXPECT_EQ(size, sizeof(prctl_mm_map));
  EXPECT_THAT(prctl(PR_SET_MM, PR_SET_MM_ARG_START, &size, 1, 0), FailsWith(EINVAL));
  EXPECT_THAT(prctl(PR_SET_MM, PR_SET_MM_ARG_START, &size, 0, 1), FailsWith(EINVAL));
  EXPECT_EQ(AsNobody([] {
              CHILD_CHECK(prctl(PR_SET_MM, PR_SET_MM_ARG_START, 0x100000, 0, 0) == -1);
              CHILD_CHECK(errno == EPERM);
              return 0;
            }),
            0);
}

// As systemd and others name themselves.
TEST(PrctlSetMm, CommandLineElsewhere) {
  EXPECT_EQ(
      InChild([] {
        constexpr char kTitle[] = "worker: of \0somebody";
        void* memory =
            mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memcpy(memory, kTitle, sizeof kTitle);
        const auto start = reinterpret_cast<unsigned long>(memory);
        if (!HasResourceCapability()) {
          CHILD_CHECK(prctl(PR_SET_MM, PR_SET_MM_ARG_START, start, 0, 0) == -1);
          CHILD_CHECK(errno == EPERM);
          return 0;
        }
        CHILD_CHECK(prctl(PR_SET_MM, PR_SET_MM_ARG_START, 4096, 0, 0) == -1 && errno == EINVAL);
        CHILD_CHECK(prctl(PR_SET_MM, PR_SET_MM_ARG_START, ~0ul, 0, 0) == -1 && errno == EINVAL);
        CHILD_CHECK(prctl(PR_SET_MM, PR_SET_MM_ARG_END, 1 << 16, 0, 0) == -1 && errno == EINVAL);
        CHILD_CHECK(prctl(PR_SET_MM, 99, start, 0, 0) == -1 && errno == EINVAL);
        CHILD_CHECK(prctl(PR_SET_MM, PR_SET_MM_ARG_START, start, 0, 0) == 0);
        CHILD_CHECK(prctl(PR_SET_MM, PR_SET_MM_ARG_END, start + sizeof kTitle, 0, 0) == 0);
        CHILD_CHECK(Self("cmdline") == std::string(kTitle, sizeof kTitle));
        CHILD_CHECK(InChild([&] {
                      return Self("cmdline") == std::string(kTitle, sizeof kTitle) ? 0 : 1;
                    }) == 0);
        return 0;
      }),
      0);
}

TEST(Prctl, OptionsOfOtherMachines) {
  char word[8];
  for (const int option : {PR_GET_ENDIAN, PR_GET_FPEMU, PR_GET_FPEXC, PR_GET_UNALIGN, PR_SVE_GET_VL,
                           PR_PAC_RESET_KEYS, PR_GET_FP_MODE, PR_GET_TAGGED_ADDR_CTRL}) {
    EXPECT_THAT(prctl(option, word, 0, 0, 0), FailsWith(EINVAL)) << option;
  }
  EXPECT_THAT(prctl(0, 0, 0, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(prctl(12345, 0, 0, 0, 0), FailsWith(EINVAL));
}

TEST(Prctl, DispatchOfCallsIsOff) {
  EXPECT_THAT(prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0), Returns(0));
  EXPECT_THAT(prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 1, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(prctl(PR_SET_SYSCALL_USER_DISPATCH, 7, 0, 0, 0), FailsWith(EINVAL));
}

}  // namespace
