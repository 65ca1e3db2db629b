// System V message queues: msgget(2), msgsnd(2), msgrcv(2), msgctl(2).
#include <limits.h>
#include <sys/syscall.h>

#include "tests/conformance/ipc_support.h"

#ifndef MSG_COPY
#define MSG_COPY 040000
#endif

namespace {

TEST(Msgget, Keys) {
  const key_t key = FreshKey();
  EXPECT_THAT(msgget(key, 0600), FailsWith(ENOENT));
  const int id = msgget(key, 0600 | IPC_CREAT);
  ASSERT_THAT(id, Succeeds());
  EXPECT_THAT(msgget(key, 0600 | IPC_CREAT), Returns(id));
  EXPECT_THAT(msgget(key, 0), Returns(id));
  EXPECT_THAT(msgget(key, 0600 | IPC_CREAT | IPC_EXCL), FailsWith(EEXIST));
  EXPECT_THAT(msgctl(id, IPC_RMID, nullptr), Succeeds());
  EXPECT_THAT(msgget(key, 0600), FailsWith(ENOENT));
}

TEST(Msgget, NewQueuesAreEmpty) {
  MsgQueue queue(0642);
  const msqid_ds ds = queue.Stat();
  EXPECT_EQ(ds.msg_perm.mode, 0642);
  EXPECT_EQ(ds.msg_qnum, 0u);
  EXPECT_EQ(ds.msg_qbytes, 16384u);
  EXPECT_EQ(ds.__msg_cbytes, 0u);
  EXPECT_EQ(ds.msg_lspid, 0);
  EXPECT_EQ(ds.msg_lrpid, 0);
  EXPECT_EQ(ds.msg_stime, 0);
  EXPECT_EQ(ds.msg_rtime, 0);
  EXPECT_NE(ds.msg_ctime, 0);
}

TEST(Msg, FirstInFirstOut) {
  MsgQueue queue;
  EXPECT_THAT(queue.Send(3, "one"), Succeeds());
  EXPECT_THAT(queue.Send(1, "two"), Succeeds());
  EXPECT_THAT(queue.Send(3, ""), Succeeds());
  long type = 0;
  EXPECT_EQ(queue.Receive(0, IPC_NOWAIT, 64, &type), "one");
  EXPECT_EQ(type, 3);
  EXPECT_EQ(queue.Receive(0, IPC_NOWAIT, 64, &type), "two");
  EXPECT_EQ(type, 1);
  EXPECT_EQ(queue.Receive(), "");
  EXPECT_EQ(queue.Receive(), "ENOMSG");
}

TEST(Msg, ByType) {
  MsgQueue queue;
  queue.Send(1, "a");
  queue.Send(2, "b");
  queue.Send(1, "c");
  EXPECT_EQ(queue.Receive(2), "b");
  EXPECT_EQ(queue.Receive(2), "ENOMSG");
  EXPECT_EQ(queue.Receive(1), "a");
  EXPECT_EQ(queue.Receive(1), "c");
}

TEST(Msg, NegativeTypeTakesTheLowest) {
  MsgQueue queue;
  queue.Send(5, "five");
  queue.Send(3, "three");
  queue.Send(3, "three again");
  queue.Send(9, "nine");
  EXPECT_EQ(queue.Receive(-2), "ENOMSG");
  EXPECT_EQ(queue.Receive(-4), "three");
  EXPECT_EQ(queue.Receive(-9), "three again");
  EXPECT_EQ(queue.Receive(-9), "five");
  EXPECT_EQ(queue.Receive(LONG_MIN), "nine");
}

TEST(Msg, Except) {
  MsgQueue queue;
  queue.Send(1, "a");
  queue.Send(2, "b");
  EXPECT_EQ(queue.Receive(1, IPC_NOWAIT | MSG_EXCEPT), "b");
  EXPECT_EQ(queue.Receive(1, IPC_NOWAIT | MSG_EXCEPT), "ENOMSG");
  EXPECT_EQ(queue.Receive(7, IPC_NOWAIT | MSG_EXCEPT), "a");
}

TEST(Msg, TooLongUnlessCut) {
  MsgQueue queue;
  queue.Send(1, "0123456789");
  EXPECT_EQ(queue.Receive(0, IPC_NOWAIT, 4), "E2BIG");
  EXPECT_EQ(queue.Stat().msg_qnum, 1u);
  EXPECT_EQ(queue.Receive(0, IPC_NOWAIT | MSG_NOERROR, 4), "0123");
  EXPECT_EQ(queue.Receive(), "ENOMSG");
  EXPECT_EQ(queue.Stat().__msg_cbytes, 0u);
}

TEST(Msg, CopyLeavesItThere) {
  MsgQueue queue;
  queue.Send(1, "a");
  queue.Send(2, "b");
  EXPECT_EQ(queue.Receive(1, IPC_NOWAIT | MSG_COPY), "b");
  EXPECT_EQ(queue.Receive(0, IPC_NOWAIT | MSG_COPY), "a");
  EXPECT_EQ(queue.Receive(2, IPC_NOWAIT | MSG_COPY), "ENOMSG");
  EXPECT_EQ(queue.Stat().msg_qnum, 2u);
  EXPECT_EQ(queue.Receive(0, MSG_COPY), "EINVAL");
  EXPECT_EQ(queue.Receive(0, IPC_NOWAIT | MSG_COPY | MSG_EXCEPT), "EINVAL");
}

TEST(Msg, Errors) {
  MsgQueue queue;
  char buffer[8192 + 16] = {};
  EXPECT_THAT(queue.Send(0, "x"), FailsWith(EINVAL));
  EXPECT_THAT(queue.Send(-1, "x"), FailsWith(EINVAL));
  buffer[0] = 1;
  EXPECT_THAT(msgsnd(queue.id(), buffer, 8193, IPC_NOWAIT), FailsWith(EINVAL));
  EXPECT_THAT(msgsnd(queue.id(), buffer, 8192, IPC_NOWAIT), Succeeds());
  EXPECT_THAT(msgsnd(queue.id(), buffer, SIZE_MAX, IPC_NOWAIT), FailsWith(EINVAL));
  EXPECT_THAT(msgsnd(-1, buffer, 1, IPC_NOWAIT), FailsWith(EINVAL));
  EXPECT_THAT(msgsnd(0x7fffffff, buffer, 1, IPC_NOWAIT), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_msgsnd, queue.id(), 8, 1, IPC_NOWAIT), FailsWith(EFAULT));
  EXPECT_THAT(msgrcv(-1, buffer, 1, 0, IPC_NOWAIT), FailsWith(EINVAL));
  EXPECT_THAT(msgrcv(0x7fffffff, buffer, 1, 0, IPC_NOWAIT), FailsWith(EINVAL));
  EXPECT_THAT(msgrcv(queue.id(), buffer, SIZE_MAX, 0, IPC_NOWAIT), FailsWith(EINVAL));
  EXPECT_THAT(msgctl(-1, IPC_RMID, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(msgctl(queue.id(), 99, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(msgctl(queue.id(), IPC_STAT, reinterpret_cast<msqid_ds*>(8)), FailsWith(EFAULT));
}

TEST(Msg, FullQueues) {
  MsgQueue queue;
  const std::string text(8192, 'x');
  EXPECT_THAT(queue.Send(1, text), Succeeds());
  EXPECT_THAT(queue.Send(1, text), Succeeds());
  EXPECT_THAT(queue.Send(1, "y"), FailsWith(EAGAIN));
  EXPECT_THAT(queue.Send(1, ""), Succeeds());
  EXPECT_EQ(queue.Stat().__msg_cbytes, 16384u);
  EXPECT_EQ(queue.Stat().msg_qnum, 3u);
}

TEST(Msg, SizeOfAQueueCanBeSet) {
  MsgQueue queue;
  msqid_ds ds = queue.Stat();
  ds.msg_qbytes = 10;
  EXPECT_THAT(msgctl(queue.id(), IPC_SET, &ds), Succeeds());
  EXPECT_THAT(queue.Send(1, "0123456789a"), FailsWith(EAGAIN));
  EXPECT_THAT(queue.Send(1, "0123456789"), Succeeds());
  EXPECT_THAT(queue.Send(1, "0"), FailsWith(EAGAIN));
  for (int i = 1; i < 10; ++i) EXPECT_THAT(queue.Send(1, ""), Succeeds());
  EXPECT_THAT(queue.Send(1, ""), FailsWith(EAGAIN));
  ds.msg_qbytes = 20;
  EXPECT_THAT(msgctl(queue.id(), IPC_SET, &ds), Succeeds());
  EXPECT_THAT(queue.Send(1, "abcdefghij"), Succeeds());
}

TEST(Msg, OnlyThePrivilegedRaiseTheSize) {
  MsgQueue queue(0666);
  msqid_ds ds = queue.Stat();
  ds.msg_perm.uid = 65534;
  ds.msg_perm.mode = 0666;
  ASSERT_THAT(msgctl(queue.id(), IPC_SET, &ds), Succeeds());
  EXPECT_THAT(AsNobody([&] {
                msqid_ds own = ds;
                own.msg_qbytes = 16385;
                CHILD_CHECK(ErrnoOf(msgctl(queue.id(), IPC_SET, &own)) == EPERM);
                own.msg_qbytes = 16384;
                CHILD_CHECK(msgctl(queue.id(), IPC_SET, &own) == 0);
                return 0;
              }),
              Exited(0));
  ds.msg_qbytes = 100000;
  if (HasCapability(CAP_SYS_RESOURCE)) {
    EXPECT_THAT(msgctl(queue.id(), IPC_SET, &ds), Succeeds());
    EXPECT_EQ(queue.Stat().msg_qbytes, 100000u);
  } else {
    EXPECT_THAT(msgctl(queue.id(), IPC_SET, &ds), FailsWith(EPERM));
  }
}

TEST(Msg, RemembersWhoAndWhen) {
  MsgQueue queue;
  const pid_t child = Start([&] { return queue.Send(1, "abc"); });
  EXPECT_THAT(Wait(child), Exited(0));
  msqid_ds ds = queue.Stat();
  EXPECT_EQ(ds.msg_lspid, child);
  EXPECT_EQ(ds.msg_qnum, 1u);
  EXPECT_EQ(ds.__msg_cbytes, 3u);
  EXPECT_NE(ds.msg_stime, 0);
  EXPECT_EQ(ds.msg_lrpid, 0);
  queue.Receive();
  ds = queue.Stat();
  EXPECT_EQ(ds.msg_lrpid, getpid());
  EXPECT_NE(ds.msg_rtime, 0);
}

TEST(Msg, ReceiverWaits) {
  MsgQueue queue;
  const pid_t child = Start([&] {
    CHILD_CHECK(queue.Receive(2, 0) == "two");
    return 0;
  });
  ASSERT_TRUE(WaitForState(child, 'S'));
  queue.Send(1, "one");
  queue.Send(2, "two");
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_EQ(queue.Receive(), "one");
}

TEST(Msg, SenderWaitsForRoom) {
  MsgQueue queue;
  const std::string text(8192, 'x');
  queue.Send(1, text);
  queue.Send(1, text);
  const pid_t child = Start([&] { return queue.Send(2, "late", 0); });
  ASSERT_TRUE(WaitForState(child, 'S'));
  EXPECT_EQ(queue.Receive(1, IPC_NOWAIT, 8192), text);
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_EQ(queue.Receive(2), "late");
}

TEST(Msg, RemovalEndsWaits) {
  MsgQueue queue;
  const pid_t child = Start([&] {
    CHILD_CHECK(queue.Receive(0, 0) == "EIDRM");
    return 0;
  });
  ASSERT_TRUE(WaitForState(child, 'S'));
  EXPECT_THAT(msgctl(queue.id(), IPC_RMID, nullptr), Succeeds());
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_EQ(queue.Receive(), "EINVAL");
}

TEST(Msg, RemovalEndsSenders) {
  MsgQueue queue;
  const std::string text(8192, 'x');
  queue.Send(1, text);
  queue.Send(1, text);
  const pid_t child = Start([&] {
    CHILD_CHECK(ErrnoOf(queue.Send(1, "x", 0)) == EIDRM);
    return 0;
  });
  ASSERT_TRUE(WaitForState(child, 'S'));
  EXPECT_THAT(msgctl(queue.id(), IPC_RMID, nullptr), Succeeds());
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Msg, ASignalEndsTheWaitEvenWithRestart) {
  MsgQueue queue;
  const pid_t child = Start([&] {
    ScopedAction action(
        SIGUSR1, [](int) {}, SA_RESTART);
    CHILD_CHECK(queue.Receive(0, 0) == "EINTR");
    return 0;
  });
  ASSERT_TRUE(WaitForState(child, 'S'));
  kill(child, SIGUSR1);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Msg, StoppingDoesNotEndTheWait) {
  MsgQueue queue;
  const pid_t child = Start([&] {
    CHILD_CHECK(queue.Receive(0, 0) == "x");
    return 0;
  });
  ASSERT_TRUE(WaitForState(child, 'S'));
  kill(child, SIGSTOP);
  EXPECT_THAT(Wait(child, WUNTRACED), Stopped(SIGSTOP));
  kill(child, SIGCONT);
  queue.Send(1, "x");
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Msg, TwoReceiversGetOneEach) {
  MsgQueue queue;
  std::vector<pid_t> children;
  for (int i = 0; i < 2; ++i) {
    children.push_back(Start([&] {
      CHILD_CHECK(queue.Receive(0, 0) == "m");
      return 0;
    }));
  }
  for (const pid_t child : children) ASSERT_TRUE(WaitForState(child, 'S'));
  queue.Send(1, "m");
  queue.Send(1, "m");
  for (const pid_t child : children) EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_EQ(queue.Receive(), "ENOMSG");
}

TEST(Msg, Rights) {
  MsgQueue readable(0604), writable(0602);
  readable.Send(1, "x");
  EXPECT_THAT(AsNobody([&] {
                CHILD_CHECK(ErrnoOf(readable.Send(1, "y")) == EACCES);
                CHILD_CHECK(readable.Receive() == "x");
                CHILD_CHECK(writable.Send(1, "y") == 0);
                CHILD_CHECK(writable.Receive() == "EACCES");
                msqid_ds ds;
                CHILD_CHECK(ErrnoOf(msgctl(writable.id(), IPC_STAT, &ds)) == EACCES);
                CHILD_CHECK(ErrnoOf(msgctl(readable.id(), IPC_RMID, nullptr)) == EPERM);
                return 0;
              }),
              Exited(0));
}

TEST(Msgctl, Set) {
  MsgQueue queue;
  msqid_ds ds = queue.Stat();
  ds.msg_perm.uid = 5;
  ds.msg_perm.gid = 6;
  ds.msg_perm.mode = 0666;
  EXPECT_THAT(msgctl(queue.id(), IPC_SET, &ds), Succeeds());
  ds = queue.Stat();
  EXPECT_EQ(ds.msg_perm.uid, 5u);
  EXPECT_EQ(ds.msg_perm.gid, 6u);
  EXPECT_EQ(ds.msg_perm.mode, 0666);
  EXPECT_EQ(ds.msg_perm.cuid, geteuid());
}

TEST(Msgctl, Info) {
  msginfo info = {};
  EXPECT_THAT(msgctl(0, IPC_INFO, reinterpret_cast<msqid_ds*>(&info)), Succeeds());
  EXPECT_EQ(info.msgmax, 8192);
  EXPECT_EQ(info.msgmnb, 16384);
  EXPECT_EQ(info.msgmni, 32000);
  EXPECT_EQ(info.msgpool, 512000);
  EXPECT_EQ(info.msgmap, 16384);
  EXPECT_EQ(info.msgtql, 16384);
  EXPECT_EQ(info.msgssz, 16);
  EXPECT_EQ(info.msgseg, 0xffff);
}

TEST(Msgctl, InfoCounts) {
  msginfo before = {}, after = {};
  EXPECT_THAT(msgctl(0, MSG_INFO, reinterpret_cast<msqid_ds*>(&before)), Succeeds());
  MsgQueue queue;
  queue.Send(1, "12345");
  queue.Send(1, "678");
  EXPECT_THAT(msgctl(0, MSG_INFO, reinterpret_cast<msqid_ds*>(&after)), Succeeds());
  EXPECT_EQ(after.msgpool, before.msgpool + 1);
  EXPECT_EQ(after.msgmap, before.msgmap + 2);
  EXPECT_EQ(after.msgtql, before.msgtql + 8);
}

TEST(Msgctl, StatByIndex) {
  MsgQueue queue(0600);
  const int index = queue.id() & 0x7fff;
  msqid_ds ds = {};
  EXPECT_THAT(msgctl(index, MSG_STAT, &ds), Returns(queue.id()));
  EXPECT_EQ(ds.msg_qbytes, 16384u);
  EXPECT_THAT(AsNobody([&] {
                msqid_ds other = {};
                CHILD_CHECK(ErrnoOf(msgctl(index, MSG_STAT, &other)) == EACCES);
                CHILD_CHECK(msgctl(index, 13 /* MSG_STAT_ANY */, &other) == queue.id());
                return 0;
              }),
              Exited(0));
  EXPECT_THAT(msgctl(31999, MSG_STAT, &ds), FailsWith(EINVAL));
}

TEST(ProcSysvipc, MsgListsTheQueue) {
  MsgQueue queue(0640);
  queue.Send(1, "12345");
  const std::string text = ReadFile("/proc/sysvipc/msg");
  char want[128];
  snprintf(want, sizeof(want), "%10d %10d  %4o  %10d %10d %5d %5d", 0, queue.id(), 0640, 5, 1,
           getpid(), 0);
  EXPECT_NE(text.find(want), std::string::npos) << text;
}

TEST(ProcSysvipc, MsgLimits) {
  EXPECT_EQ(ReadFile("/proc/sys/kernel/msgmax"), "8192\n");
  EXPECT_EQ(ReadFile("/proc/sys/kernel/msgmnb"), "16384\n");
  EXPECT_EQ(ReadFile("/proc/sys/kernel/msgmni"), "32000\n");
}

}  // namespace
