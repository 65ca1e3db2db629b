// Filters of sockets: SO_ATTACH_FILTER, SO_DETACH_FILTER, SO_LOCK_FILTER. socket(7),
// Documentation/networking/filter.rst.
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/un.h>

#include <utility>
#include <vector>

#include "tests/conformance/inet_support.h"

namespace {

using Code = std::vector<sock_filter>;

int Attach(const UniqueFd& fd, Code code) {
  sock_fprog program{};
  program.len = static_cast<uint16_t>(code.size());
  program.filter = code.data();
  return setsockopt(fd.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

int Detach(const UniqueFd& fd) { return SetInt(fd, SOL_SOCKET, SO_DETACH_FILTER, 0); }

// Keeps `kept` bytes of packets whose byte at `at` is `wanted`, and nothing of others.
Code OnlyWith(uint32_t at, char wanted, uint32_t kept = 0xffffffff) {
  return {BPF_STMT(BPF_LD | BPF_B | BPF_ABS, at),
          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(wanted), 0, 1),
          BPF_STMT(BPF_RET | BPF_K, kept), BPF_STMT(BPF_RET | BPF_K, 0)};
}

Code Returns0xffff() { return {BPF_STMT(BPF_RET | BPF_K, 0xffff)}; }

// A pair of unix sockets that keep messages apart: what is sent to the one, with a filter over it.
struct Pair {
  UniqueFd from, to;
  explicit Pair(int type = SOCK_DGRAM) {
    int fds[2];
    EXPECT_THAT(socketpair(AF_UNIX, type, 0, fds), Returns(0));
    from.reset(fds[0]);
    to.reset(fds[1]);
  }
  void Send(std::string_view text) const {
    EXPECT_THAT(send(from.get(), text.data(), text.size(), 0), Returns(text.size()));
  }
  std::string Next() const {
    char bytes[64];
    const ssize_t size = recv(to.get(), bytes, sizeof bytes, MSG_DONTWAIT);
    return size < 0 ? strerrorname_np(errno) : std::string(bytes, static_cast<size_t>(size));
  }
};

class FilteredPair : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Unix, FilteredPair, testing::Values(SOCK_DGRAM, SOCK_SEQPACKET));

TEST_P(FilteredPair, WhatIsNotWantedIsSentAndLost) {
  const Pair pair(GetParam());
  ASSERT_THAT(Attach(pair.to, OnlyWith(0, 'y')), Returns(0));
  pair.Send("no");
  pair.Send("yes");
  pair.Send("");
  EXPECT_EQ(pair.Next(), "yes");
  EXPECT_EQ(pair.Next(), "EAGAIN");
}

TEST_P(FilteredPair, MayCutMessages) {
  const Pair pair(GetParam());
  ASSERT_THAT(Attach(pair.to, OnlyWith(0, 'y', 2)), Returns(0));
  pair.Send("yes");
  EXPECT_EQ(pair.Next(), "ye");
}

TEST_P(FilteredPair, UntilItIsDetached) {
  const Pair pair(GetParam());
  ASSERT_THAT(Attach(pair.to, OnlyWith(0, 'y')), Returns(0));
  ASSERT_THAT(Attach(pair.to, OnlyWith(0, 'n')), Returns(0));
  pair.Send("yes");
  pair.Send("no");
  EXPECT_EQ(pair.Next(), "no");
  ASSERT_THAT(Detach(pair.to), Returns(0));
  pair.Send("yes");
  EXPECT_EQ(pair.Next(), "yes");
  EXPECT_THAT(Detach(pair.to), FailsWith(ENOENT));
}

TEST(StreamFilter, SeesNothingOfUnixStreams) {
  const Pair pair(SOCK_STREAM);
  ASSERT_THAT(Attach(pair.to, OnlyWith(0, 'y')), Returns(0));
  pair.Send("no");
  EXPECT_EQ(pair.Next(), "no");
}

// What a program says of "abcdefgh": as many bytes as it returns are left.
struct Program {
  const char* name;
  Code code;
  const char* left;  // "EAGAIN": dropped.
};

class FilterProgram : public testing::TestWithParam<Program> {};

TEST_P(FilterProgram, LeavesWhatItReturns) {
  const Pair pair;
  ASSERT_THAT(Attach(pair.to, GetParam().code), Returns(0));
  pair.Send("abcdefgh");
  EXPECT_EQ(pair.Next(), GetParam().left);
}

constexpr sock_filter kReturnA = BPF_STMT(BPF_RET | BPF_A, 0);

Code Alu(uint16_t operation, uint32_t a, uint32_t operand) {
  return {BPF_STMT(BPF_LD | BPF_IMM, a),
          BPF_STMT(static_cast<uint16_t>(BPF_ALU | operation | BPF_K), operand), kReturnA};
}
Code AluX(uint16_t operation, uint32_t a, uint32_t x) {
  return {BPF_STMT(BPF_LD | BPF_IMM, a), BPF_STMT(BPF_LDX | BPF_IMM, x),
          BPF_STMT(static_cast<uint16_t>(BPF_ALU | operation | BPF_X), 0), kReturnA};
}
// 3 when the jump is taken, 5 otherwise.
Code Jump(uint16_t condition, uint32_t a, uint32_t operand) {
  return {BPF_STMT(BPF_LD | BPF_IMM, a),
          BPF_JUMP(static_cast<uint16_t>(BPF_JMP | condition | BPF_K), operand, 0, 1),
          BPF_STMT(BPF_RET | BPF_K, 3), BPF_STMT(BPF_RET | BPF_K, 5)};
}

INSTANTIATE_TEST_SUITE_P(
    Of, FilterProgram,
    testing::Values(
        Program{"Constant", {BPF_STMT(BPF_RET | BPF_K, 4)}, "abcd"},
        Program{"MoreThanThereIs", {BPF_STMT(BPF_RET | BPF_K, 400)}, "abcdefgh"},
        Program{"Length", {BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0), kReturnA}, "abcdefgh"},
        Program{"LengthInX",
                {BPF_STMT(BPF_LDX | BPF_W | BPF_LEN, 0), BPF_STMT(BPF_MISC | BPF_TXA, 0),
                 BPF_STMT(BPF_ALU | BPF_SUB | BPF_K, 2), kReturnA},
                "abcdef"},
        Program{"AHalfWord",
                {BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0), BPF_STMT(BPF_ALU | BPF_SUB | BPF_K, 0x6160),
                 kReturnA},
                "ab"},
        Program{"AWord",
                {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4),
                 BPF_STMT(BPF_ALU | BPF_XOR | BPF_K, 0x6566676b), kReturnA},
                "abc"},
        Program{"Indirect",
                {BPF_STMT(BPF_LDX | BPF_IMM, 3), BPF_STMT(BPF_LD | BPF_B | BPF_IND, 2),
                 BPF_STMT(BPF_ALU | BPF_SUB | BPF_K, 'a'), kReturnA},
                "abcde"},
        Program{"BehindTheEnd",
                {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 5), BPF_STMT(BPF_RET | BPF_K, 8)},
                "EAGAIN"},
        Program{"HeaderLength",
                {BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0), BPF_STMT(BPF_MISC | BPF_TXA, 0), kReturnA},
                "abcd"},
        Program{"Memory",
                {BPF_STMT(BPF_LD | BPF_IMM, 6), BPF_STMT(BPF_ST, 15), BPF_STMT(BPF_LD | BPF_IMM, 1),
                 BPF_STMT(BPF_LDX | BPF_MEM, 15), BPF_STMT(BPF_MISC | BPF_TXA, 0), kReturnA},
                "abcdef"},
        Program{"Add", Alu(BPF_ADD, 1, 2), "abc"},
        Program{"Multiply", AluX(BPF_MUL, 2, 3), "abcdef"},
        Program{"Divide", Alu(BPF_DIV, 9, 2), "abcd"},
        Program{"Modulo", Alu(BPF_MOD, 9, 5), "abcd"},
        Program{"DivideByNothing", AluX(BPF_DIV, 9, 0), "EAGAIN"},
        Program{"ModuloNothing", AluX(BPF_MOD, 9, 0), "EAGAIN"},
        Program{"And", Alu(BPF_AND, 7, 10), "ab"}, Program{"Or", Alu(BPF_OR, 1, 4), "abcde"},
        Program{"ShiftLeft", Alu(BPF_LSH, 1, 2), "abcd"},
        Program{"ShiftRight", AluX(BPF_RSH, 13, 1), "abcdef"},
        Program{"ShiftByTooMuch", AluX(BPF_LSH, 3, 32), "abc"},
        Program{"Negate", Alu(BPF_NEG, static_cast<uint32_t>(-2), 0), "ab"},
        Program{"Equal", Jump(BPF_JEQ, 7, 7), "abc"},
        Program{"Greater", Jump(BPF_JGT, 7, 7), "abcde"},
        Program{"AtLeast", Jump(BPF_JGE, 7, 7), "abc"},
        Program{"AnyBit", Jump(BPF_JSET, 6, 1), "abcde"},
        Program{"GoTo",
                {BPF_STMT(BPF_JMP | BPF_JA, 1), BPF_STMT(BPF_RET | BPF_K, 1),
                 BPF_STMT(BPF_RET | BPF_K, 2)},
                "ab"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(FilterCheck, ProgramsThatAreRefused) {
  const Pair pair;
  const std::pair<const char*, Code> programs[] = {
      {"empty", {}},
      {"no return", {BPF_STMT(BPF_LD | BPF_IMM, 1)}},
      {"jump behind the end",
       {BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1), BPF_STMT(BPF_RET | BPF_K, 0)}},
      {"goto behind the end", {BPF_STMT(BPF_JMP | BPF_JA, 1), BPF_STMT(BPF_RET | BPF_K, 0)}},
      {"unknown", {BPF_STMT(0xfe, 0), BPF_STMT(BPF_RET | BPF_K, 0)}},
      {"return of x", {BPF_STMT(BPF_RET | BPF_X, 0)}},
      {"memory that is not there", {BPF_STMT(BPF_ST, 16), BPF_STMT(BPF_RET | BPF_K, 0)}},
      {"memory that was not written",
       {BPF_STMT(BPF_LD | BPF_MEM, 0), BPF_STMT(BPF_RET | BPF_K, 0)}},
      {"division by nothing",
       {BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), BPF_STMT(BPF_RET | BPF_K, 0)}},
      {"shift by 32", {BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 32), BPF_STMT(BPF_RET | BPF_K, 0)}},
      {"too long", Code(4097, BPF_STMT(BPF_RET | BPF_K, 0))},
  };
  for (const auto& [name, code] : programs) {
    EXPECT_THAT(Attach(pair.to, code), FailsWith(EINVAL)) << name;
  }
  EXPECT_THAT(Detach(pair.to), FailsWith(ENOENT));
  EXPECT_THAT(Attach(pair.to, Code(4096, BPF_STMT(BPF_RET | BPF_K, 0))), Returns(0));
}

