// execve(2): what the new program gets, what it keeps, and how starting one fails.
#include <elf.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <set>
#include <vector>

#include "tests/conformance/support.h"

namespace {

int ExecStatus(const std::string& path) {
  // The errno of a failed execve, as an exit status.
  return InChild([&] {
    char* const argv[] = {const_cast<char*>("x"), nullptr};
    execve(path.c_str(), argv, argv + 1);
    return errno;
  });
}

std::string Field(const std::string& text, const std::string& name) {
  const size_t at = text.find(name + " ");
  if (at == std::string::npos) return "(none)";
  const size_t begin = at + name.size() + 1;
  return text.substr(begin, text.find('\n', begin) - begin);
}

// Each way of linking goes through other paths of a loader.
class Linked : public testing::TestWithParam<const char*> {
 protected:
  std::string helper() const { return Helper(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(Exec, Linked,
                         testing::Values("show_dynamic", "show_dynamic_fixed", "show_static",
                                         "show_static_pie"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(Linked, Arguments) {
  const Outcome run = Execute(helper(), {"zero", "args", "", "two words", "\xff"});
  EXPECT_THAT(run.status, Exited(0));
  EXPECT_EQ(run.output, "zero\nargs\n\ntwo words\n\xff\n");
}

TEST_P(Linked, Environment) {
  const Outcome run = Execute(helper(), {"x", "env"}, {"A=1", "EMPTY=", "odd"});
  EXPECT_EQ(run.output, "A=1\nEMPTY=\nodd\n");
}

TEST_P(Linked, ExitStatus) {
  EXPECT_THAT(Execute(helper(), {"x", "exit", "77"}).status, Exited(77));
}

TEST_P(Linked, AuxiliaryVector) {
  const Outcome run = Execute(helper(), {"x", "aux"});
  EXPECT_THAT(run.status, Exited(0));
  EXPECT_EQ(Field(run.output, "AT_PAGESZ"), "4096");
  EXPECT_EQ(Field(run.output, "AT_EXECFN"), helper());
  EXPECT_EQ(Field(run.output, "AT_PLATFORM"), "x86_64");
  EXPECT_EQ(Field(run.output, "AT_ENTRY"), "1");
  EXPECT_EQ(Field(run.output, "AT_PHENT"), std::to_string(sizeof(Elf64_Phdr)));
  EXPECT_EQ(Field(run.output, "AT_PHNUM"), "1");
  EXPECT_EQ(Field(run.output, "AT_PHDR"), "1");
  EXPECT_EQ(Field(run.output, "AT_SECURE"), "0");
  EXPECT_EQ(Field(run.output, "AT_CLKTCK"), "100");
  EXPECT_EQ(Field(run.output, "AT_UID"), "1");
  EXPECT_EQ(Field(run.output, "AT_GID"), "1");
  EXPECT_EQ(Field(run.output, "AT_SYSINFO_EHDR"), "1");
}

TEST_P(Linked, RandomBytesDiffer) {
  std::set<std::string> seen;
  for (int i = 0; i < 3; ++i) seen.insert(Field(Execute(helper(), {"x", "aux"}).output, "AT_RANDOM"));
  EXPECT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen.begin()->size(), 32u);
}

TEST_P(Linked, InitialStack) {
  EXPECT_EQ(Execute(helper(), {"x", "stack"}, {"A=1"}).output, "0 1\n1\n");
}

TEST_P(Linked, ThreadsAndThreadLocals) {
  EXPECT_EQ(Execute(helper(), {"x", "tls"}).output, "1234 1235\n");
}

TEST_P(Linked, Clock) { EXPECT_EQ(Execute(helper(), {"x", "clock"}).output, "1\n"); }

TEST_P(Linked, NameAndExecutable) {
  EXPECT_EQ(Execute(helper(), {"other", "exe"}).output, helper() + "\n");
  EXPECT_EQ(Execute(helper(), {"other", "comm"}).output, std::string(GetParam()).substr(0, 15) + "\n");
}

TEST(Exec, KeepsThePid) {
  Pipe out(O_CLOEXEC);
  const pid_t child = Start([&] {
    dup2(out.write.get(), 1);
    execl(Helper("show_static").c_str(), "x", "pids", nullptr);
    return 200;
  });
  out.write.reset();
  const std::string expected = std::to_string(child) + " " + std::to_string(getpid()) + " " +
                               std::to_string(child) + "\n";
  EXPECT_EQ(ReadAll(out.read.get()), expected);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Exec, WhatTheProcessHasUsedStaysItsOwn) {
  constexpr long kMicroseconds = 100'000, kPages = 5000;
  Pipe out(O_CLOEXEC);
  const pid_t child = Start([&] {
    const auto used = [] {
      rusage usage = {};
      getrusage(RUSAGE_SELF, &usage);
      return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1'000'000 + usage.ru_utime.tv_usec +
             usage.ru_stime.tv_usec;
    };
    std::vector<char> memory(kPages * 4096);
    madvise(memory.data(), memory.size(), MADV_NOHUGEPAGE);
    for (size_t at = 0; at < memory.size(); at += 4096) memory[at] = 'x';
    while (used() < kMicroseconds) continue;
    dup2(out.write.get(), 1);
    execl(Helper("show_static").c_str(), "x", "usage", nullptr);
    return 200;
  });
  out.write.reset();
  long time = 0, faults = 0, resident = 0;
  const std::string text = ReadAll(out.read.get());
  ASSERT_EQ(sscanf(text.c_str(), "%ld %ld %ld", &time, &faults, &resident), 3) << text;
  EXPECT_GE(time, kMicroseconds);
  EXPECT_GE(faults, kPages);
  EXPECT_GE(resident, kPages * 4);
  EXPECT_THAT(Wait(child), Exited(0));
}

// AT_EXECVE_CHECK of Linux 6.14: whether it would be allowed.
TEST(Exec, OnlyAsked) {
  constexpr int kCheck = 0x10000;
  const std::string helper = Helper("show_static");
  char name[] = "x";
  char* const argv[] = {name, nullptr};
  const auto check = [&](const char* path, int flags = 0, int dirfd = AT_FDCWD) {
    return syscall(SYS_execveat, dirfd, path, argv, environ, kCheck | flags);
  };
  if (check(helper.c_str()) != 0 && errno == EINVAL) GTEST_SKIP() << "before Linux 6.14";
  EXPECT_THAT(check(helper.c_str()), Returns(0));
  UniqueFd fd(open(helper.c_str(), O_RDONLY));
  EXPECT_THAT(check("", AT_EMPTY_PATH, fd.get()), Returns(0));
  EXPECT_THAT(check("", 0, fd.get()), FailsWith(ENOENT));
  TempDir dir;
  WriteFile(dir / "f", "neither a program nor a script", 0755);
  EXPECT_THAT(check((dir / "f").c_str()), Returns(0)) << "what is in it is not looked at";
  WriteFile(dir / "plain", "#!/bin/sh\n", 0644);
  EXPECT_THAT(check((dir / "plain").c_str()), FailsWith(EACCES));
  EXPECT_THAT(check(dir.path().c_str()), FailsWith(EACCES));
  EXPECT_THAT(check((dir / "none").c_str()), FailsWith(ENOENT));
  ASSERT_THAT(symlink("f", (dir / "link").c_str()), Returns(0));
  EXPECT_THAT(check((dir / "link").c_str(), AT_SYMLINK_NOFOLLOW), FailsWith(ELOOP));
  UniqueFd writer(open((dir / "f").c_str(), O_WRONLY));
  EXPECT_THAT(check((dir / "f").c_str()), testing::AnyOf(FailsWith(ETXTBSY), Returns(0)));
}

TEST(Exec, TheFileIsLookedAtBeforeTheArguments) {
  auto* const bad = reinterpret_cast<char**>(8);
  EXPECT_THAT(execve("/nonexistent", bad, nullptr), FailsWith(ENOENT));
  char* const none[] = {nullptr};
  EXPECT_THAT(execve("/dev/null", none, bad), FailsWith(EACCES));
  EXPECT_THAT(execve("/", bad, nullptr), FailsWith(EACCES));
  EXPECT_THAT(execve(Helper("show_static").c_str(), bad, nullptr), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_execveat, AT_FDCWD, 8, bad, nullptr, 0x4000), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_execveat, AT_FDCWD, "", bad, nullptr, 0x4000), FailsWith(ENOENT));
}

TEST(Exec, CloseOnExec) {
  UniqueFd kept(open("/dev/null", O_RDONLY)), closed(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const std::string helper = Helper("show_static");
  EXPECT_EQ(Execute(helper, {"x", "fd", std::to_string(kept.get())}).output, "open\n");
  EXPECT_EQ(Execute(helper, {"x", "fd", std::to_string(closed.get())}).output, "closed\n");
  ASSERT_THAT(fcntl(kept.get(), F_SETFD, FD_CLOEXEC), Returns(0));
  EXPECT_EQ(Execute(helper, {"x", "fd", std::to_string(kept.get())}).output, "closed\n");
}

TEST(Exec, FailureKeepsCloseOnExecDescriptors) {
  UniqueFd fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
  EXPECT_THAT(InChild([&] {
    execl("/nonexistent", "x", nullptr);
    return fcntl(fd.get(), F_GETFD) == FD_CLOEXEC ? 0 : 1;
  }), Exited(0));
}

TEST(Exec, SignalStateAcrossIt) {
  // Handlers fall back to the default, ignored stays ignored, the mask and pending ones stay.
  const auto show = [](int number) {
    Pipe out(O_CLOEXEC);
    const std::string text = std::to_string(number);
    const pid_t child = Start([&] {
      signal(SIGUSR1, [](int) {});
      signal(SIGUSR2, SIG_IGN);
      const sigset_t set = SetOf({SIGTERM});
      sigprocmask(SIG_BLOCK, &set, nullptr);
      kill(getpid(), SIGTERM);
      dup2(out.write.get(), 1);
      execl(Helper("show_static").c_str(), "x", "signals", text.c_str(), nullptr);
      return 200;
    });
    out.write.reset();
    std::string output = ReadAll(out.read.get());
    EXPECT_THAT(Wait(child), Exited(0));
    return output;
  };
  EXPECT_EQ(show(SIGUSR1), "default 0 0\n");
  EXPECT_EQ(show(SIGUSR2), "ignored 0 0\n");
  EXPECT_EQ(show(SIGTERM), "default 1 1\n");
}

TEST(Exec, FromADescriptor) {
  UniqueFd fd(open(Helper("show_static").c_str(), O_PATH | O_CLOEXEC));
  const int status = InChild([&] {
    const char* argv[] = {"x", "exit", "12", nullptr};
    const char* envp[] = {nullptr};
    syscall(SYS_execveat, fd.get(), "", argv, envp, AT_EMPTY_PATH);
    return errno;
  });
  EXPECT_THAT(status, Exited(12));
}

TEST(Exec, AMemoryFile) {
  const std::string image = ReadFile(Helper("show_static"));
  UniqueFd fd(static_cast<int>(syscall(SYS_memfd_create, "program", 0)));
  ASSERT_THAT(write(fd.get(), image.data(), image.size()), Returns(image.size()));
  EXPECT_THAT(InChild([&] {
    const char* argv[] = {"x", "exit", "13", nullptr};
    const char* envp[] = {nullptr};
    syscall(SYS_execveat, fd.get(), "", argv, envp, AT_EMPTY_PATH);
    return errno;
  }), Exited(13));
}

TEST(ExecFails, Paths) {
  TempDir dir;
  WriteFile(dir / "plain", "data");
  ASSERT_THAT(symlink("loop", (dir / "loop").c_str()), Returns(0));
  EXPECT_THAT(ExecStatus(dir / "none"), Exited(ENOENT));
  EXPECT_THAT(ExecStatus(dir / "plain"), Exited(EACCES));
  EXPECT_THAT(ExecStatus(dir / "plain/x"), Exited(ENOTDIR));
  EXPECT_THAT(ExecStatus(dir / "loop"), Exited(ELOOP));
  EXPECT_THAT(ExecStatus(dir.path()), Exited(EACCES));
  EXPECT_THAT(ExecStatus("/dev/null"), Exited(EACCES));
  EXPECT_THAT(ExecStatus(""), Exited(ENOENT));
}

TEST(ExecFails, NotAProgram) {
  TempDir dir;
  WriteFile(dir / "text", "not a program", 0755);
  WriteFile(dir / "empty", "", 0755);
  EXPECT_THAT(ExecStatus(dir / "text"), Exited(ENOEXEC));
  EXPECT_THAT(ExecStatus(dir / "empty"), Exited(ENOEXEC));
}

TEST(ExecFails, DamagedElf) {
  TempDir dir;
  const std::string good = ReadFile(Helper("show_static"));
  const auto with = [&](size_t offset, std::string_view bytes) {
    std::string bad = good;
    bad.replace(offset, bytes.size(), bytes);
    WriteFile(dir / "bad", bad, 0755);
    return ExecStatus(dir / "bad");
  };
  using std::string_view_literals::operator""sv;
  EXPECT_THAT(with(0, "\177ELf"), Exited(ENOEXEC));
  EXPECT_THAT(with(offsetof(Elf64_Ehdr, e_machine), "\xb7\0"sv), Exited(ENOEXEC));
  EXPECT_THAT(with(offsetof(Elf64_Ehdr, e_type), "\1\0"sv), Exited(ENOEXEC));
  EXPECT_THAT(with(offsetof(Elf64_Ehdr, e_phentsize), "\7\0"sv), Exited(ENOEXEC));
  EXPECT_THAT(with(offsetof(Elf64_Ehdr, e_phnum), "\0\0"sv), Exited(ENOEXEC));
  WriteFile(dir / "short", std::string_view(good).substr(0, 40), 0755);
  EXPECT_THAT(ExecStatus(dir / "short"), Exited(ENOEXEC));
}

TEST(ExecFails, MissingElfInterpreter) {
  TempDir dir;
  std::string image = ReadFile(Helper("show_dynamic"));
  const size_t at = image.find("/lib64/ld-linux-x86-64.so.2");
  ASSERT_NE(at, std::string::npos);
  image[at + 1] = 'X';
  WriteFile(dir / "p", image, 0755);
  EXPECT_THAT(ExecStatus(dir / "p"), Exited(ENOENT));
}

TEST(ExecFails, OtherElfInterpreters) {
  TempDir dir;
  std::string image = ReadFile(Helper("show_dynamic"));
  constexpr std::string_view kUsual = "/lib64/ld-linux-x86-64.so.2";
  const size_t at = image.find(kUsual);
  ASSERT_NE(at, std::string::npos);
  std::string own = "interpreter";
  own.resize(kUsual.size(), '\0');
  image.replace(at, own.size(), own);  // Below the working directory.
  WriteFile(dir / "p", image, 0755);
  const auto run = [&] {
    return InChild([&] {
      CHILD_CHECK(chdir(dir.path().c_str()) == 0);
      execl("./p", "p", nullptr);
      return errno;
    });
  };
  const auto with = [&](std::string_view interpreter, mode_t mode) {
    WriteFile(dir / "interpreter", interpreter, mode);
    chmod((dir / "interpreter").c_str(), mode);
    return run();
  };
  const std::string usual = ReadFile(std::string(kUsual));
  EXPECT_THAT(with(usual, 0644), Exited(EACCES));
  EXPECT_THAT(with("too short for a header", 0755), Exited(EIO));
  EXPECT_THAT(with("#!/bin/sh\n" + std::string(100, '\n'), 0755), Exited(ELIBBAD));
  std::string foreign = usual;
  foreign.replace(offsetof(Elf64_Ehdr, e_machine), 1, "\xb7");
  EXPECT_THAT(with(foreign, 0755), Exited(ELIBBAD));
  unlink((dir / "interpreter").c_str());
  mkdir((dir / "interpreter").c_str(), 0755);
  EXPECT_THAT(run(), Exited(EACCES));
}

TEST(ExecFails, OpenForWriting) {
  TempDir dir;
  WriteFile(dir / "p", ReadFile(Helper("show_static")), 0755);
  UniqueFd writer(open((dir / "p").c_str(), O_WRONLY | O_CLOEXEC));
  EXPECT_THAT(ExecStatus(dir / "p"), Exited(ETXTBSY));
}

TEST(ExecFails, TooMuch) {
  // One string of more than 32 pages, and a total beyond a quarter of the stack limit.
  const std::string helper = Helper("show_static");
  EXPECT_THAT(InChild([&] {
    const std::string large(32 * 4096, 'x');
    const char* argv[] = {"x", large.c_str(), nullptr};
    execve(helper.c_str(), const_cast<char**>(argv), nullptr);
    return errno;
  }), Exited(E2BIG));
  EXPECT_THAT(InChild([&] {
    const std::string part(100'000, 'x');
    std::vector<char*> argv(30, const_cast<char*>(part.c_str()));
    argv.push_back(nullptr);
    execve(helper.c_str(), argv.data(), nullptr);
    return errno;
  }), Exited(E2BIG));
}

TEST(Exec, LargeArgumentsArrive) {
  const std::string large(32 * 4096 - 1, 'x');
  const Outcome run = Execute(Helper("show_static"), {"x", "args", large, large});
  EXPECT_TRUE(run.output == "x\nargs\n" + large + "\n" + large + "\n");
}

TEST(ExecFails, BadPointers) {
  EXPECT_THAT(InChild([] {
    CHILD_CHECK(syscall(SYS_execve, 8, nullptr, nullptr) == -1 && errno == EFAULT);
    CHILD_CHECK(syscall(SYS_execve, "/bin/true", 8, nullptr) == -1 && errno == EFAULT);
    const char* argv[] = {"x", reinterpret_cast<const char*>(8), nullptr};
    CHILD_CHECK(syscall(SYS_execve, "/bin/true", argv, nullptr) == -1 && errno == EFAULT);
    return 0;
  }), Exited(0));
}

TEST(Script, InterpreterAndArgument) {
  TempDir dir;
  WriteFile(dir / "s", "#!" + Helper("show_static") + "  args  \n", 0755);
  EXPECT_EQ(Execute(dir / "s", {"zero", "one", "two"}).output,
            Helper("show_static") + "\nargs\n" + (dir / "s") + "\none\ntwo\n");
}

TEST(Script, TheRestOfTheLineIsOneArgument) {
  TempDir dir;
  WriteFile(dir / "t", "#!" + Helper("show_static") + " two words\n", 0755);
  EXPECT_THAT(Execute(dir / "t", {"x"}).status, Exited(2));  // The helper knows no "two words".
}

TEST(Script, Nests) {
  TempDir dir;
  WriteFile(dir / "a", "#!" + Helper("show_static") + " args\n", 0755);
  WriteFile(dir / "b", "#!" + (dir / "a") + " from-b\n", 0755);
  EXPECT_EQ(Execute(dir / "b", {"x", "end"}).output,
            Helper("show_static") + "\nargs\n" + (dir / "a") + "\nfrom-b\n" + (dir / "b") + "\nend\n");
}

TEST(Script, NestsOnlySoDeep) {
  TempDir dir;
  WriteFile(dir / "s0", "#!/bin/true\n", 0755);
  for (int i = 1; i <= 6; ++i) {
    WriteFile(dir / ("s" + std::to_string(i)), "#!" + (dir / ("s" + std::to_string(i - 1))) + "\n",
              0755);
  }
  EXPECT_THAT(ExecStatus(dir / "s4"), Exited(0));
  EXPECT_THAT(ExecStatus(dir / "s5"), Exited(ELOOP));
}

TEST(Script, Failures) {
  TempDir dir;
  WriteFile(dir / "missing", "#!/nonexistent/interpreter\n", 0755);
  WriteFile(dir / "none", "#!\n", 0755);
  WriteFile(dir / "blank", "#!   \n", 0755);
  EXPECT_THAT(ExecStatus(dir / "missing"), Exited(ENOENT));
  EXPECT_THAT(ExecStatus(dir / "none"), Exited(ENOEXEC));
  EXPECT_THAT(ExecStatus(dir / "blank"), Exited(ENOEXEC));
}

TEST(Script, ShellRunsIt) {
  TempDir dir;
  WriteFile(dir / "s", "#!/bin/sh\nread line\necho \"$0 $# $line\"\nexit 3\n", 0755);
  WriteFile(dir / "in", "data\n");
  const int in = open((dir / "in").c_str(), O_RDONLY);
  const int keep = dup(0);
  dup2(in, 0);
  const Outcome run = Execute(dir / "s", {"x", "1", "2"});
  dup2(keep, 0);
  close(keep);
  close(in);
  EXPECT_THAT(run.status, Exited(3));
  EXPECT_EQ(run.output, (dir / "s") + " 2 data\n");
}

TEST(Exec, SetUserIdBit) {
  TempDir dir;
  WriteFile(dir / "p", ReadFile(Helper("show_static")), 0755);
  ASSERT_THAT(chown((dir / "p").c_str(), 1234, -1), Returns(0));
  ASSERT_THAT(chmod((dir / "p").c_str(), 04755), Returns(0));
  Pipe out(O_CLOEXEC);
  const pid_t child = Start([&] {
    CHILD_CHECK(setresuid(65534, 65534, 65534) == 0);
    CHILD_CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    dup2(out.write.get(), 1);
    execl((dir / "p").c_str(), "x", "aux", nullptr);
    return 200;
  });
  out.write.reset();
  // With no_new_privs the bit has no effect.
  EXPECT_EQ(Field(ReadAll(out.read.get()), "AT_SECURE"), "0");
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Exec, WithoutAnyDescriptor) {
  // A program may start without any descriptor at all.
  EXPECT_THAT(InChild([] {
    syscall(SYS_close_range, 0, ~0u, 0);
    execl(Helper("show_static").c_str(), "x", "exit", "4", nullptr);
    return 200;
  }), Exited(4));
}

}  // namespace
