// IPC namespaces: ipc_namespaces(7).
#include <mqueue.h>
#include <sys/mount.h>

#include "tests/conformance/ipc_support.h"
#include "tests/conformance/namespaces_support.h"

namespace {

TEST(IpcNamespaces, KeysAreOthers) {
  const key_t key = FreshKey();
  const int shm = shmget(key, 4096, IPC_CREAT | 0600);
  const int sem = semget(key, 1, IPC_CREAT | 0600);
  const int msg = msgget(key, IPC_CREAT | 0600);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(shmget(key, 0, 0) == shm);
                CHILD_CHECK(unshare(CLONE_NEWIPC) == 0);
                CHILD_CHECK(ErrnoOf(shmget(key, 0, 0)) == ENOENT);
                CHILD_CHECK(ErrnoOf(semget(key, 0, 0)) == ENOENT);
                CHILD_CHECK(ErrnoOf(msgget(key, 0)) == ENOENT);
                CHILD_CHECK(ErrnoOf(semctl(sem, 0, GETVAL)) == EINVAL);
                CHILD_CHECK(semget(key, 3, IPC_CREAT | IPC_EXCL | 0600) >= 0);
                return 0;
              }),
              Exited(0));
  semid_ds ds = {};
  EXPECT_THAT(semctl(sem, 0, IPC_STAT, &ds), Succeeds());
  EXPECT_EQ(ds.sem_nsems, 1u);
  EXPECT_THAT(shmctl(shm, IPC_RMID, nullptr), Succeeds());
  EXPECT_THAT(semctl(sem, 0, IPC_RMID), Succeeds());
  EXPECT_THAT(msgctl(msg, IPC_RMID, nullptr), Succeeds());
}

TEST(IpcNamespaces, TablesAreEmpty) {
  Sems sems(1);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(unshare(CLONE_NEWIPC) == 0);
                for (const char* table : {"sem", "shm", "msg"}) {
                  const std::string text = ReadFile(std::string("/proc/sysvipc/") + table);
                  CHILD_CHECK(std::count(text.begin(), text.end(), '\n') == 1);
                }
                Sems mine(2);
                const std::string text = ReadFile("/proc/sysvipc/sem");
                CHILD_CHECK(std::count(text.begin(), text.end(), '\n') == 2);
                return 0;
              }),
              Exited(0));
}

TEST(IpcNamespaces, AttachedMemoryStays) {
  Segment segment(4096);
  char* const at = segment.Attach();
  at[0] = 'a';
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(unshare(CLONE_NEWIPC) == 0);
                CHILD_CHECK(at[0] == 'a');
                at[0] = 'b';
                shmid_ds ds = {};
                CHILD_CHECK(ErrnoOf(shmctl(segment.id(), IPC_STAT, &ds)) == EINVAL);
                Segment mine(4096);
                char* const other = mine.Attach();
                CHILD_CHECK(other != reinterpret_cast<char*>(-1) && mine.Attachments() == 1);
                // Both can be detached, wherever they come from.
                CHILD_CHECK(shmdt(at) == 0);
                CHILD_CHECK(shmdt(other) == 0);
                CHILD_CHECK(ErrnoOf(shmdt(at)) == EINVAL);
                return 0;
              }),
              Exited(0));
  EXPECT_EQ(at[0], 'b');
  EXPECT_EQ(segment.Attachments(), 1u);
  EXPECT_THAT(shmdt(at), Succeeds());
}

TEST(IpcNamespaces, AForkKeepsWhatIsAttachedOfBoth) {
  Segment segment(4096);
  char* const at = segment.Attach();
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(unshare(CLONE_NEWIPC) == 0);
                Segment mine(4096);
                char* const other = mine.Attach();
                CHILD_CHECK(InChild([&] {
                              CHILD_CHECK(mine.Attachments() == 2);
                              at[1] = other[1] = 'x';
                              CHILD_CHECK(shmdt(at) == 0 && shmdt(other) == 0);
                              return 0;
                            }) == 0);
                CHILD_CHECK(at[1] == 'x' && other[1] == 'x' && mine.Attachments() == 1);
                return 0;
              }),
              Exited(0));
  EXPECT_THAT(shmdt(at), Succeeds());
}

TEST(IpcNamespaces, MemoryOutlivesItsNamespace) {
  EXPECT_THAT(InChild([&] {
                const UniqueFd home = OpenNamespace("ipc");
                CHILD_CHECK(unshare(CLONE_NEWIPC) == 0);
                const int id = shmget(IPC_PRIVATE, 4096, 0600);
                auto* const at = static_cast<char*>(shmat(id, nullptr, 0));
                at[0] = 'k';
                CHILD_CHECK(setns(home.get(), CLONE_NEWIPC) == 0);
                CHILD_CHECK(at[0] == 'k');
                CHILD_CHECK(shmdt(at) == 0);
                return 0;
              }),
              Exited(0));
}

