// semctl(2) and SEM_UNDO.
#include <sched.h>
#include <sys/syscall.h>

#include <algorithm>
#include <thread>

#include "tests/conformance/ipc_support.h"

namespace {

TEST(Semctl, GetallAndSetall) {
  Sems sems(4);
  unsigned short values[4] = {1, 2, 32767, 0};
  EXPECT_THAT(semctl(sems.id(), 0, SETALL, values), Succeeds());
  unsigned short got[4] = {};
  EXPECT_THAT(semctl(sems.id(), 99, GETALL, got), Succeeds());
  EXPECT_TRUE(std::equal(got, got + 4, values));
  values[1] = 40000;
  EXPECT_THAT(semctl(sems.id(), 0, SETALL, values), FailsWith(ERANGE));
  EXPECT_EQ(sems.Get(1), 2);
  EXPECT_THAT(semctl(sems.id(), 0, GETALL, reinterpret_cast<void*>(8)), FailsWith(EFAULT));
  EXPECT_THAT(semctl(sems.id(), 0, SETALL, reinterpret_cast<void*>(8)), FailsWith(EFAULT));
  EXPECT_THAT(semctl(sems.id(), 0, GETPID), Returns(getpid()));
}

TEST(Semctl, BadNumbersAndCommands) {
  Sems sems(2);
  EXPECT_THAT(semctl(sems.id(), 2, GETVAL), FailsWith(EINVAL));
  EXPECT_THAT(semctl(sems.id(), -1, GETVAL), FailsWith(EINVAL));
  EXPECT_THAT(semctl(sems.id(), 2, SETVAL, 1), FailsWith(EINVAL));
  EXPECT_THAT(semctl(sems.id(), 2, GETPID), FailsWith(EINVAL));
  EXPECT_THAT(semctl(sems.id(), 2, GETNCNT), FailsWith(EINVAL));
  EXPECT_THAT(semctl(sems.id(), 0, 77), FailsWith(EINVAL));
  EXPECT_THAT(semctl(-1, 0, GETVAL), FailsWith(EINVAL));
  EXPECT_THAT(semctl(-1, 0, IPC_RMID), FailsWith(EINVAL));
}

TEST(Semctl, IpcSet) {
  Sems sems(1);
  semid_ds ds = sems.Stat();
  ds.sem_perm.mode = 0177640;
  ds.sem_perm.uid = 1234;
  ds.sem_perm.gid = 4321;
  EXPECT_THAT(semctl(sems.id(), 0, IPC_SET, &ds), Succeeds());
  ds = sems.Stat();
  EXPECT_EQ(ds.sem_perm.mode, 0640);
  EXPECT_EQ(ds.sem_perm.uid, 1234u);
  EXPECT_EQ(ds.sem_perm.gid, 4321u);
  EXPECT_EQ(ds.sem_perm.cuid, geteuid());
  EXPECT_THAT(semctl(sems.id(), 0, IPC_SET, nullptr), FailsWith(EFAULT));
}

TEST(Semctl, OnlyOwnersRemoveAndSet) {
  Sems sems(1, 0666);
  EXPECT_THAT(AsNobody([&] {
                semid_ds ds = {};
                CHILD_CHECK(semctl(sems.id(), 0, IPC_STAT, &ds) == 0);
                CHILD_CHECK(ErrnoOf(semctl(sems.id(), 0, IPC_SET, &ds)) == EPERM);
                CHILD_CHECK(ErrnoOf(semctl(sems.id(), 0, IPC_RMID)) == EPERM);
                return 0;
              }),
              Exited(0));
}

TEST(Semctl, AnOwnerMayRemove) {
  const int id = semget(IPC_PRIVATE, 1, 0600);
  semid_ds ds = {};
  ASSERT_THAT(semctl(id, 0, IPC_STAT, &ds), Succeeds());
  ds.sem_perm.uid = 65534;
  ASSERT_THAT(semctl(id, 0, IPC_SET, &ds), Succeeds());
  EXPECT_THAT(AsNobody([&] { return semctl(id, 0, IPC_RMID); }), Exited(0));
  EXPECT_THAT(semctl(id, 0, IPC_STAT, &ds), FailsWith(EINVAL));
}

TEST(Semctl, TheGroupHasItsOwnRights) {
  Sems sems(1, 0640);
  semid_ds ds = sems.Stat();
  ds.sem_perm.gid = 77;
  ds.sem_perm.mode = 0640;
  ASSERT_THAT(semctl(sems.id(), 0, IPC_SET, &ds), Succeeds());
  EXPECT_THAT(AsNobody(
                  [&] {
                    CHILD_CHECK(semctl(sems.id(), 0, GETVAL) == 0);
                    CHILD_CHECK(ErrnoOf(semctl(sems.id(), 0, SETVAL, 1)) == EACCES);
                    return 0;
                  },
                  77),
              Exited(0));
  EXPECT_THAT(AsNobody([&] {
                CHILD_CHECK(ErrnoOf(semctl(sems.id(), 0, GETVAL)) == EACCES);
                return 0;
              }),
              Exited(0));
}

TEST(Semctl, InfoTellsLimits) {
  seminfo info = {};
  EXPECT_THAT(semctl(0, 0, IPC_INFO, &info), Succeeds());
  EXPECT_EQ(info.semmsl, 32000);
  EXPECT_EQ(info.semmni, 32000);
  EXPECT_EQ(info.semmns, 1024000000);
  EXPECT_EQ(info.semopm, 500);
  EXPECT_EQ(info.semvmx, 32767);
  EXPECT_EQ(info.semaem, 32767);
  EXPECT_EQ(info.semume, 500);
  EXPECT_EQ(info.semusz, 20);
}

TEST(Semctl, InfoCountsWhatThereIs) {
  seminfo before = {}, after = {};
  EXPECT_THAT(semctl(0, 0, SEM_INFO, &before), Succeeds());
  Sems sems(7);
  EXPECT_THAT(semctl(0, 0, SEM_INFO, &after), Succeeds());
  EXPECT_EQ(after.semusz, before.semusz + 1);
  EXPECT_EQ(after.semaem, before.semaem + 7);
}

TEST(Semctl, StatByIndex) {
  Sems sems(3, 0600);
  seminfo info = {};
  const int highest = semctl(0, 0, SEM_INFO, &info);
  bool found = false;
  for (int index = 0; index <= highest; ++index) {
    semid_ds ds = {};
    const int id = semctl(index, 0, SEM_STAT, &ds);
    if (id != sems.id()) continue;
    found = true;
    EXPECT_EQ(ds.sem_nsems, 3u);
    EXPECT_EQ(index, sems.id() & 0x7fff);
  }
  EXPECT_TRUE(found);
  semid_ds ds = {};
  EXPECT_THAT(semctl(highest + 1, 0, SEM_STAT, &ds), FailsWith(EINVAL));
  const int index = sems.id() & 0x7fff;
  EXPECT_THAT(AsNobody([&] {
                semid_ds other = {};
                CHILD_CHECK(ErrnoOf(semctl(index, 0, SEM_STAT, &other)) == EACCES);
                CHILD_CHECK(semctl(index, 0, 20 /* SEM_STAT_ANY */, &other) == sems.id());
                return 0;
              }),
              Exited(0));
}

TEST(SemUndo, TakenBackAtExit) {
  Sems sems(2);
  sems.Set(0, 5);
  const pid_t child = Start([&] {
    sembuf ops[] = {{0, -2, SEM_UNDO}, {1, 3, SEM_UNDO}};
    CHILD_CHECK(semop(sems.id(), ops, 2) == 0);
    CHILD_CHECK(sems.Get(0) == 3 && sems.Get(1) == 3);
    return 0;
  });
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_EQ(sems.Get(0), 5);
  EXPECT_EQ(sems.Get(1), 0);
  EXPECT_THAT(semctl(sems.id(), 0, GETPID), Returns(child));
}

TEST(SemUndo, TakenBackWhenKilled) {
  Sems sems(1);
  Pipe ready;
  const pid_t child = Start([&] {
    CHILD_CHECK(sems.Op(0, 4, SEM_UNDO) == 0);
    Post(ready.write.get());
    pause();
    return 0;
  });
  ASSERT_TRUE(Await(ready.read.get()));
  EXPECT_EQ(sems.Get(0), 4);
  kill(child, SIGKILL);
  EXPECT_THAT(Wait(child), Killed(SIGKILL));
  EXPECT_TRUE(Eventually([&] { return sems.Get(0) == 0; }));
}

TEST(SemUndo, WakesWhoWaits) {
  Sems sems(1);
  sems.Set(0, 1);
  Pipe ready, go;
  const pid_t holder = Start([&] {
    CHILD_CHECK(sems.Op(0, -1, SEM_UNDO) == 0);
    Post(ready.write.get());
    Await(go.read.get());
    return 0;
  });
  ASSERT_TRUE(Await(ready.read.get()));
  const pid_t waiter = Start([&] { return sems.Op(0, -1); });
  ASSERT_TRUE(sems.AwaitWaiting(0, 1));
  Post(go.write.get());
  EXPECT_THAT(Wait(holder), Exited(0));
  EXPECT_THAT(Wait(waiter), Exited(0));
}

TEST(SemUndo, AddsUp) {
  Sems sems(1);
  EXPECT_THAT(InChild([&] {
                for (int i = 0; i < 10; ++i) CHILD_CHECK(sems.Op(0, 1, SEM_UNDO) == 0);
                CHILD_CHECK(sems.Op(0, -4, SEM_UNDO) == 0);
                CHILD_CHECK(sems.Op(0, -1) == 0);
                return 0;
              }),
              Exited(0));
  // 5 are left of which 6 are taken back: no less than none.
  EXPECT_EQ(sems.Get(0), 0);
}

TEST(SemUndo, SetvalForgetsIt) {
  Sems sems(2);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(sems.Op(0, 3, SEM_UNDO) == 0);
                CHILD_CHECK(sems.Op(1, 3, SEM_UNDO) == 0);
                CHILD_CHECK(sems.Set(0, 9) == 0);
                return 0;
              }),
              Exited(0));
  EXPECT_EQ(sems.Get(0), 9);
  EXPECT_EQ(sems.Get(1), 0);
}

