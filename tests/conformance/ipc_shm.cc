// System V shared memory: shmget(2), shmat(2), shmdt(2), shmctl(2).
#include <sys/mman.h>
#include <sys/resource.h>

#include "tests/conformance/ipc_support.h"

namespace {

constexpr size_t kPage = 4096;

// The lines of /proc/self/maps that mention `what`.
std::vector<std::string> MapsOf(const std::string& what) {
  std::vector<std::string> lines;
  const std::string text = ReadFile("/proc/self/maps");
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    if (line.find(what) != std::string::npos) lines.push_back(line);
    at = end + 1;
  }
  return lines;
}

TEST(Shmget, Keys) {
  const key_t key = FreshKey();
  EXPECT_THAT(shmget(key, kPage, 0600), FailsWith(ENOENT));
  const int id = shmget(key, kPage, 0600 | IPC_CREAT);
  ASSERT_THAT(id, Succeeds());
  EXPECT_THAT(shmget(key, kPage, 0600 | IPC_CREAT), Returns(id));
  EXPECT_THAT(shmget(key, 0, 0), Returns(id));
  EXPECT_THAT(shmget(key, 100, 0), Returns(id));
  EXPECT_THAT(shmget(key, kPage + 1, 0), FailsWith(EINVAL));
  EXPECT_THAT(shmget(key, kPage, 0600 | IPC_CREAT | IPC_EXCL), FailsWith(EEXIST));
  EXPECT_THAT(shmctl(id, IPC_RMID, nullptr), Succeeds());
  EXPECT_THAT(shmget(key, kPage, 0600), FailsWith(ENOENT));
}

TEST(Shmget, NewSegments) {
  Segment segment(5000, 0640);
  const shmid_ds ds = segment.Stat();
  EXPECT_EQ(ds.shm_segsz, 5000u);
  EXPECT_EQ(ds.shm_perm.mode, 0640);
  EXPECT_EQ(ds.shm_cpid, getpid());
  EXPECT_EQ(ds.shm_lpid, 0);
  EXPECT_EQ(ds.shm_nattch, 0u);
  EXPECT_EQ(ds.shm_atime, 0);
  EXPECT_EQ(ds.shm_dtime, 0);
  EXPECT_NE(ds.shm_ctime, 0);
  EXPECT_EQ(ds.shm_perm.uid, geteuid());
}

TEST(Shmget, BadSizes) {
  EXPECT_THAT(shmget(IPC_PRIVATE, 0, 0600), FailsWith(EINVAL));
  EXPECT_THAT(shmget(IPC_PRIVATE, SIZE_MAX, 0600), FailsWith(EINVAL));
  EXPECT_THAT(shmget(IPC_PRIVATE, size_t{1} << 60, 0600), FailsWith(ENOMEM));
}

TEST(Shmget, Rights) {
  const key_t key = FreshKey();
  const int id = shmget(key, kPage, 0604 | IPC_CREAT);
  EXPECT_THAT(AsNobody([&] {
                CHILD_CHECK(shmget(key, 0, 0444) == id);
                CHILD_CHECK(ErrnoOf(shmget(key, 0, 0666)) == EACCES);
                CHILD_CHECK(ErrnoOf(reinterpret_cast<intptr_t>(shmat(id, nullptr, 0))) == EACCES);
                CHILD_CHECK(shmat(id, nullptr, SHM_RDONLY) != reinterpret_cast<void*>(-1));
                CHILD_CHECK(ErrnoOf(shmctl(id, IPC_RMID, nullptr)) == EPERM);
                return 0;
              }),
              Exited(0));
  shmctl(id, IPC_RMID, nullptr);
}

TEST(Shmat, BeginsAsZeroAndIsKept) {
  Segment segment(2 * kPage);
  char* p = segment.Attach();
  ASSERT_THAT(p, Succeeds());
  EXPECT_EQ(p[0], 0);
  EXPECT_EQ(p[2 * kPage - 1], 0);
  p[5] = 'x';
  EXPECT_THAT(shmdt(p), Succeeds());
  p = segment.Attach();
  ASSERT_THAT(p, Succeeds());
  EXPECT_EQ(p[5], 'x');
  EXPECT_THAT(shmdt(p), Succeeds());
}

