// The floor under an emulated call: the bare round trip of a seccomp notification on one core.
// A child whose filter notifies on getppid calls it; the parent answers at once. Both are pinned to
// one CPU, and the listener hands over synchronously. Prints one JSON object, times in ns a call:
//   {"native_ns": …, "notify_ns": …, "sync_wake_up": …}   medians of the batches
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

namespace {

constexpr int kBatches = 9;

void Need(bool good, const char* what) {
  if (good) return;
  perror(what);
  exit(1);
}

void PinToFirstCpu() {
  cpu_set_t allowed, one;
  Need(sched_getaffinity(0, sizeof(allowed), &allowed) == 0, "sched_getaffinity");
  int cpu = 0;
  while (!CPU_ISSET(cpu, &allowed)) ++cpu;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  Need(sched_setaffinity(0, sizeof(one), &one) == 0, "sched_setaffinity");
}

// Makes calls / kBatches * kBatches calls; returns the median of the batches, in ns a call.
double TimeCalls(int calls) {
  std::array<double, kBatches> times;
  const int batch = calls / kBatches;
  for (double& time : times) {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < batch; ++i) syscall(SYS_getppid);
    const std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - begin;
    time = spent.count() / batch;
  }
  std::ranges::sort(times);
  return times[kBatches / 2];
}

int InstallFilter() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter = {std::size(program), program};
  Need(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
  return static_cast<int>(
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter));
}

struct Pipe {
  int ends[2];
  Pipe() { Need(pipe2(ends, O_CLOEXEC) == 0, "pipe2"); }
  template <typename T>
  void Send(const T& value) const {
    Need(write(ends[1], &value, sizeof(value)) == sizeof(value), "write");
  }
  template <typename T>
  T Receive() {
    T value;
    close(ends[1]);  // So that a sender that dies is an end of file.
    Need(read(ends[0], &value, sizeof(value)) == sizeof(value), "read");
    return value;
  }
};

[[noreturn]] void Child(int calls, const Pipe& listener, Pipe& go, const Pipe& result) {
  listener.Send(InstallFilter());
  go.Receive<char>();
  result.Send(TimeCalls(calls));
  exit(0);
}

void Answer(int listener, int calls) {
  for (int i = 0; i < calls; ++i) {
    seccomp_notif call = {};  // The kernel demands zeroes.
    Need(ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) == 0, "NOTIF_RECV");
    seccomp_notif_resp answer = {.id = call.id, .val = 1};
    Need(ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer) == 0, "NOTIF_SEND");
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int calls = (argc > 1 ? std::max(atoi(argv[1]), kBatches) : 20000) / kBatches * kBatches;
  PinToFirstCpu();
  const double native = TimeCalls(calls);

  Pipe listener, go, result;
  const pid_t child = fork();
  Need(child >= 0, "fork");
  if (child == 0) Child(calls, listener, go, result);
  const int theirs = listener.Receive<int>();
  const int process = static_cast<int>(syscall(SYS_pidfd_open, child, 0));
  const int fd = static_cast<int>(syscall(SYS_pidfd_getfd, process, theirs, 0));
  Need(fd >= 0, "the listener");
  const bool sync =
      ioctl(fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP) == 0;
  go.Send('g');
  Answer(fd, calls);
  const double notify = result.Receive<double>();
  waitpid(child, nullptr, 0);
  printf("{\"native_ns\": %.1f, \"notify_ns\": %.1f, \"sync_wake_up\": %s}\n", native, notify,
         sync ? "true" : "false");
  return 0;
}