TEST(FilterCheck, ArgumentsOfTheCall) {
  const Pair pair;
  sock_fprog program{};
  program.len = 1;
  const auto set = [&](const void* value, socklen_t size) {
    return setsockopt(pair.to.get(), SOL_SOCKET, SO_ATTACH_FILTER, value, size);
  };
  EXPECT_THAT(set(&program, sizeof program), FailsWith(EINVAL));  // Without a place.
  EXPECT_THAT(set(&program, 8), FailsWith(EINVAL));
  program.filter = reinterpret_cast<sock_filter*>(8);
  EXPECT_THAT(set(&program, sizeof program), FailsWith(EFAULT));
  EXPECT_THAT(SetInt(pair.to, SOL_SOCKET, SO_ATTACH_BPF, -1), FailsWith(EBADF));
}

TEST(FilterLock, KeepsWhatIsThere) {
  const Pair pair;
  ASSERT_THAT(Attach(pair.to, OnlyWith(0, 'y')), Returns(0));
  ASSERT_THAT(SetInt(pair.to, SOL_SOCKET, SO_LOCK_FILTER, 1), Returns(0));
  EXPECT_EQ(GetInt(pair.to, SOL_SOCKET, SO_LOCK_FILTER), 1);
  EXPECT_THAT(Attach(pair.to, Returns0xffff()), FailsWith(EPERM));
  EXPECT_THAT(Detach(pair.to), FailsWith(EPERM));
  EXPECT_THAT(SetInt(pair.to, SOL_SOCKET, SO_LOCK_FILTER, 0), FailsWith(EPERM));
  pair.Send("no");
  pair.Send("yes");
  EXPECT_EQ(pair.Next(), "yes");
}

