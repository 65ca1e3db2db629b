// futex(2): which errors each operation gives, and what it answers when nobody waits.
#include "tests/conformance/futex_support.h"

namespace {

struct Operation {
  const char* name;
  int op;
};
std::string Name(const testing::TestParamInfo<Operation>& info) { return info.param.name; }

// Everything that takes its word as `uaddr` and complains about it.
class EachOperation : public testing::TestWithParam<Operation> {
 protected:
  // With arguments that are right but for the word.
  static long Call(Word* word) {
    static Word second;
    const timespec past = {0, 1};
    const int op = GetParam().op;
    const int command = op & FUTEX_CMD_MASK;
    const bool counts = command == FUTEX_REQUEUE || command == FUTEX_CMP_REQUEUE ||
                        command == FUTEX_CMP_REQUEUE_PI || command == FUTEX_WAKE_OP;
    return Futex(word, op, 1, counts ? Count(1) : &past, &second, ~0u);
  }
};
INSTANTIATE_TEST_SUITE_P(
    Futex, EachOperation,
    testing::Values(Operation{"Wait", FUTEX_WAIT}, Operation{"WaitPrivate", FUTEX_WAIT_PRIVATE},
                    Operation{"Wake", FUTEX_WAKE}, Operation{"Requeue", FUTEX_REQUEUE},
                    Operation{"CmpRequeue", FUTEX_CMP_REQUEUE}, Operation{"WakeOp", FUTEX_WAKE_OP},
                    Operation{"WaitBitset", FUTEX_WAIT_BITSET},
                    Operation{"WakeBitset", FUTEX_WAKE_BITSET}, Operation{"LockPi", FUTEX_LOCK_PI},
                    Operation{"LockPi2", FUTEX_LOCK_PI2}, Operation{"TrylockPi", FUTEX_TRYLOCK_PI},
                    Operation{"UnlockPi", FUTEX_UNLOCK_PI},
                    Operation{"WaitRequeuePi", FUTEX_WAIT_REQUEUE_PI},
                    Operation{"CmpRequeuePi", FUTEX_CMP_REQUEUE_PI}),
    Name);

TEST_P(EachOperation, UnalignedWord) {
  alignas(8) Word words[2] = {};
  // Unlocking looks at the owner first.
  EXPECT_THAT(Call(Unaligned(words)), FailsWith(GetParam().op == FUTEX_UNLOCK_PI ? EPERM : EINVAL));
}

TEST_P(EachOperation, WordWithoutMemory) {
  // A shared word has to be found before anything else; waking does not look at a private one.
  EXPECT_THAT(Call(NoMemory()), FailsWith(EFAULT));
}

TEST_P(EachOperation, WordOfTheKernel) {
  EXPECT_THAT(Call(reinterpret_cast<Word*>(0xffffffff81000000)), FailsWith(EFAULT));
}

// FUTEX_CLOCK_REALTIME with an operation that has no such choice.
class NoClock : public testing::TestWithParam<Operation> {};
INSTANTIATE_TEST_SUITE_P(
    Futex, NoClock,
    testing::Values(Operation{"Wake", FUTEX_WAKE}, Operation{"Requeue", FUTEX_REQUEUE},
                    Operation{"CmpRequeue", FUTEX_CMP_REQUEUE}, Operation{"WakeOp", FUTEX_WAKE_OP},
                    Operation{"WakeBitset", FUTEX_WAKE_BITSET}, Operation{"LockPi", FUTEX_LOCK_PI},
                    Operation{"TrylockPi", FUTEX_TRYLOCK_PI},
                    Operation{"UnlockPi", FUTEX_UNLOCK_PI},
                    Operation{"CmpRequeuePi", FUTEX_CMP_REQUEUE_PI}),
    Name);

TEST_P(NoClock, IsNotAnOperation) {
  Word word = 0, second = 0;
  EXPECT_THAT(Futex(&word, GetParam().op | FUTEX_CLOCK_REALTIME, 1, nullptr, &second),
              FailsWith(ENOSYS));
}

class Timed : public testing::TestWithParam<Operation> {};
INSTANTIATE_TEST_SUITE_P(
    Futex, Timed,
    testing::Values(Operation{"Wait", FUTEX_WAIT}, Operation{"WaitBitset", FUTEX_WAIT_BITSET},
                    Operation{"WaitBitsetReal", FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME},
                    Operation{"LockPi", FUTEX_LOCK_PI}, Operation{"LockPi2", FUTEX_LOCK_PI2},
                    Operation{"LockPi2Real", FUTEX_LOCK_PI2 | FUTEX_CLOCK_REALTIME},
                    Operation{"WaitRequeuePi", FUTEX_WAIT_REQUEUE_PI},
                    Operation{"WaitRequeuePiReal", FUTEX_WAIT_REQUEUE_PI | FUTEX_CLOCK_REALTIME}),
    Name);

TEST_P(Timed, RefusesABadTime) {
  Word word = 0, second = 0;
  for (const timespec bad : {timespec{0, 1'000'000'000}, timespec{0, -1}, timespec{-1, 0}}) {
    EXPECT_THAT(Futex(&word, GetParam().op, 0, &bad, &second, ~0u), FailsWith(EINVAL));
  }
}

TEST_P(Timed, TimeWithoutMemory) {
  Word word = 0, second = 0;
  EXPECT_THAT(Futex(&word, GetParam().op, 0, reinterpret_cast<timespec*>(8), &second, ~0u),
              FailsWith(EFAULT));
}

TEST_P(Timed, ExpiresAtOnceInThePast) {
  const int command = GetParam().op & FUTEX_CMD_MASK;
  Word word = 0, second = 0;
  // Somebody else's lock for those that take one.
  Pipe gate;
  Thread owner([&] { Await(gate.read.get()); });
  const bool lock = command == FUTEX_LOCK_PI || command == FUTEX_LOCK_PI2;
  if (lock) word = static_cast<uint32_t>(owner.tid());
  const timespec past = {0, 1};
  EXPECT_THAT(Futex(&word, GetParam().op, 0, &past, &second, ~0u), FailsWith(ETIMEDOUT));
  Post(gate.write.get());
  owner.Join();
}

TEST(FutexErrors, UnknownOperations) {
  Word word = 0;
  for (const int op : {2 /* FUTEX_FD */, 14, 77, 0x7f}) {
    EXPECT_THAT(Futex(&word, op, 0), FailsWith(ENOSYS)) << op;
  }
}

TEST(FutexErrors, EmptyBitsets) {
  Word word = 0;
  EXPECT_THAT(Futex(&word, FUTEX_WAIT_BITSET, 0), FailsWith(EINVAL));
  EXPECT_THAT(Futex(&word, FUTEX_WAKE_BITSET, 1), FailsWith(EINVAL));
}

TEST(FutexErrors, NegativeCountsOfRequeue) {
  Word first = 0, second = 0;
  EXPECT_THAT(Futex(&first, FUTEX_REQUEUE, ~0u, Count(1), &second), FailsWith(EINVAL));
  EXPECT_THAT(Futex(&first, FUTEX_REQUEUE, 1, Count(~0u), &second), FailsWith(EINVAL));
}

TEST(FutexErrors, SecondWord) {
  Word word = 0;
  alignas(8) Word words[2] = {};
  EXPECT_THAT(Futex(&word, FUTEX_REQUEUE, 1, Count(1), Unaligned(words)), FailsWith(EINVAL));
  EXPECT_THAT(Futex(&word, FUTEX_REQUEUE, 1, Count(1), NoMemory()), FailsWith(EFAULT));
  EXPECT_THAT(Futex(&word, FUTEX_WAKE_OP, 1, Count(1), NoMemory()), FailsWith(EFAULT));
  EXPECT_THAT(Futex(&word, FUTEX_CMP_REQUEUE, 1, Count(1), NoMemory(), 0), FailsWith(EFAULT));
}

TEST(FutexErrors, ValueMustMatch) {
  Word word = 5;
  EXPECT_THAT(Futex(&word, FUTEX_WAIT, 4), FailsWith(EAGAIN));
  EXPECT_THAT(Futex(&word, FUTEX_WAIT_BITSET, 4, nullptr, nullptr, ~0u), FailsWith(EAGAIN));
  EXPECT_THAT(Futex(&word, FUTEX_CMP_REQUEUE, 1, Count(1), &word, 4), FailsWith(EAGAIN));
}

TEST(FutexErrors, ReadOnlyWordsCanBeWaitedOn) {
  void* at = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_THAT(at, Succeeds());
  const timespec past = {0, 1};
  EXPECT_THAT(Futex(static_cast<Word*>(at), FUTEX_WAIT_PRIVATE, 0, &past), FailsWith(ETIMEDOUT));
  EXPECT_THAT(Futex(static_cast<Word*>(at), FUTEX_WAIT_PRIVATE, 1), FailsWith(EAGAIN));
  // A lock is written to.
  EXPECT_THAT(Futex(static_cast<Word*>(at), FUTEX_LOCK_PI_PRIVATE, 0), FailsWith(EFAULT));
  munmap(at, 4096);
}

// FUTEX_WAKE_OP: what it does to the second word, and what it compares.
struct Arithmetic {
  const char* name;
  int op;
  uint32_t before, argument, after;
};
class WakeOpChange : public testing::TestWithParam<Arithmetic> {};
INSTANTIATE_TEST_SUITE_P(Futex, WakeOpChange,
                         testing::Values(Arithmetic{"Set", FUTEX_OP_SET, 5, 9, 9},
                                         Arithmetic{"Add", FUTEX_OP_ADD, 5, 9, 14},
                                         Arithmetic{"Or", FUTEX_OP_OR, 5, 10, 15},
                                         Arithmetic{"AndNot", FUTEX_OP_ANDN, 7, 5, 2},
                                         Arithmetic{"Xor", FUTEX_OP_XOR, 6, 3, 5},
                                         Arithmetic{"Shift", FUTEX_OP_OR | FUTEX_OP_OPARG_SHIFT, 1,
                                                    4, 17}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(WakeOpChange, ChangesTheSecondWord) {
  const Arithmetic& p = GetParam();
  Word first = 0, second = p.before;
  const uint32_t code = static_cast<uint32_t>(FUTEX_OP(p.op, p.argument, FUTEX_OP_CMP_EQ, 0));
  EXPECT_THAT(Futex(&first, FUTEX_WAKE_OP, 1, Count(1), &second, code), Returns(0));
  EXPECT_EQ(second, p.after);
}

struct Comparison {
  const char* name;
  int compare;
  bool less, equal, more;  // Whether an old value below, at and above 5 wakes.
};
class WakeOpCompare : public testing::TestWithParam<Comparison> {};
INSTANTIATE_TEST_SUITE_P(Futex, WakeOpCompare,
                         testing::Values(Comparison{"Eq", FUTEX_OP_CMP_EQ, false, true, false},
                                         Comparison{"Ne", FUTEX_OP_CMP_NE, true, false, true},
                                         Comparison{"Lt", FUTEX_OP_CMP_LT, true, false, false},
                                         Comparison{"Le", FUTEX_OP_CMP_LE, true, true, false},
                                         Comparison{"Gt", FUTEX_OP_CMP_GT, false, false, true},
                                         Comparison{"Ge", FUTEX_OP_CMP_GE, false, true, true}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(WakeOpCompare, DecidesWhetherTheSecondIsWoken) {
  const Comparison& p = GetParam();
  const uint32_t code = static_cast<uint32_t>(FUTEX_OP(FUTEX_OP_ADD, 0, p.compare, 5));
  const bool expected[] = {p.less, p.equal, p.more};
  for (uint32_t i = 0; i < 3; ++i) {
    Word first = 0, second = 4 + i;
    Thread waiter([&] { Futex(&second, FUTEX_WAIT, 4 + i); });
    EXPECT_TRUE(waiter.AwaitSleep());
    EXPECT_THAT(Futex(&first, FUTEX_WAKE_OP, 1, Count(1), &second, code), Returns(expected[i]));
    if (!expected[i]) {
      EXPECT_THAT(Futex(&second, FUTEX_WAKE, 1), Returns(1));
    }
    waiter.Join();
  }
}

TEST(WakeOp, BothAreWoken) {
  Word first = 0, second = 0;
  Thread a([&] { Futex(&first, FUTEX_WAIT, 0); });
  Thread b([&] { Futex(&second, FUTEX_WAIT, 0); });
  EXPECT_TRUE(a.AwaitSleep() && b.AwaitSleep());
  const uint32_t code = static_cast<uint32_t>(FUTEX_OP(FUTEX_OP_SET, 1, FUTEX_OP_CMP_EQ, 0));
  EXPECT_THAT(Futex(&first, FUTEX_WAKE_OP, 1, Count(1), &second, code), Returns(2));
  EXPECT_EQ(second, 1u);
}

TEST(WakeOp, UnknownOperationOrComparison) {
  Word first = 0, second = 0;
  EXPECT_THAT(Futex(&first, FUTEX_WAKE_OP, 1, Count(1), &second, 6u << 28), FailsWith(ENOSYS));
  EXPECT_THAT(Futex(&first, FUTEX_WAKE_OP, 1, Count(1), &second, 7u << 24), FailsWith(ENOSYS));
}

}  // namespace