TEST(Shmat, TwoAttachmentsOfOneSegment) {
  Segment segment(kPage);
  char* a = segment.Attach();
  char* b = segment.Attach();
  ASSERT_THAT(a, Succeeds());
  ASSERT_NE(a, b);
  a[1] = 'q';
  EXPECT_EQ(b[1], 'q');
  EXPECT_EQ(segment.Attachments(), 2u);
  EXPECT_THAT(shmdt(a), Succeeds());
  EXPECT_EQ(segment.Attachments(), 1u);
  EXPECT_EQ(b[1], 'q');
  EXPECT_THAT(shmdt(a), FailsWith(EINVAL));
  EXPECT_THAT(shmdt(b), Succeeds());
  EXPECT_EQ(segment.Attachments(), 0u);
}

TEST(Shmat, SharedWithAnotherProcess) {
  Segment segment(kPage);
  volatile char* p = segment.Attach();
  const pid_t child = Start([&] {
    char* own = segment.Attach();
    CHILD_CHECK(own != reinterpret_cast<char*>(-1));
    own[7] = 'c';
    CHILD_CHECK(p[7] == 'c');  // Inherited.
    return 0;
  });
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_EQ(p[7], 'c');
  const shmid_ds ds = segment.Stat();
  EXPECT_EQ(ds.shm_lpid, child);
  EXPECT_EQ(ds.shm_cpid, getpid());
  EXPECT_NE(ds.shm_dtime, 0);
  shmdt(const_cast<char*>(p));
}