class FilteredUdp : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    InetAddress at = At(GetParam());
    to_ = NewSocket(at.family(), SOCK_DGRAM);
    from_ = NewSocket(at.family(), SOCK_DGRAM);
    ASSERT_THAT(bind(to_.get(), at.get(), at.size), Returns(0));
    ASSERT_THAT(getsockname(to_.get(), at.get(), &at.size), Returns(0));
    ASSERT_THAT(connect(from_.get(), at.get(), at.size), Returns(0));
    port_ = at.port();
  }
  void Send(std::string_view text) const {
    EXPECT_THAT(send(from_.get(), text.data(), text.size(), 0), Returns(text.size()));
  }
  std::string Next() const {
    char bytes[64];
    const ssize_t size = recv(to_.get(), bytes, sizeof bytes, 0);
    return size < 0 ? strerrorname_np(errno) : std::string(bytes, static_cast<size_t>(size));
  }
  UniqueFd to_, from_;
  uint16_t port_ = 0;
};
INSTANTIATE_TEST_SUITE_P(Inet, FilteredUdp, testing::Values("127.0.0.1", "::1"));

TEST_P(FilteredUdp, SeesTheHeaderOfUdp) {
  ASSERT_THAT(Attach(to_, OnlyWith(8, 'y')), Returns(0));
  Send("no");
  Send("yes");
  EXPECT_EQ(Next(), "yes");
  const Code by_port = {
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 2), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, port_, 0, 3),
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 4), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 12, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0xffff),     BPF_STMT(BPF_RET | BPF_K, 0)};
  ASSERT_THAT(Attach(to_, by_port), Returns(0));
  Send("five5");
  Send("four");
  EXPECT_EQ(Next(), "four");
}

