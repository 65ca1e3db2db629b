// What the cases about System V IPC and message queues share.
#ifndef TESTS_CONFORMANCE_IPC_SUPPORT_H_
#define TESTS_CONFORMANCE_IPC_SUPPORT_H_

#include <grp.h>
#include <linux/capability.h>
#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include <cstring>
#include <functional>

#include "tests/conformance/support.h"

namespace conformance {

// A key that nothing else uses.
inline key_t FreshKey() {
  static int next = 0;
  return 0x5a000000 + (getpid() & 0xffff) * 64 + next++ % 64;
}

class Sems {
 public:
  explicit Sems(int count, int flags = 0600) : id_(semget(IPC_PRIVATE, count, flags)) {
    EXPECT_GE(id_, 0) << ErrnoName(errno);
  }
  Sems(const Sems&) = delete;
  ~Sems() { semctl(id_, 0, IPC_RMID); }
  int id() const { return id_; }
  int Get(int number = 0) const { return semctl(id_, number, GETVAL); }
  int Set(int number, int value) const { return semctl(id_, number, SETVAL, value); }
  int Op(int number, int change, int flags = 0) const {
    sembuf op = {static_cast<unsigned short>(number), static_cast<short>(change),
                 static_cast<short>(flags)};
    return semop(id_, &op, 1);
  }
  // Until so many tasks wait for the semaphore to grow, or to become zero.
  bool AwaitWaiting(int number, int count, int command = GETNCNT) const {
    return Eventually([&] { return semctl(id_, number, command) == count; });
  }
  semid_ds Stat() const {
    semid_ds ds = {};
    EXPECT_EQ(semctl(id_, 0, IPC_STAT, &ds), 0) << ErrnoName(errno);
    return ds;
  }

 private:
  int id_;
};

class MsgQueue {
 public:
  explicit MsgQueue(int flags = 0600) : id_(msgget(IPC_PRIVATE, flags)) {
    EXPECT_GE(id_, 0) << ErrnoName(errno);
  }
  MsgQueue(const MsgQueue&) = delete;
  ~MsgQueue() { msgctl(id_, IPC_RMID, nullptr); }
  int id() const { return id_; }
  int Send(long type, const std::string& text, int flags = IPC_NOWAIT) const {
    std::vector<char> buffer(sizeof(long) + text.size());
    memcpy(buffer.data(), &type, sizeof(type));
    memcpy(buffer.data() + sizeof(type), text.data(), text.size());
    return msgsnd(id_, buffer.data(), text.size(), flags);
  }
  // The text of the message, or the name of the errno.
  std::string Receive(long type = 0, int flags = IPC_NOWAIT, size_t size = 64,
                      long* got = nullptr) const {
    std::vector<char> buffer(sizeof(long) + size);
    const ssize_t n = msgrcv(id_, buffer.data(), size, type, flags);
    if (n < 0) return ErrnoName(errno);
    if (got != nullptr) memcpy(got, buffer.data(), sizeof(*got));
    return std::string(buffer.data() + sizeof(long), static_cast<size_t>(n));
  }
  msqid_ds Stat() const {
    msqid_ds ds = {};
    EXPECT_EQ(msgctl(id_, IPC_STAT, &ds), 0) << ErrnoName(errno);
    return ds;
  }

 private:
  int id_;
};

class Segment {
 public:
  explicit Segment(size_t size, int flags = 0600) : id_(shmget(IPC_PRIVATE, size, flags)) {
    EXPECT_GE(id_, 0) << ErrnoName(errno);
  }
  Segment(const Segment&) = delete;
  ~Segment() { shmctl(id_, IPC_RMID, nullptr); }
  int id() const { return id_; }
  char* Attach(int flags = 0, const void* at = nullptr) const {
    return static_cast<char*>(shmat(id_, at, flags));
  }
  shmid_ds Stat() const {
    shmid_ds ds = {};
    EXPECT_EQ(shmctl(id_, IPC_STAT, &ds), 0) << ErrnoName(errno);
    return ds;
  }
  unsigned long Attachments() const { return Stat().shm_nattch; }

 private:
  int id_;
};

// A name of a POSIX message queue that nothing else uses.
inline std::string FreshQueueName() {
  static int next = 0;
  return "/conformance." + std::to_string(getpid()) + "." + std::to_string(next++);
}

// A POSIX message queue.
class Mq {
 public:
  explicit Mq(int flags = O_RDWR, long messages = 4, long size = 16, mode_t mode = 0600)
      : name_(FreshQueueName()) {
    mq_attr attr = {};
    attr.mq_maxmsg = messages;
    attr.mq_msgsize = size;
    fd_ = mq_open(name_.c_str(), flags | O_CREAT, mode, &attr);
    EXPECT_GE(fd_, 0) << ErrnoName(errno);
  }
  Mq(const Mq&) = delete;
  ~Mq() {
    mq_close(fd_);
    mq_unlink(name_.c_str());
  }
  int fd() const { return fd_; }
  const std::string& name() const { return name_; }
  int Send(const std::string& text, unsigned priority = 0) const {
    return mq_send(fd_, text.data(), text.size(), priority);
  }
  // The text, or the name of the errno.
  std::string Receive(unsigned* priority = nullptr) const { return ReceiveFrom(fd_, priority); }
  static std::string ReceiveFrom(int fd, unsigned* priority = nullptr) {
    char buffer[64];
    const ssize_t n = mq_receive(fd, buffer, sizeof(buffer), priority);
    return n < 0 ? ErrnoName(errno) : std::string(buffer, static_cast<size_t>(n));
  }
  mq_attr Attributes() const {
    mq_attr attr = {};
    EXPECT_THAT(mq_getattr(fd_, &attr), Succeeds());
    return attr;
  }

 private:
  std::string name_;
  int fd_;
};

// A child that is nobody: no capabilities, no groups.
inline int AsNobody(std::function<int()> body, gid_t group = 65534) {
  return InChild([&] {
    if (setgroups(0, nullptr) != 0 || setgid(group) != 0 || setuid(65534) != 0) return 99;
    return body();
  });
}

// Root may lack some in a container.
inline bool HasCapability(int capability) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  return syscall(SYS_capget, &header, data) == 0 &&
         (data[capability / 32].effective >> capability % 32 & 1) != 0;
}

// A call that is expected to fail: its errno, 0 otherwise.
template <typename T>
int ErrnoOf(T result) {
  return result == static_cast<T>(-1) ? errno : 0;
}

}  // namespace conformance

#endif  // TESTS_CONFORMANCE_IPC_SUPPORT_H_