TEST(Shmat, AtAnAddress) {
  Segment segment(kPage);
  char* room =
      static_cast<char*>(mmap(nullptr, 4 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_THAT(room, Succeeds());
  EXPECT_THAT(segment.Attach(0, room + kPage), FailsWith(EINVAL));
  EXPECT_THAT(segment.Attach(SHM_REMAP, room + kPage), Returns(room + kPage));
  room[kPage] = 1;
  EXPECT_THAT(shmdt(room + kPage), Succeeds());
  EXPECT_THAT(segment.Attach(0, room + kPage), Returns(room + kPage));
  EXPECT_THAT(shmdt(room + kPage), Succeeds());
  EXPECT_THAT(segment.Attach(0, room + kPage + 5), FailsWith(EINVAL));
  EXPECT_THAT(segment.Attach(SHM_RND, room + kPage + 5), Returns(room + kPage));
  EXPECT_THAT(shmdt(room + kPage + 5), FailsWith(EINVAL));
  EXPECT_THAT(shmdt(room + kPage), Succeeds());
  EXPECT_THAT(segment.Attach(SHM_REMAP, nullptr), FailsWith(EINVAL));
  munmap(room, 4 * kPage);
}

TEST(Shmat, BadNumbers) {
  EXPECT_THAT(shmat(-1, nullptr, 0), FailsWith(EINVAL));
  EXPECT_THAT(shmat(0x7fffffff, nullptr, 0), FailsWith(EINVAL));
  Segment segment(kPage);
  EXPECT_THAT(shmat(segment.id(), reinterpret_cast<void*>(0x7ffffffff000), 0), FailsWith(ENOMEM));
}

TEST(Shmat, ReadOnly) {
  Segment segment(kPage);
  char* p = segment.Attach(SHM_RDONLY);
  ASSERT_THAT(p, Succeeds());
  EXPECT_EQ(p[0], 0);
  EXPECT_THAT(InChild([&] {
                *const_cast<volatile char*>(p) = 1;
                return 0;
              }),
              Killed(SIGSEGV));
  EXPECT_THAT(mprotect(p, kPage, PROT_READ | PROT_WRITE), FailsWith(EACCES));
  shmdt(p);
}

TEST(Shmat, Executable) {
  Segment segment(kPage, 0700);
  auto* p = reinterpret_cast<unsigned char*>(segment.Attach(SHM_EXEC));
  ASSERT_THAT(p, Succeeds());
  const unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3};
  memcpy(p, code, sizeof(code));
  EXPECT_EQ(reinterpret_cast<int (*)()>(p)(), 42);
  shmdt(p);
}

TEST(Shmat, NeitherAlignedNorRounded) {
  Segment segment(kPage);
  EXPECT_THAT(segment.Attach(0, reinterpret_cast<void*>(1)), FailsWith(EINVAL));
}

TEST(Shmat, ForkCounts) {
  Segment segment(kPage);
  char* p = segment.Attach();
  Pipe ready, go;
  const pid_t child = Start([&] {
    Post(ready.write.get());
    Await(go.read.get());
    return 0;
  });
  ASSERT_TRUE(Await(ready.read.get()));
  EXPECT_EQ(segment.Attachments(), 2u);
  Post(go.write.get());
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_EQ(segment.Attachments(), 1u);
  shmdt(p);
}

TEST(Shmat, ExecDetaches) {
  Segment segment(kPage);
  Pipe out(O_CLOEXEC);
  const pid_t child = Start([&] {
    segment.Attach();
    Pipe in;
    dup2(out.write.get(), 1);
    execl("/bin/sh", "sh", "-c", "echo ready; kill -STOP $$", nullptr);
    return 1;
  });
  EXPECT_THAT(Wait(child, WUNTRACED), Stopped(SIGSTOP));
  EXPECT_EQ(segment.Attachments(), 0u);
  kill(child, SIGKILL);
  Wait(child);
}

TEST(Shmdt, NotAttached) {
  EXPECT_THAT(shmdt(reinterpret_cast<void*>(0x10000)), FailsWith(EINVAL));
  void* p = mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT_THAT(shmdt(p), FailsWith(EINVAL));
  Segment segment(2 * kPage);
  char* q = segment.Attach();
  EXPECT_THAT(shmdt(q + kPage), FailsWith(EINVAL));
  EXPECT_THAT(shmdt(q), Succeeds());
  munmap(p, kPage);
}

TEST(Shmdt, MunmapDetachesToo) {
  Segment segment(3 * kPage);
  char* p = segment.Attach();
  EXPECT_THAT(munmap(p, 3 * kPage), Succeeds());
  EXPECT_EQ(segment.Attachments(), 0u);
  EXPECT_THAT(shmdt(p), FailsWith(EINVAL));
}

TEST(Shmdt, WhatMunmapLeft) {
  Segment segment(4 * kPage);
  char* p = segment.Attach();
  EXPECT_THAT(munmap(p + kPage, kPage), Succeeds());
  EXPECT_EQ(segment.Attachments(), 2u);
  EXPECT_THAT(shmdt(p), Succeeds());
  EXPECT_EQ(segment.Attachments(), 0u);
  EXPECT_EQ(MapsOf("SYSV").size(), 0u);
}

TEST(Shmdt, TheBeginningIsGone) {
  Segment segment(3 * kPage);
  char* p = segment.Attach();
  EXPECT_THAT(munmap(p, kPage), Succeeds());
  EXPECT_THAT(shmdt(p + kPage), FailsWith(EINVAL));
  EXPECT_THAT(shmdt(p), Succeeds());
  EXPECT_EQ(segment.Attachments(), 0u);
}

TEST(Shmdt, SplitByMprotect) {
  Segment segment(3 * kPage);
  char* p = segment.Attach();
  EXPECT_THAT(mprotect(p + kPage, kPage, PROT_READ), Succeeds());
  EXPECT_EQ(segment.Attachments(), 3u);
  EXPECT_THAT(shmdt(p), Succeeds());
  EXPECT_EQ(segment.Attachments(), 0u);
}

TEST(ShmRemove, UnattachedGoesAtOnce) {
  Segment segment(kPage);
  EXPECT_THAT(shmctl(segment.id(), IPC_RMID, nullptr), Succeeds());
  shmid_ds ds;
  EXPECT_THAT(shmctl(segment.id(), IPC_STAT, &ds), FailsWith(EINVAL));
  EXPECT_THAT(segment.Attach(), FailsWith(EINVAL));
  EXPECT_THAT(shmctl(segment.id(), IPC_RMID, nullptr), FailsWith(EINVAL));
}

TEST(ShmRemove, AttachedGoesWithTheLast) {
  const key_t key = FreshKey();
  const int id = shmget(key, kPage, 0600 | IPC_CREAT);
  char* p = static_cast<char*>(shmat(id, nullptr, 0));
  EXPECT_THAT(shmctl(id, IPC_RMID, nullptr), Succeeds());
  p[0] = 'k';
  shmid_ds ds = {};
  ASSERT_THAT(shmctl(id, IPC_STAT, &ds), Succeeds());
  EXPECT_EQ(ds.shm_perm.mode, 01600);
  EXPECT_EQ(ds.shm_perm.__key, IPC_PRIVATE);
  EXPECT_EQ(ds.shm_nattch, 1u);
  EXPECT_THAT(shmget(key, kPage, 0), FailsWith(ENOENT));
  // Linux lets more attach by number.
  char* q = static_cast<char*>(shmat(id, nullptr, 0));
  ASSERT_THAT(q, Succeeds());
  EXPECT_EQ(q[0], 'k');
  EXPECT_THAT(shmdt(p), Succeeds());
  EXPECT_THAT(shmctl(id, IPC_STAT, &ds), Succeeds());
  EXPECT_THAT(shmdt(q), Succeeds());
  EXPECT_THAT(shmctl(id, IPC_STAT, &ds), FailsWith(EINVAL));
}

TEST(ShmRemove, GoesWhenTheLastProcessEnds) {
  const int id = shmget(IPC_PRIVATE, kPage, 0600);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(shmat(id, nullptr, 0) != reinterpret_cast<void*>(-1));
                CHILD_CHECK(shmctl(id, IPC_RMID, nullptr) == 0);
                shmid_ds ds;
                CHILD_CHECK(shmctl(id, IPC_STAT, &ds) == 0);
                return 0;
              }),
              Exited(0));
  shmid_ds ds;
  EXPECT_THAT(shmctl(id, IPC_STAT, &ds), FailsWith(EINVAL));
}