TEST(SemUndo, SetallForgetsIt) {
  Sems sems(2);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(sems.Op(0, 3, SEM_UNDO) == 0);
                unsigned short values[] = {4, 5};
                CHILD_CHECK(semctl(sems.id(), 0, SETALL, values) == 0);
                return 0;
              }),
              Exited(0));
  EXPECT_EQ(sems.Get(0), 4);
}

TEST(SemUndo, SurvivesExec) {
  Sems sems(1);
  const pid_t child = Start([&] {
    CHILD_CHECK(sems.Op(0, 2, SEM_UNDO) == 0);
    execl("/bin/true", "true", nullptr);
    return 1;
  });
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_EQ(sems.Get(0), 0);
}

TEST(SemUndo, NotInheritedByFork) {
  Sems sems(1);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(sems.Op(0, 2, SEM_UNDO) == 0);
                if (const pid_t grandchild = fork(); grandchild == 0) {
                  _exit(0);
                } else {
                  int status = 0;
                  CHILD_CHECK(waitpid(grandchild, &status, 0) == grandchild);
                }
                CHILD_CHECK(sems.Get(0) == 2);
                return 0;
              }),
              Exited(0));
  EXPECT_EQ(sems.Get(0), 0);
}

TEST(SemUndo, ThreadsShareIt) {
  Sems sems(1);
  EXPECT_THAT(InChild([&] {
                std::thread([&] { CHILD_CHECK(sems.Op(0, 2, SEM_UNDO) == 0); }).join();
                // The thread has gone; the process has not.
                CHILD_CHECK(sems.Get(0) == 2);
                return 0;
              }),
              Exited(0));
  EXPECT_EQ(sems.Get(0), 0);
}

