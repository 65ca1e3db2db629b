#include "platform/systrap/fast_path.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cstring>

#include "platform/native/fp_state.h"
#include "platform/systrap/carried.h"

namespace platform::systrap {
namespace {

using native::StubAddress;

constexpr uint64_t kAfter = 0x7f0000001007;

alignas(4096) std::byte table_memory[SITE_MAPPED_SIZE];

Ref<Sites> SitesWithTable() {
  auto sites = MakeRef<Sites>(nullptr);
  sites->table = MakeRef<SiteTable>(table_memory, DispositionTable{});
  return sites;
}

class Unwind : public testing::Test {
 protected:
  Unwind() {
    std::memset(static_cast<void*>(&page_), 0, sizeof(page_));
    record_ = SITE_TABLE + sites_->AddRecord({.after = kAfter, .nr = SYS_lseek}) * SITE_RECORD_SIZE;
    box_.after = kAfter;
    box_.nr = SYS_lseek;
    box_.args[0] = 3;
    box_.value = 77;
  }
  Registers At(uint64_t ip) {
    Registers regs;
    regs.rip = ip;
    regs.r11 = record_;
    regs.rdi = 99;
    regs.rax = 1234;
    regs.eflags = 0x202;
    return regs;
  }
  static uint64_t Fast(const char* label, uint64_t offset = 0) {
    return StubAddress(label, STUB_CODE) + offset;
  }
  void Run(Registers& regs, std::optional<MailAnswer> answer = std::nullopt) {
    UnwindFastPath(regs, *sites_, &page_, answer);
  }

