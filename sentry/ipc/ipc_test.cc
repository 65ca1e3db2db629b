// What bounds the memory that callers make the sentry keep.
#include <gtest/gtest.h>
#include <sys/sem.h>

#include <vector>

#include "sentry/ipc/budget.h"
#include "sentry/ipc/mqueue.h"
#include "sentry/ipc/semaphores.h"

namespace sentry {
namespace {

TEST(Budget, SharesComeBack) {
  Budget budget(100);
  {
    const Result<BudgetShare> first = budget.Take(60);
    ASSERT_TRUE(first.ok());
    EXPECT_EQ(budget.Take(41).error(), Errno(ENOMEM));
    EXPECT_TRUE(budget.Take(40).ok());
    BudgetShare moved = *budget.Take(40);
    BudgetShare other = std::move(moved);
    EXPECT_EQ(budget.Take(1).error(), Errno(ENOMEM));
  }
  EXPECT_TRUE(budget.Take(100).ok());
  EXPECT_EQ(budget.Take(101).error(), Errno(ENOMEM));
  EXPECT_EQ(budget.Take(UINT64_MAX).error(), Errno(ENOMEM));
}

class SemaphoreBounds : public testing::Test {
 protected:
  static constexpr int kOperations = 500;

  // One call with as many operations with SEM_UNDO as there may be.
  Result<bool> Operate(SemUndoList& undo, int16_t change) {
    std::vector<SemOperation> operations;
    for (uint16_t i = 0; i < kOperations; ++i) {
      operations.push_back({.number = i, .change = change, .flags = SEM_UNDO});
    }
    SemWait wait(std::move(operations), 1, &undo);
    return table_->Operate(caller_, id_, wait);
  }

  Credentials creds_;
  const IpcCaller caller_{.creds = creds_, .pid = 1};
  const Ref<Semaphores> table_ = MakeRef<Semaphores>();
  const int id_ = *table_->Get(caller_, IPC_PRIVATE, kOperations, 0600);
};

TEST_F(SemaphoreBounds, AdjustmentsAreBoundedAndComeBack) {
  constexpr size_t kLists = Semaphores::kMaxUndoInAll / (kOperations + 1);
  std::vector<Ref<SemUndoList>> lists;
  for (size_t i = 0; i < kLists; ++i) {
    lists.push_back(MakeRef<SemUndoList>(table_));
    ASSERT_TRUE(Operate(*lists.back(), 1).ok()) << i;
  }
  const auto one_more = MakeRef<SemUndoList>(table_);
  EXPECT_EQ(Operate(*one_more, 1).error(), Errno(ENOMEM));
  lists.pop_back();
  EXPECT_TRUE(Operate(*one_more, 1).ok());
  ASSERT_TRUE(table_->Remove(caller_, id_).ok());
  lists.clear();
}

TEST_F(SemaphoreBounds, WhatComesToNothingIsNotKept) {
  constexpr size_t kLists = 2 * Semaphores::kMaxUndoInAll / (kOperations + 1);
  std::vector<Ref<SemUndoList>> lists;
  for (size_t i = 0; i < kLists; ++i) {
    lists.push_back(MakeRef<SemUndoList>(table_));
    ASSERT_TRUE(Operate(*lists.back(), 1).ok()) << i;
    ASSERT_TRUE(Operate(*lists.back(), -1).ok()) << i;
  }
}

TEST_F(SemaphoreBounds, SettingAValueGivesRoom) {
  constexpr size_t kLists = Semaphores::kMaxUndoInAll / (kOperations + 1);
  std::vector<Ref<SemUndoList>> lists;
  for (size_t i = 0; i < kLists; ++i) {
    lists.push_back(MakeRef<SemUndoList>(table_));
    ASSERT_TRUE(Operate(*lists.back(), 1).ok()) << i;
  }
  lists.push_back(MakeRef<SemUndoList>(table_));
  EXPECT_EQ(Operate(*lists.back(), 1).error(), Errno(ENOMEM));
  ASSERT_TRUE(table_->SetValue(caller_, id_, 7, 1).ok());  // Clears one of each list.
  EXPECT_TRUE(Operate(*lists.back(), 1).ok());
}

TEST(MqueueTable, NothingIsMadeOnceItIsClosed) {
  Credentials creds;
  const auto table = MakeRef<Mqueues>();
  const NewNode node{.mode = 0100600};
  ASSERT_TRUE(table->Create("a", node, std::nullopt, creds, UINT64_MAX).ok());
  table->Close();
  EXPECT_EQ(table->Find("a").error(), Errno(ENOENT));
  EXPECT_EQ(table->Create("b", node, std::nullopt, creds, UINT64_MAX).error(), Errno(EACCES));
}

}  // namespace
}  // namespace sentry
