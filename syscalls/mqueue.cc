// POSIX message queues: mq_overview(7).
#include <fcntl.h>
#include <linux/capability.h>
#include <mqueue.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "sentry/fs/vfs/permissions.h"
#include "sentry/ipc/namespace.h"
#include "sentry/net/netlink/netlink_socket.h"
#include "sentry/task/kernel.h"
#include "sentry/task/namespaces.h"
#include "sentry/time/clocks.h"
#include "syscalls/common.h"
#include "syscalls/ipc.h"

namespace syscalls {
namespace {

using sentry::Deadline;
using sentry::FileCast;
using sentry::IpcCaller;
using sentry::Mqueue;
using sentry::MqueueFile;
using sentry::Mqueues;
using sentry::MqWait;

constexpr uint32_t kPriorities = 32768;  // MQ_PRIO_MAX
constexpr size_t kMaxName = 255;         // NAME_MAX

Mqueues& Queues(Task& task) { return *task.namespaces().ipc().mqueues; }

// The name without the slash that the C library strips: one component.
Result<std::string> ReadName(Task& task, UserCString user) {
  std::string name = TRY(task.mem().ReadPath(user));
  if (name.empty()) return Errno(ENOENT);
  if (name.size() > kMaxName) return Errno(ENAMETOOLONG);
  if (name.find('/') != std::string::npos || name == "." || name == "..") return Errno(EACCES);
  return name;
}

Result<Ref<File>> GetQueue(Task& task, Fd fd) {
  Ref<File> file = TRY(GetFile(task, fd));
  if (FileCast<MqueueFile>(*file) == nullptr) return Errno(EBADF);
  return file;
}

// An absolute time of CLOCK_REALTIME. EINVAL unless it is normalised.
Result<Deadline> ReadAbsolute(Task& task, UserPtr<const abi::Timespec> user) {
  if (!user) return Deadline::Never();
  const int64_t ns = TRY(ToNanoseconds(TRY(task.mem().Read(user))));
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  const int64_t now_ns = now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
  return Deadline::After(std::max<int64_t>(0, ns - now_ns));
}

// Until a queued wait has ended. ETIMEDOUT, kRestartSys.
Status Await(Task& task, Mqueue& queue, MqWait& wait, Deadline deadline) {
  sentry::Waiter waiter(task);
  waiter.Watch(&wait.queue, POLLIN);
  for (;;) {
    if (queue.Finished(wait)) return kOk;
    const Status slept = waiter.Sleep(deadline);
    if (slept.ok()) continue;
    return queue.Cancel(wait) ? kOk : slept;
  }
}

// SIGEV_THREAD: the C library has a thread that receives the cookie from a netlink socket; its last
// byte says what has happened.
Result<std::function<void(uint8_t)>> CookieSender(Task& task, const abi::Sigevent& event) {
  constexpr size_t kCookie = 32;  // NOTIFY_COOKIE_LEN
  std::string cookie(kCookie, 0);
  TRY(task.mem().ReadBytes(UserAddr{event.value}, std::as_writable_bytes(std::span(cookie))));
  const Ref<File> file = TRY(GetFile(task, Fd{event.signo}));
  auto* const socket = FileCast<sentry::Socket>(*file);
  if (socket == nullptr) return Errno(ENOTSOCK);
  if (socket->what().domain != AF_NETLINK) return Errno(EINVAL);
  return std::function<void(uint8_t)>([file, cookie](uint8_t code) {
    std::string bytes = cookie;
    bytes.back() = static_cast<char>(code);
    static_cast<sentry::NetlinkSocket&>(*file).Deliver(std::move(bytes), 0);
  });
}

Result<Ref<File>> OpenQueue(Task& task, const std::string& name, uint32_t flags, uint32_t mode,
                            std::optional<Mqueue::Size> size) {
  const sentry::Credentials& creds = task.creds();
  // Not what only open(2) knows.
  const OpenFlags open(flags & (O_ACCMODE | O_NONBLOCK));
  for (;;) {
    const Result<Ref<Mqueue>> found = Queues(task).Find(name);
    if (found.ok()) {
      if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) return Errno(EEXIST);
      if ((flags & O_ACCMODE) == O_ACCMODE) return Errno(EINVAL);
      int access = open.readable() ? R_OK : 0;
      if (open.writable()) access |= W_OK;
      TRY(sentry::Vfs::CheckAccess(TRY((*found)->GetAttributes()), creds, access));
      return (*found)->Open(open);
    }
    if ((flags & O_CREAT) == 0) return Errno(ENOENT);
    TRY(sentry::Vfs::CheckAccess(Queues(task).RootAttributes(), creds, W_OK | X_OK));
    const sentry::NewNode node{.mode = S_IFREG | (mode & 0777 & ~task.fs().umask()),
                               .uid = creds.fsuid,
                               .gid = creds.fsgid};
    const Result<Ref<Mqueue>> made =
        Queues(task).Create(name, node, size, creds, task.Limit(RLIMIT_MSGQUEUE));
    if (made.ok()) return (*made)->Open(open);
    // Somebody else was faster.
    if (made.error() != Errno(EEXIST)) return made.error();
  }
}

}  // namespace