  const Ref<Sites> sites_ = SitesWithTable();
  native::MailboxPage page_;
  native::Mailbox& box_ = page_.call;
  uint64_t record_;
};

TEST_F(Unwind, LeavesTheProgramsOwnCodeAlone) {
  Registers regs = At(0x401000);
  Run(regs);
  EXPECT_EQ(regs.rip, 0x401000u);
  EXPECT_EQ(regs.rax, 1234u);
}

TEST_F(Unwind, BeforeThePostTheCallHasNotBeenMade) {
  for (const uint64_t ip : {record_ + SITE_CODE, record_ + SITE_CODE + 6,
                            Fast(sandbox_stub_fast_local), Fast(sandbox_stub_fast_call, 4),
                            Fast(sandbox_stub_fast_carry) - 1, Fast(sandbox_stub_fast_slow)}) {
    Registers regs = At(ip);
    Run(regs);
    EXPECT_EQ(regs.rip, kAfter - 2) << std::hex << ip;
    EXPECT_EQ(regs.rax, uint64_t{SYS_lseek});
    EXPECT_EQ(regs.rdi, 99u);
    EXPECT_EQ(regs.eflags, 0x202u);
  }
}

TEST_F(Unwind, APostedCallIsTakenBack) {
  box_.state = MAILBOX_POSTED;
  box_.flags = 0x0101;  // CF and OF.
  Registers regs = At(Fast(sandbox_stub_fast_posted));
  Run(regs);
  EXPECT_EQ(regs.rip, kAfter - 2);
  EXPECT_EQ(regs.rax, uint64_t{SYS_lseek});
  EXPECT_EQ(regs.rdi, 3u);
  EXPECT_EQ(regs.eflags, 0x202u | 0x801u);
  EXPECT_EQ(box_.state, 0u);
}

TEST_F(Unwind, AnAnsweredCallIsFinished) {
  box_.state = MAILBOX_DONE;
  Registers regs = At(Fast(sandbox_stub_fast_posted, 5));
  Run(regs);
  EXPECT_EQ(regs.rip, kAfter);
  EXPECT_EQ(regs.rax, 77u);
  EXPECT_EQ(box_.state, 0u);
}

TEST_F(Unwind, ACallThatTakesItsDataAlongHasNotBeenMade) {
  box_.args[1] = 0x6000;
  box_.args[2] = 100;
  for (const uint64_t ip : {Fast(sandbox_stub_fast_carry), Fast(sandbox_stub_fast_posted) - 1}) {
    box_.carried = CARRY_OUT;
    Registers regs = At(ip);
    EXPECT_TRUE(MayFault(ip));
    EXPECT_EQ(UnwindFastPath(regs, *sites_, &page_, std::nullopt).size, 0u);
    EXPECT_EQ(regs.rip, kAfter - 2);
    EXPECT_EQ(regs.rax, uint64_t{SYS_lseek});
    EXPECT_EQ(regs.rdi, 3u);
    EXPECT_EQ(regs.rsi, 0x6000u);
    EXPECT_EQ(regs.rdx, 100u);
  }
}

TEST_F(Unwind, WhatACallHasReadIsStillToBeCopied) {
  box_.state = MAILBOX_DONE;
  box_.args[1] = 0x6000;
  box_.to = 0x7000;
  box_.carried = 50;
  Registers regs = At(Fast(sandbox_stub_fast_posted, 5));
  const CarriedBack back = UnwindFastPath(regs, *sites_, &page_, std::nullopt);
  EXPECT_EQ(regs.rip, kAfter);
  EXPECT_EQ(back.address, 0x7000u);
  EXPECT_EQ(back.size, 50u);
  // Nobody believes what does not fit.
  box_.state = MAILBOX_DONE;
  box_.carried = sizeof(page_.data) + 1;
  regs = At(Fast(sandbox_stub_fast_posted, 5));
  EXPECT_EQ(UnwindFastPath(regs, *sites_, &page_, std::nullopt).size, 0u);
  regs = At(Fast(sandbox_stub_fast_posted, 5));
  EXPECT_EQ(UnwindFastPath(regs, *sites_, &page_, MailAnswer{.carried = {0x7000, 7}}).size, 7u);
}

TEST_F(Unwind, AMaskIsChangedOnceOrNotAtAll) {
  box_.flags = 0x0101;
  for (const uint64_t ip :
       {Fast(sandbox_stub_fast_mask_saved), Fast(sandbox_stub_fast_masked) - 1,
        Fast(sandbox_stub_fast_mask_undone), Fast(sandbox_stub_fast_mask_tell) - 1}) {
    Registers regs = At(ip);
    EXPECT_TRUE(MayFault(ip));
    EXPECT_FALSE(UnwindFastPath(regs, *sites_, &page_, std::nullopt).mask.has_value());
    EXPECT_EQ(regs.rip, kAfter - 2);
    EXPECT_EQ(regs.rax, uint64_t{SYS_rt_sigprocmask});
    EXPECT_EQ(regs.eflags, 0x202u | 0x801u);
  }
  for (const uint64_t ip :
       {Fast(sandbox_stub_fast_masked), Fast(sandbox_stub_fast_mask_undone) - 1,
        Fast(sandbox_stub_fast_mask_tell), Fast(sandbox_stub_fast_mask_told) - 1,
        Fast(sandbox_stub_fast_mask_told), Fast(sandbox_stub_fast_mask_out) - 1}) {
    const bool told = ip >= Fast(sandbox_stub_fast_mask_told);
    Registers regs = At(ip);
    regs.r11 = 0x1234;
    regs.rdx = 0x7000;
    const CarriedBack back = UnwindFastPath(regs, *sites_, &page_, std::nullopt);
    EXPECT_EQ(back.mask, told ? std::nullopt : std::optional<uint64_t>(0x1234));
    EXPECT_EQ(back.address, told ? 0u : 0x7000u);
    EXPECT_EQ(regs.rip, kAfter);
    EXPECT_EQ(regs.rax, 0u);
    EXPECT_EQ(regs.eflags, 0x202u | 0x801u);
    regs = At(ip);
    regs.rdx = 0;  // Nobody wants to know.
    EXPECT_EQ(UnwindFastPath(regs, *sites_, &page_, std::nullopt).size, 0u);
  }
  Registers regs = At(Fast(sandbox_stub_fast_mask_out));
  regs.r11 = kAfter;
  Run(regs);
  EXPECT_EQ(regs.rip, kAfter);
}

TEST_F(Unwind, AnAnswerThatWasNotToldIsToldNow) {
  Registers regs = At(Fast(sandbox_stub_fast_posted, 5));
  Run(regs, MailAnswer{.value = -EINTR});
  EXPECT_EQ(regs.rip, kAfter);
  EXPECT_EQ(static_cast<int64_t>(regs.rax), -EINTR);
}

TEST_F(Unwind, ARefusedCallIsMadeAgain) {
  box_.state = MAILBOX_DONE | MAILBOX_REFUSED;
  Registers regs = At(Fast(sandbox_stub_fast_posted, 5));
  Run(regs);
  EXPECT_EQ(regs.rip, kAfter - 2);
  Registers other = At(Fast(sandbox_stub_fast_posted, 5));
  Run(other, MailAnswer{.refused = true});
  EXPECT_EQ(other.rip, kAfter - 2);
}

TEST_F(Unwind, AThreadThatWasAboutToInterruptItselfHasMadeItsCall) {
  box_.state = MAILBOX_DONE | MAILBOX_INTERRUPT;
  box_.args[2] = 44;
  page_.self.state = MAILBOX_POSTED;
  Registers regs = At(Fast(sandbox_stub_fast_self, 8));
  Run(regs);
  EXPECT_EQ(regs.rip, kAfter);
  EXPECT_EQ(regs.rax, 77u);
  EXPECT_EQ(regs.rdi, 3u);
  EXPECT_EQ(regs.rdx, 44u);
  EXPECT_EQ(page_.self.state, 0u);
}

TEST_F(Unwind, AThreadThatHasInterruptedItselfHasItsNewRegisters) {
  for (const uint64_t ip : {Fast(sandbox_stub_fast_self, 8), Fast(sandbox_stub_fast_self_resume),
                            Fast(sandbox_stub_fast_self_end) - 1}) {
    page_.self.state = MAILBOX_DONE;
    page_.context.rip = 0x5000;
    page_.context.rsp = 0x6000;
    page_.context.r15 = 15;
    page_.context.eflags = 0x246;
    Registers regs = At(ip);
    Run(regs);
    EXPECT_EQ(regs.rip, 0x5000u);
    EXPECT_EQ(regs.rsp, 0x6000u);
    EXPECT_EQ(regs.r15, 15u);
    EXPECT_EQ(regs.eflags, 0x246u);
  }
}

TEST(SelfFpState, IsAFrameOfThisMachine) {
  if (!CanStoreFpState()) GTEST_SKIP() << "more state than a mailbox holds";
  auto page = std::make_unique<native::MailboxPage>();
  page->xstate[0] = std::byte{7};
  const std::vector<std::byte> state = SelfFpState(*page);
  const size_t size = native::XstateSize(native::EnabledFeatures());
  ASSERT_EQ(state.size(), size + 4);
  EXPECT_EQ(native::FpStateSize(std::span(state).first<512>()), size + 4);
  EXPECT_EQ(state[0], std::byte{7});
  EXPECT_EQ(state[size], std::byte{0x45});  // The magic word.
}

TEST_F(Unwind, AtTheLastJumpEverythingIsDone) {
  Registers regs = At(Fast(sandbox_stub_fast_out));
  regs.r11 = kAfter;
  Run(regs);
  EXPECT_EQ(regs.rip, kAfter);
  EXPECT_EQ(regs.rax, 1234u);
}

TEST_F(Unwind, ForgedRecordsAreNobodysSites) {
  for (const uint64_t forged : {uint64_t{0}, uint64_t{SITE_TABLE}, record_ + SITE_RECORD_SIZE,
                                uint64_t{SITE_TABLE + SITE_TABLE_SIZE}, ~uint64_t{0}}) {
    Registers regs = At(Fast(sandbox_stub_fast_call));
    regs.r11 = forged;
    Run(regs);
    EXPECT_EQ(regs.rip, Fast(sandbox_stub_fast_call)) << std::hex << forged;
  }
}

TEST_F(Unwind, AnInstructionThatMovedStandsWhereItStood) {
  constexpr uint64_t kStep = 0x10000, kFree = 0x20000;
  const auto free = [](uint64_t page) { return page == kFree; };
  const StepRange range{.first = kStep - 16, .size = 0x20000};
  EXPECT_EQ(sites_->FreeStep(range, kMostStep, free), kFree);
  const size_t index = sites_->AddRecord({.after = kAfter,
                                          .nr = SYS_lseek,
                                          .displaced = 3,
                                          .any_number = true,
                                          .step = kStep,
                                          .step_size = 10});
  Registers regs = At(kStep);
  Run(regs);
  EXPECT_EQ(regs.rip, kAfter - 5);
  EXPECT_EQ(regs.rax, 1234u);
  regs = At(kStep + 3);
  Run(regs);
  EXPECT_EQ(regs.rip, kAfter - 2);
  EXPECT_EQ(regs.rax, 1234u);
  EXPECT_EQ(sites_->RecordAt(kStep + 10), nullptr);
  // The next one lies beside it.
  EXPECT_EQ(sites_->FreeStep(range, kMostStep, free), kStep + 16);
  sites_->ForgetStep(index);
  EXPECT_EQ(sites_->FreeStep(range, kMostStep, free), kFree);
}

TEST_F(Unwind, NumbersAreWhereTheyWereLast) {
  const size_t index =
      sites_->AddRecord({.after = kAfter, .nr = SYS_lseek, .displaced = 5, .any_number = true});
  const uint64_t record = SITE_TABLE + index * SITE_RECORD_SIZE;
  box_.nr = SYS_dup2;
  struct {
    uint64_t ip, rip, rax;
  } const cases[] = {
      {record + SITE_CODE, kAfter - 7, 1234},
      {record + SITE_CODE + 5, kAfter - 2, 1234},
      {Fast(sandbox_stub_fast_any, 3), kAfter - 2, 1234},
      {Fast(sandbox_stub_fast_any_done), kAfter, 1234},
      {Fast(sandbox_stub_fast_numbered), kAfter - 2, SYS_dup2},
      {Fast(sandbox_stub_fast_posted) - 1, kAfter - 2, SYS_dup2},
  };
  for (const auto& c : cases) {
    Registers regs = At(c.ip);
    regs.r11 = record;
    Run(regs);
    EXPECT_EQ(regs.rip, c.rip) << std::hex << c.ip;
    EXPECT_EQ(regs.rax, c.rax) << std::hex << c.ip;
  }
}

TEST(Sites, TableAndWatchListAreBounded) {
  const Ref<Sites> sites = SitesWithTable();
  size_t records = 0;
  while (sites->AddRecord({.after = kAfter + records, .nr = 1}) != 0) ++records;
  EXPECT_EQ(records, native::kMaxSites - kFirstOwnSite);
  size_t known = 0;
  while (sites->Find(kAfter + known) != nullptr) ++known;
  EXPECT_LE(known, 10000u);
  EXPECT_NE(sites->Find(kAfter), nullptr);
}

TEST(Carried, PathsAndPlaces) {
  const auto first = PathCalls(0), second = PathCalls(1);
  const auto has = [](const auto& bits, uint64_t nr) { return (bits[nr / 8] >> nr % 8 & 1) != 0; };
  EXPECT_TRUE(has(first, SYS_stat) && !has(second, SYS_stat));
  EXPECT_TRUE(!has(first, SYS_openat) && has(second, SYS_openat));
  EXPECT_FALSE(has(first, SYS_fstat) || has(second, SYS_fstat));

  const SyscallArgs call{.nr = SYS_newfstatat, .args = {1, 0x1000, 0x2000, 0}};
  const CarriedPlaces places = CarriedBy(call, CARRY_PATH | 6 << CARRY_SIZE_SHIFT);
  EXPECT_EQ(places.in.address, 0x1000u);
  EXPECT_EQ(places.in.size, 6u);
  EXPECT_EQ(places.out.address, 0x2000u);
  EXPECT_EQ(places.out.size, sizeof(struct stat));
  // Nobody believes what does not fit.
  EXPECT_EQ(CarriedBy(call, CARRY_PATH | (CARRY_PATH_SIZE + 1) << CARRY_SIZE_SHIFT).in.size, 0u);
  EXPECT_EQ(CarriedBy(call, CARRY_IN).in.size, 0u);
  const SyscallArgs large{.nr = SYS_read, .args = {1, 0x1000, MAILBOX_DATA_SIZE + 1}};
  EXPECT_EQ(CarriedBy(large, CARRY_OUT).out.size, uint64_t{MAILBOX_DATA_SIZE});
  const SyscallArgs written{.nr = SYS_write, .args = {1, 0x1000, MAILBOX_DATA_SIZE + 1}};
  EXPECT_EQ(CarriedBy(written, CARRY_IN).in.size, 0u);
  const SyscallArgs listing{.nr = SYS_getdents64, .args = {1, 0x1000, 32768}};
  EXPECT_EQ(CarriedBy(listing, CARRY_OUT).out.size, uint64_t{MAILBOX_DATA_SIZE});
}

// What a stub would find for a path that nothing else hashes to.
const native::ErrorRecord* FindError(std::string_view path) {
  const auto* records =
      reinterpret_cast<const native::ErrorRecord*>(table_memory + SITE_TABLE_SIZE);
  for (size_t i = 0; i < 1 << SITE_ERRORS_BITS; ++i) {
    uint64_t kept = 0, generation = 0;
    std::memcpy(&kept, table_memory + SITE_ERRORS_KEPT + i / 64 * 8, sizeof(kept));
    std::memcpy(&generation, table_memory + SITE_ERRORS_GENERATION, sizeof(generation));
    const auto* text = reinterpret_cast<const char*>(records[i].path);
    if ((kept >> i % 64 & 1) != 0 && records[i].generation == generation &&
        records[i].version % 2 == 0 && std::string_view(text, records[i].size - 1) == path) {
      return &records[i];
    }
  }
  return nullptr;
}

TEST(Errors, AreKeptUntilTheyAreForgotten) {
  const Ref<Sites> sites = SitesWithTable();
  SiteTable& table = *sites->table;
  const std::string longest(ERROR_PATH_SIZE - 1, 'n'), longer(ERROR_PATH_SIZE, 'n');
  const auto keep = [&](std::string_view path, int64_t error) {
    table.Keep(
        {.nr = SYS_openat, .path = path, .masks = {0, ~0u, 0}, .args = {0, 7, 0}, .error = error});
  };
  EXPECT_TRUE(table.WantsMany());
  EXPECT_FALSE(table.WantsMany());
  keep("/a", -ENOENT);
  keep(longest, -EINVAL);
  keep(longer, -ENOENT);
  const native::ErrorRecord* record = FindError("/a");
  ASSERT_NE(record, nullptr);
  EXPECT_EQ(record->nr, uint64_t{SYS_openat});
  EXPECT_EQ(record->value, -ENOENT);
  EXPECT_EQ(record->masks[1], ~0u);
  EXPECT_EQ(record->args[1], 7u);
  ASSERT_NE(FindError(longest), nullptr);
  EXPECT_EQ(FindError(longest)->value, -EINVAL);
  EXPECT_EQ(FindError(longer), nullptr);
  keep("/a", -EINVAL);  // In the same place.
  EXPECT_EQ(FindError("/a"), record);
  EXPECT_EQ(record->value, -EINVAL);

  table.Forget();
  EXPECT_EQ(FindError("/a"), nullptr);
  EXPECT_TRUE(table.WantsMany());
  keep("/a", -ENOENT);
  EXPECT_NE(FindError("/a"), nullptr);
  table.Close();
  EXPECT_EQ(FindError("/a"), nullptr);
  keep("/a", -ENOENT);
  EXPECT_EQ(FindError("/a"), nullptr);
  // The same memory, for another program.
  const Ref<Sites> others = SitesWithTable();
  EXPECT_EQ(FindError("/a"), nullptr);
}

TEST(Local, ChangesOfIdsAreForgotten) {
  native::Mailbox box;
  std::memset(static_cast<void*>(&box), 0, sizeof(box));
  UpdateLocal(box, SYS_getuid, 0);
  UpdateLocal(box, SYS_getpid, 17);
  EXPECT_EQ(box.local[*LocalIndex(SYS_getuid)], 1u);
  EXPECT_EQ(box.local[*LocalIndex(SYS_getpid)], 18u);
  UpdateLocal(box, SYS_setresuid, -EPERM);
  EXPECT_EQ(box.local[*LocalIndex(SYS_getuid)], 0u);
  EXPECT_EQ(box.local[*LocalIndex(SYS_getpid)], 18u);
  UpdateLocal(box, SYS_getppid, 5);
  ForgetLocal(box);  // Changes without the thread's doing.
  EXPECT_EQ(box.local[*LocalIndex(SYS_getppid)], 0u);
  EXPECT_EQ(box.local[*LocalIndex(SYS_getpid)], 0u);
  EXPECT_FALSE(LocalIndex(SYS_getsid).has_value());  // Depends on its argument.
}

}  // namespace
}  // namespace platform::systrap
