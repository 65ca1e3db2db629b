#include "platform/systrap/site_form.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>

#include <cstring>

#include "platform/systrap/instruction.h"

namespace platform::systrap {
namespace {

using Code = std::vector<uint8_t>;
using Jump = SiteForm::Jump;

constexpr uint64_t kAfter = 0x7f1234567892;

// Code in front of a call, behind a lot of instructions of other sizes, and what is behind the
// call.
struct Site {
  Code text;
  size_t call = 0;
};
Site Around(const Code& front, const Code& behind = {0x48, 0x3d, 1, 0xf0, 0xff, 0xff}) {
  Site site;
  while (site.text.size() < 2 * kTextBefore) {
    site.text.insert(site.text.end(), {0x48, 0x89, 0xe5, 0x53, 0x48, 0x83, 0xec, 0x10, 0x5b, 0xc9});
  }
  site.text.insert(site.text.end(), front.begin(), front.end());
  site.call = site.text.size();
  site.text.insert(site.text.end(), {0x0f, 0x05});
  site.text.insert(site.text.end(), behind.begin(), behind.end());
  site.text.resize(site.text.size() + kTextBehind, 0x90);
  return site;
}
std::optional<SiteForm> Form(const Site& site, uint64_t nr) {
  return FormOf(site.text, site.call, nr);
}

TEST(SiteForm, NumbersInFrontAreKnown) {
  const Code mov = {0xb8, 8, 0, 0, 0};
  const auto form = Form(Around(mov), SYS_lseek);
  ASSERT_TRUE(form.has_value());
  EXPECT_EQ(form->jump, Jump::kTable);
  EXPECT_TRUE(form->number_known);
  const auto read = Form(Around({0x31, 0xc0}), SYS_read);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->jump, Jump::kFar);
  EXPECT_TRUE(read->number_known);
  // It is not where the call came from.
  EXPECT_FALSE(Form(Around({0x31, 0xdb}), SYS_read)->number_known);
}

TEST(SiteForm, TheInstructionInFrontDecides) {
  const auto glibc = Form(Around({0x4c, 0x8b, 0x4c, 0x24, 0x08}), SYS_lseek);
  ASSERT_TRUE(glibc.has_value());
  EXPECT_EQ(glibc->jump, Jump::kTable);
  EXPECT_FALSE(glibc->number_known);
  const auto go = Form(Around({0x48, 0x89, 0xce, 0x48, 0x89, 0xdf}), SYS_lseek);
  ASSERT_TRUE(go.has_value());
  EXPECT_EQ(go->jump, Jump::kNear);
  EXPECT_EQ(go->displaced, (Code{0x48, 0x89, 0xdf}));
  const auto relative = Form(Around({0x48, 0x8b, 0x05, 1, 2, 3, 4}), SYS_lseek);
  ASSERT_TRUE(relative.has_value());
  EXPECT_EQ(relative->jump, Jump::kNear);
  EXPECT_EQ(relative->relative, 3);
}

TEST(SiteForm, WhatIsNotSafeStaysAsItIs) {
  EXPECT_FALSE(Form(Around({0xc3}), SYS_lseek).has_value());                    // ret
  EXPECT_FALSE(Form(Around({0x74, 0x02}), SYS_lseek).has_value());              // je
  EXPECT_FALSE(Form(Around({0xe8, 0, 0, 0, 0}), SYS_lseek).has_value());        // call
  EXPECT_FALSE(Form(Around({0x90}), SYS_lseek).has_value());                    // Too short.
  EXPECT_FALSE(Form(Around({0xf3, 0x0f, 0x1e, 0xfa}), SYS_lseek).has_value());  // endbr64
  // Nothing in front that one could decode.
  EXPECT_FALSE(FormOf(Code{0x48, 0x89, 0xdf, 0x0f, 0x05, 0xc3}, 3, SYS_lseek).has_value());
  // No call at all.
  Site other = Around({0x48, 0x89, 0xdf});
  other.text[other.call + 1] = 0x0b;
  EXPECT_FALSE(Form(other, SYS_lseek).has_value());
}

TEST(SiteForm, WhatIsJumpedIntoStaysAsItIs) {
  // jmp to the second byte of the mov behind it.
  EXPECT_FALSE(Form(Around({0xeb, 0x01, 0xb8, 8, 0, 0, 0}), SYS_lseek).has_value());
  EXPECT_TRUE(Form(Around({0xeb, 0x00, 0xb8, 8, 0, 0, 0}), SYS_lseek).has_value());
  EXPECT_TRUE(Form(Around({0xeb, 0x05, 0xb8, 8, 0, 0, 0}), SYS_lseek).has_value());
  // From behind: jne back into it, and to the call.
  EXPECT_FALSE(Form(Around({0x48, 0x89, 0xdf}, {0x75, 0xfa}), SYS_lseek).has_value());
  EXPECT_TRUE(Form(Around({0x48, 0x89, 0xdf}, {0x75, 0xfc}), SYS_lseek).has_value());
  // call, with four bytes.
  EXPECT_FALSE(
      Form(Around({0x48, 0x89, 0xdf}, {0xe8, 0xf8, 0xff, 0xff, 0xff}), SYS_lseek).has_value());
}

TEST(SiteForm, JumpsKeepTheCallBehindThem) {
  const auto table = Form(Around({0x4c, 0x8b, 0x4c, 0x24, 0x08}), SYS_lseek);
  EXPECT_EQ(PatchedCode(*table, kAfter, 9, 0), (Code{0xff, 0x24, 0x25, 0x40, 0x02}));

  const auto near = Form(Around({0x8b, 0x54, 0x24, 0x18}), SYS_lseek);
  ASSERT_TRUE(near.has_value());
  const StepRange range = StepsOf(*near, kAfter);
  EXPECT_EQ(range.first, kAfter + 0x050f0000);
  EXPECT_EQ(PatchedCode(*near, kAfter, 9, range.first + 0x1234), (Code{0x3e, 0xe9, 0x34, 0x12}));

  const auto far = Form(Around({0x89, 0xc8}, {0x48}), SYS_lseek);
  ASSERT_TRUE(far.has_value());
  EXPECT_EQ(StepsOf(*far, kAfter).first, kAfter + 1 + 0x48050f00);
  EXPECT_EQ(PatchedCode(*far, kAfter, 9, StepsOf(*far, kAfter).first + 7), (Code{0xe9, 7}));
  const auto back = Form(Around({0x89, 0xc8}, {0xc3}), SYS_lseek);
  EXPECT_EQ(StepsOf(*back, kAfter).first, kAfter + 1 - 0x3cfaf100);
}

TEST(SiteForm, StepsDoWhatStoodThere) {
  const auto relative = Form(Around({0x48, 0x8b, 0x05, 0, 0, 0, 0}), SYS_lseek);
  ASSERT_TRUE(relative.has_value());
  const uint64_t step = StepsOf(*relative, kAfter).first + 16;
  const Code code = StepCode(*relative, kAfter, 9, step);
  int32_t displacement;
  std::memcpy(&displacement, &code[3], 4);
  // What lies behind the original instruction is the call.
  EXPECT_EQ(step + 7 + static_cast<uint64_t>(int64_t{displacement}), kAfter - 2);
  EXPECT_EQ(Code(code.begin() + 7, code.end()), (Code{0xff, 0x24, 0x25, 0x40, 0x02, 0x0f, 0x05}));
  EXPECT_TRUE(StepCode(*relative, kAfter, 9, kAfter + (uint64_t{1} << 40)).empty());
}

TEST(SiteForm, TheHeadOfTheTableKnowsEachCall) {
  DispositionTable dispositions{};
  dispositions.fill(Disposition::kEmulate);
  dispositions[SYS_futex] = Disposition::kDirect;
  const auto head = MakeTableHead(dispositions);
  EXPECT_EQ(head[SITE_CALLS + SYS_futex], 0);
  EXPECT_EQ(head[SITE_CALLS + SYS_exit], 0);
  EXPECT_EQ(head[SITE_CALLS + SYS_read], 1);
  EXPECT_EQ(head[SITE_CALLS + SYS_gettid], 3);
}

}  // namespace
}  // namespace platform::systrap