Result<Fd> MqOpen(Task& task, UserCString user_name, uint32_t flags, uint32_t mode,
                  UserPtr<const abi::MqAttr> user) {
  std::optional<Mqueue::Size> size;
  if (user) {
    const abi::MqAttr attributes = TRY(task.mem().Read(user));
    size = Mqueue::Size{.messages = attributes.maxmsg, .bytes = attributes.msgsize};
  }
  const std::string name = TRY(ReadName(task, user_name));
  Ref<File> file = TRY(OpenQueue(task, name, flags, mode, size));
  return task.AddFd(std::move(file), /*close_on_exec=*/true);
}

Status MqUnlink(Task& task, UserCString user_name) {
  const std::string name = TRY(ReadName(task, user_name));
  const Ref<Mqueue> queue = TRY(Queues(task).Find(name));
  const sentry::Attributes root = Queues(task).RootAttributes();
  const sentry::Credentials& creds = task.creds();
  TRY(sentry::Vfs::CheckAccess(root, creds, W_OK | X_OK));
  TRY(sentry::CheckSticky(creds, root, TRY(queue->GetAttributes())));
  return Queues(task).Unlink(name);
}

Status MqTimedsend(Task& task, Fd fd, UserAddr message, uint64_t size, uint32_t priority,
                   UserPtr<const abi::Timespec> timeout) {
  const Deadline deadline = TRY(ReadAbsolute(task, timeout));
  if (priority >= kPriorities) return Errno(EINVAL);
  const Ref<File> file = TRY(GetQueue(task, fd));
  if (!file->flags().writable()) return Errno(EBADF);
  Mqueue& queue = static_cast<MqueueFile&>(*file).queue();
  if (size > static_cast<uint64_t>(queue.size().bytes)) return Errno(EMSGSIZE);
  const sentry::BudgetShare share = TRY(Mqueues::senders().Take(size));
  MqWait wait;
  wait.message.priority = priority;
  wait.message.text.resize(size);
  TRY(task.mem().ReadBytes(message, std::as_writable_bytes(std::span(wait.message.text))));
  const IpcCaller sender{.creds = task.creds(), .pid = task.tgid()};
  if (TRY(queue.Send(wait, !file->nonblocking(), sender))) return kOk;
  return Await(task, queue, wait, deadline);
}

Result<uint64_t> MqTimedreceive(Task& task, Fd fd, UserAddr message, uint64_t size,
                                UserPtr<uint32_t> priority, UserPtr<const abi::Timespec> timeout) {
  const Deadline deadline = TRY(ReadAbsolute(task, timeout));
  const Ref<File> file = TRY(GetQueue(task, fd));
  if (!file->flags().readable()) return Errno(EBADF);
  Mqueue& queue = static_cast<MqueueFile&>(*file).queue();
  if (size < static_cast<uint64_t>(queue.size().bytes)) return Errno(EMSGSIZE);
  MqWait wait;
  if (!TRY(queue.Receive(wait, !file->nonblocking()))) TRY(Await(task, queue, wait, deadline));
  // As in Linux, a message that cannot be delivered is lost.
  if (priority) TRY(task.mem().Write(priority, wait.message.priority));
  TRY(task.mem().WriteBytes(message, std::as_bytes(std::span(wait.message.text))));
  return wait.message.text.size();
}

Status MqNotify(Task& task, Fd fd, UserPtr<const abi::Sigevent> user) {
  sentry::MqNotification wanted;
  if (user) {
    const abi::Sigevent event = TRY(task.mem().Read(user));
    wanted.kind = event.notify;
    wanted.signo = event.signo;
    wanted.value = event.value;
    if (event.notify != SIGEV_NONE && event.notify != SIGEV_SIGNAL &&
        event.notify != SIGEV_THREAD) {
      return Errno(EINVAL);
    }
    if (event.notify == SIGEV_SIGNAL && (event.signo < 0 || event.signo > 64)) {
      return Errno(EINVAL);
    }
    if (event.notify == SIGEV_THREAD) wanted.deliver = TRY(CookieSender(task, event));
  }
  const Ref<File> file = TRY(GetQueue(task, fd));
  Mqueue& queue = static_cast<MqueueFile&>(*file).queue();
  if (!user) {
    queue.Unregister(task.tgid());
    return kOk;
  }
  wanted.owner = Ref<sentry::ThreadGroup>::Share(task.group());
  return queue.Register(std::move(wanted));
}

Status MqGetsetattr(Task& task, Fd fd, UserPtr<const abi::MqAttr> user, UserPtr<abi::MqAttr> old) {
  abi::MqAttr wanted;
  if (user) {
    wanted = TRY(task.mem().Read(user));
    if ((wanted.flags & ~int64_t{O_NONBLOCK}) != 0) return Errno(EINVAL);
  }
  const Ref<File> file = TRY(GetQueue(task, fd));
  Mqueue& queue = static_cast<MqueueFile&>(*file).queue();
  const abi::MqAttr before{.flags = file->nonblocking() ? O_NONBLOCK : 0,
                           .maxmsg = queue.size().messages,
                           .msgsize = queue.size().bytes,
                           .curmsgs = queue.count()};
  if (user) {
    file->SetStatusFlags((wanted.flags & O_NONBLOCK) != 0 ? file->flags().With(O_NONBLOCK)
                                                          : file->flags().Without(O_NONBLOCK));
  }
  if (old) TRY(task.mem().Write(old, before));
  return kOk;
}

}  // namespace syscalls