TEST(SemUndo, UnshareSysvsemTakesBack) {
  Sems sems(1);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(sems.Op(0, 2, SEM_UNDO) == 0);
                CHILD_CHECK(unshare(CLONE_SYSVSEM) == 0);
                CHILD_CHECK(sems.Get(0) == 0);
                return 0;
              }),
              Exited(0));
}

TEST(SemUndo, RangeOfAdjustments) {
  Sems sems(1);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(sems.Op(0, 32767, SEM_UNDO) == 0);
                CHILD_CHECK(sems.Op(0, -32767) == 0);
                CHILD_CHECK(sems.Op(0, 1, SEM_UNDO) == 0);
                CHILD_CHECK(ErrnoOf(sems.Op(0, 1, SEM_UNDO)) == ERANGE);
                CHILD_CHECK(sems.Get(0) == 1);
                return 0;
              }),
              Exited(0));
}

TEST(SemUndo, RemovedSetsAreNoTrouble) {
  const int id = semget(IPC_PRIVATE, 1, 0600);
  EXPECT_THAT(InChild([&] {
                sembuf op = {0, 1, SEM_UNDO};
                CHILD_CHECK(semop(id, &op, 1) == 0);
                CHILD_CHECK(semctl(id, 0, IPC_RMID) == 0);
                return 0;
              }),
              Exited(0));
}

TEST(SemUndo, OnlyOfWhatWasDone) {
  Sems sems(1);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(ErrnoOf(sems.Op(0, -1, SEM_UNDO | IPC_NOWAIT)) == EAGAIN);
                return 0;
              }),
              Exited(0));
  EXPECT_EQ(sems.Get(0), 0);
}

TEST(ProcSysvipc, SemListsTheSet) {
  Sems sems(3, 0640);
  const std::string text = ReadFile("/proc/sysvipc/sem");
  EXPECT_EQ(text.substr(0, text.find('\n')),
            "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime");
  char want[64];
  snprintf(want, sizeof(want), "%10d %10d  %4o %10d", 0, sems.id(), 0640, 3);
  EXPECT_NE(text.find(want), std::string::npos) << text;
}

TEST(ProcSysvipc, SemLimits) {
  EXPECT_EQ(ReadFile("/proc/sys/kernel/sem"), "32000\t1024000000\t500\t32000\n");
}

}  // namespace
