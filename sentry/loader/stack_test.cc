#include "sentry/loader/stack.h"

#include <elf.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "sentry/loader/script.h"

namespace sentry {
namespace {

// Reads a finished stack as a program would.
class Reader {
 public:
  explicit Reader(const StackContents& stack) : stack_(stack) {}
  uint64_t Word(uint64_t addr) const {
    uint64_t word;
    std::memcpy(&word, &stack_.bytes[addr - stack_.sp], sizeof(word));
    return word;
  }
  std::string String(uint64_t addr) const {
    return reinterpret_cast<const char*>(&stack_.bytes[addr - stack_.sp]);
  }

 private:
  const StackContents& stack_;
};

TEST(BuildStack, LaysOutWhatAProgramExpects) {
  const std::vector<std::string> argv = {"prog", "", "two"}, envp = {"A=1", "LONG=xyz"};
  StackInput input{.top = 0x7fff0000, .argv = argv, .envp = envp, .exec_name = "/bin/prog"};
  input.random.fill(std::byte{7});
  input.gap = 48;
  input.auxv = {{AT_PAGESZ, 4096}, {AT_RANDOM, 0}, {AT_EXECFN, 0}, {AT_PLATFORM, 0}};
  const StackContents stack = BuildStack(input);
  const Reader read(stack);

  EXPECT_EQ(stack.sp % 16, 0u);
  EXPECT_EQ(stack.sp + stack.bytes.size(), input.top);
  EXPECT_EQ(read.Word(stack.sp), 3u);
  EXPECT_EQ(read.String(read.Word(stack.sp + 8)), "prog");
  EXPECT_EQ(read.String(read.Word(stack.sp + 16)), "");
  EXPECT_EQ(read.String(read.Word(stack.sp + 24)), "two");
  EXPECT_EQ(read.Word(stack.sp + 32), 0u);
  EXPECT_EQ(read.String(read.Word(stack.sp + 40)), "A=1");
  EXPECT_EQ(read.String(read.Word(stack.sp + 48)), "LONG=xyz");
  EXPECT_EQ(read.Word(stack.sp + 56), 0u);
  EXPECT_EQ(stack.auxv, stack.sp + 64);
  EXPECT_EQ(read.Word(stack.auxv), uint64_t{AT_PAGESZ});
  EXPECT_EQ(read.Word(stack.auxv + 8), 4096u);
  EXPECT_EQ(read.Word(read.Word(stack.auxv + 24)), 0x0707070707070707u);
  EXPECT_EQ(read.String(read.Word(stack.auxv + 40)), "/bin/prog");
  EXPECT_EQ(read.String(read.Word(stack.auxv + 56)), "x86_64");
  EXPECT_EQ(read.Word(stack.auxv + 64), uint64_t{AT_NULL});
  EXPECT_EQ(read.Word(stack.sp + 8), stack.arg_start);
  EXPECT_EQ(stack.arg_end, stack.env_start);
  EXPECT_EQ(stack.env_end - stack.env_start, 13u);
}

TEST(BuildStack, StandsWithNothing) {
  const std::vector<std::string> none;
  const StackContents stack =
      BuildStack({.top = 0x10000, .argv = none, .envp = none, .exec_name = ""});
  EXPECT_EQ(stack.sp % 16, 0u);
  EXPECT_EQ(Reader(stack).Word(stack.sp), 0u);
}

TEST(ParseScript, SplitsTheLine) {
  const auto line = ParseScript("#! /bin/sh  -e -x \nrest");
  ASSERT_TRUE(line.ok());
  EXPECT_EQ(line->interpreter, "/bin/sh");
  EXPECT_EQ(line->argument, "-e -x");
  EXPECT_EQ(ParseScript("#!/bin/sh")->interpreter, "/bin/sh");
  EXPECT_FALSE(ParseScript("#!/bin/sh \n")->argument.has_value());
}

TEST(ParseScript, RefusesUnusableLines) {
  EXPECT_EQ(ParseScript("#!\n").error(), Errno(ENOEXEC));
  EXPECT_EQ(ParseScript("#!   \nx").error(), Errno(ENOEXEC));
  // A name that was cut off at the end of what is looked at.
  EXPECT_EQ(ParseScript("#!/" + std::string(kScriptHeadSize - 3, 'a')).error(), Errno(ENOEXEC));
  EXPECT_TRUE(ParseScript("#!/x " + std::string(kScriptHeadSize - 5, 'a')).ok());
}

}  // namespace
}  // namespace sentry