TEST(ShmRemove, GoesWithMunmap) {
  const int id = shmget(IPC_PRIVATE, kPage, 0600);
  void* p = shmat(id, nullptr, 0);
  EXPECT_THAT(shmctl(id, IPC_RMID, nullptr), Succeeds());
  EXPECT_THAT(munmap(p, kPage), Succeeds());
  shmid_ds ds;
  EXPECT_THAT(shmctl(id, IPC_STAT, &ds), FailsWith(EINVAL));
  EXPECT_THAT(shmat(id, nullptr, 0), FailsWith(EINVAL));
}

TEST(Shmctl, Set) {
  Segment segment(kPage);
  shmid_ds ds = segment.Stat();
  ds.shm_perm.uid = 11;
  ds.shm_perm.gid = 12;
  ds.shm_perm.mode = 0777;
  EXPECT_THAT(shmctl(segment.id(), IPC_SET, &ds), Succeeds());
  ds = segment.Stat();
  EXPECT_EQ(ds.shm_perm.uid, 11u);
  EXPECT_EQ(ds.shm_perm.gid, 12u);
  EXPECT_EQ(ds.shm_perm.mode, 0777);
}

TEST(Shmctl, LockAndUnlock) {
  Segment segment(kPage);
  EXPECT_THAT(shmctl(segment.id(), SHM_LOCK, nullptr), Succeeds());
  EXPECT_EQ(segment.Stat().shm_perm.mode, 02600);
  EXPECT_THAT(shmctl(segment.id(), SHM_UNLOCK, nullptr), Succeeds());
  EXPECT_EQ(segment.Stat().shm_perm.mode, 0600);
  EXPECT_THAT(AsNobody([&] {
                CHILD_CHECK(ErrnoOf(shmctl(segment.id(), SHM_LOCK, nullptr)) == EPERM);
                return 0;
              }),
              Exited(0));
}