TEST(IpcNamespaces, UndoIsDoneWhenOneLeaves) {
  Sems sems(1);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(sems.Op(0, 3, SEM_UNDO) == 0);
                CHILD_CHECK(sems.Get() == 3);
                const UniqueFd home = OpenNamespace("ipc");
                CHILD_CHECK(unshare(CLONE_NEWIPC) == 0);
                CHILD_CHECK(setns(home.get(), CLONE_NEWIPC) == 0);
                CHILD_CHECK(sems.Get() == 0);
                return 0;
              }),
              Exited(0));
}

TEST(IpcNamespaces, UndoCannotBeShared) {
  EXPECT_THAT(CloneWith(CLONE_NEWIPC | CLONE_SYSVSEM, [] { return 0; }), FailsWith(EINVAL));
}

TEST(IpcNamespaces, LimitsAreItsOwn) {
  const std::string before = ReadFile("/proc/sys/kernel/msgmnb");
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(unshare(CLONE_NEWIPC) == 0);
                CHILD_CHECK(ReadFile("/proc/sys/kernel/msgmnb") == "16384\n");
                UniqueFd fd(open("/proc/sys/kernel/msgmnb", O_WRONLY));
                if (!fd.valid()) return errno == EROFS ? 0 : 1;
                CHILD_CHECK(write(fd.get(), "100", 3) == 3);
                CHILD_CHECK(ReadFile("/proc/sys/kernel/msgmnb") == "100\n");
                const int id = msgget(IPC_PRIVATE, 0600);
                msqid_ds ds = {};
                CHILD_CHECK(msgctl(id, IPC_STAT, &ds) == 0 && ds.msg_qbytes == 100);
                return 0;
              }),
              Exited(0));
  EXPECT_EQ(ReadFile("/proc/sys/kernel/msgmnb"), before);
}

TEST(IpcNamespaces, MessageQueueNamesAreOthers) {
  const std::string name = "/conformance.ns." + std::to_string(getpid());
  const int fd = mq_open(name.c_str(), O_RDWR | O_CREAT | O_NONBLOCK, 0600, nullptr);
  ASSERT_THAT(fd, Succeeds());
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(unshare(CLONE_NEWIPC) == 0);
                CHILD_CHECK(ErrnoOf(mq_open(name.c_str(), O_RDWR)) == ENOENT);
                const int mine = mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600, nullptr);
                CHILD_CHECK(mine >= 0);
                CHILD_CHECK(mq_send(mine, "in", 2, 0) == 0);
                // The open one is still the other one.
                CHILD_CHECK(mq_send(fd, "out", 3, 0) == 0);
                return 0;
              }),
              Exited(0));
  char buffer[8192];
  EXPECT_THAT(mq_receive(fd, buffer, sizeof buffer, nullptr), Returns(3));
  EXPECT_THAT(mq_receive(fd, buffer, sizeof buffer, nullptr), FailsWith(EAGAIN));
  EXPECT_THAT(mq_unlink(name.c_str()), Succeeds());
  mq_close(fd);
}

TEST(IpcNamespaces, MqueueMountsShowTheMountersQueues) {
  EXPECT_THAT(InChild([&] {
                TempDir directory;
                const std::string file = directory / "of-this-one";
                CHILD_CHECK(unshare(CLONE_NEWIPC | CLONE_NEWNS) == 0);
                CHILD_CHECK(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
                CHILD_CHECK(mount("m", directory.path().c_str(), "mqueue", 0, nullptr) == 0);
                CHILD_CHECK(mq_open("/of-this-one", O_RDWR | O_CREAT, 0600, nullptr) >= 0);
                CHILD_CHECK(access(file.c_str(), F_OK) == 0);
                CHILD_CHECK(unshare(CLONE_NEWIPC) == 0);
                // The mount is still that of the namespace in which it was made, which is gone.
                CHILD_CHECK(mq_open("/of-this-one", O_RDWR) == -1 && errno == ENOENT);
                CHILD_CHECK(open((directory / "new").c_str(), O_CREAT | O_RDWR, 0600) == -1);
                CHILD_CHECK(errno == EACCES);
                CHILD_CHECK(umount(directory.path().c_str()) == 0);
                return 0;
              }),
              Exited(0));
}

}  // namespace