TEST_P(FilteredUdp, MayCutDatagramsButNotTheHeader) {
  ASSERT_THAT(Attach(to_, OnlyWith(8, 'y', 10)), Returns(0));
  Send("yes");
  EXPECT_EQ(Next(), "ye");
  ASSERT_THAT(Attach(to_, OnlyWith(8, 'y', 1)), Returns(0));
  Send("yes");
  EXPECT_EQ(Next(), "");
}

TEST(FilteredNetlink, AnswersMayBeDropped) {
  const UniqueFd fd(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
  const auto ask = [&](uint32_t sequence) {
    struct {
      nlmsghdr header;
      ifinfomsg body;
    } request{};
    request.header = {sizeof request, RTM_GETLINK, NLM_F_REQUEST, sequence, 0};
    request.body.ifi_index = 1;
    EXPECT_THAT(send(fd.get(), &request, sizeof request, 0), Returns(sizeof request));
  };
  // nlmsg_seq, whose bytes are in the machine's order.
  const Code only_second = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 8),
                            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x02000000, 0, 1),
                            BPF_STMT(BPF_RET | BPF_K, 0xffffffff), BPF_STMT(BPF_RET | BPF_K, 0)};
  ASSERT_THAT(Attach(fd, only_second), Returns(0));
  ask(1);
  ask(2);
  alignas(nlmsghdr) char bytes[8192];
  ASSERT_GT(recv(fd.get(), bytes, sizeof bytes, 0), 16);
  EXPECT_EQ(reinterpret_cast<const nlmsghdr*>(bytes)->nlmsg_seq, 2u);
}

}  // namespace