TEST(Shmctl, Info) {
  shminfo info = {};
  EXPECT_THAT(shmctl(0, IPC_INFO, reinterpret_cast<shmid_ds*>(&info)), Succeeds());
  EXPECT_EQ(info.shmmax, 18446744073692774399u);
  EXPECT_EQ(info.shmall, 18446744073692774399u);
  EXPECT_EQ(info.shmmni, 4096u);
  EXPECT_EQ(info.shmseg, 4096u);
  EXPECT_EQ(info.shmmin, 1u);
}

TEST(Shmctl, InfoCounts) {
  shm_info before = {}, after = {};
  EXPECT_THAT(shmctl(0, SHM_INFO, reinterpret_cast<shmid_ds*>(&before)), Succeeds());
  Segment segment(3 * kPage + 1);
  char* p = segment.Attach();
  p[0] = p[kPage] = 1;
  EXPECT_THAT(shmctl(0, SHM_INFO, reinterpret_cast<shmid_ds*>(&after)), Succeeds());
  EXPECT_EQ(after.used_ids, before.used_ids + 1);
  EXPECT_EQ(after.shm_tot, before.shm_tot + 4);
  EXPECT_EQ(after.shm_rss, before.shm_rss + 2);
  shmdt(p);
}

TEST(Shmctl, StatByIndex) {
  Segment segment(kPage, 0600);
  const int index = segment.id() & 0x7fff;
  shmid_ds ds = {};
  EXPECT_THAT(shmctl(index, SHM_STAT, &ds), Returns(segment.id()));
  EXPECT_EQ(ds.shm_segsz, kPage);
  EXPECT_THAT(AsNobody([&] {
                shmid_ds other = {};
                CHILD_CHECK(ErrnoOf(shmctl(index, SHM_STAT, &other)) == EACCES);
                CHILD_CHECK(shmctl(index, 15 /* SHM_STAT_ANY */, &other) == segment.id());
                return 0;
              }),
              Exited(0));
}

TEST(Shmctl, Errors) {
  Segment segment(kPage);
  EXPECT_THAT(shmctl(segment.id(), 99, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(shmctl(-1, IPC_RMID, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(shmctl(segment.id(), IPC_STAT, reinterpret_cast<shmid_ds*>(8)), FailsWith(EFAULT));
  EXPECT_THAT(shmctl(segment.id(), IPC_SET, reinterpret_cast<shmid_ds*>(8)), FailsWith(EFAULT));
}

TEST(ShmMaps, HaveTheirName) {
  const key_t key = FreshKey();
  const int id = shmget(key, kPage, 0600 | IPC_CREAT);
  void* p = shmat(id, nullptr, 0);
  char want[64];
  snprintf(want, sizeof(want), "/SYSV%08x (deleted)", key);
  const auto lines = MapsOf(want);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_NE(lines[0].find("rw-s 00000000 00:01 " + std::to_string(id) + " "), std::string::npos)
      << lines[0];
  shmdt(p);
  shmctl(id, IPC_RMID, nullptr);
}

TEST(ProcSysvipc, ShmListsTheSegment) {
  Segment segment(5000, 0640);
  char* p = segment.Attach();
  const std::string text = ReadFile("/proc/sysvipc/shm");
  char want[128];
  snprintf(want, sizeof(want), "%10d %10d  %4o %21d %5d %5d  %5d", 0, segment.id(), 0640, 5000,
           getpid(), getpid(), 1);
  EXPECT_NE(text.find(want), std::string::npos) << text;
  shmdt(p);
}

TEST(ProcSysvipc, ShmLimits) {
  EXPECT_EQ(ReadFile("/proc/sys/kernel/shmmax"), "18446744073692774399\n");
  EXPECT_EQ(ReadFile("/proc/sys/kernel/shmall"), "18446744073692774399\n");
  EXPECT_EQ(ReadFile("/proc/sys/kernel/shmmni"), "4096\n");
}

}  // namespace
