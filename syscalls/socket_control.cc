#include "syscalls/socket_control.h"

#include <linux/capability.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "sentry/fs/anon/pidfd.h"
#include "sentry/net/unix/unix_socket.h"
#include "sentry/task/kernel.h"
#include "syscalls/common.h"

namespace syscalls {
namespace {

using sentry::ControlData;
using sentry::ControlMessage;
using sentry::FileRights;
using sentry::SocketCredentials;

constexpr size_t kMaxControl = 131072;  // net.core.optmem_max.
constexpr size_t kMaxRights = 253;      // SCM_MAX_FD.
constexpr int kScmPidfd = 4;

struct Header {
  uint64_t length = 0;
  int32_t level = 0, type = 0;
};
static_assert(sizeof(Header) == sizeof(cmsghdr));

// SCM_RIGHTS: scm_fp_copy().
Result<std::vector<Ref<File>>> ReadRights(Task& task, std::string_view data) {
  const size_t count = data.size() / sizeof(int);
  if (count > kMaxRights) return Errno(EINVAL);
  std::vector<Ref<File>> files;
  for (size_t i = 0; i < count; ++i) {
    int fd;
    memcpy(&fd, data.data() + i * sizeof(fd), sizeof(fd));
    files.push_back(TRY(task.fds().Get(Fd(fd))));
  }
  return files;
}

// SCM_CREDENTIALS: scm_check_creds().
Result<SocketCredentials> ReadCredentials(Task& task, std::string_view data) {
  ucred wanted;
  if (data.size() != sizeof(wanted)) return Errno(EINVAL);
  memcpy(&wanted, data.data(), sizeof(wanted));
  const sentry::Credentials& own = task.creds();
  const bool uid_is_own = wanted.uid == own.uid || wanted.uid == own.euid || wanted.uid == own.suid;
  const bool gid_is_own = wanted.gid == own.gid || wanted.gid == own.egid || wanted.gid == own.sgid;
  if ((wanted.pid != task.tgid() && !HasCapability(task, CAP_SYS_ADMIN)) ||
      (!uid_is_own && !HasCapability(task, CAP_SETUID)) ||
      (!gid_is_own && !HasCapability(task, CAP_SETGID))) {
    return Errno(EPERM);
  }
  Ref<sentry::ThreadGroup> process = task.kernel().FindGroup(wanted.pid);
  if (!process) return Errno(ESRCH);
  return SocketCredentials{
      .pid = wanted.pid, .uid = wanted.uid, .gid = wanted.gid, .process = std::move(process)};
}

// What the layers of AF_UNIX and AF_NETLINK understand: __scm_send().
Status AddScm(Task& task, const sentry::Socket& socket, const Header& header, std::string_view data,
              std::vector<Ref<File>>& files, ControlData& control) {
  if (header.level != SOL_SOCKET) return kOk;
  switch (header.type) {
    case SCM_RIGHTS: {
      if (socket.what().domain != AF_UNIX) return Errno(EINVAL);
      for (Ref<File>& file : TRY(ReadRights(task, data))) files.push_back(std::move(file));
      return files.size() > kMaxRights ? Status(Errno(EINVAL)) : Status(kOk);
    }
    case SCM_CREDENTIALS:
      control.credentials = TRY(ReadCredentials(task, data));
      return kOk;
    default:
      return Errno(EINVAL);
  }
}

// put_cmsg() and its kind.
class Writer {
 public:
  Writer(Task& task, abi::MessageHeader& header)
      : task_(task), header_(header), at_(header.control), room_(header.control_length) {}

  // Data that may be cut.
  Status Put(int level, int type, std::string_view data) {
    if (room_ < sizeof(Header)) {
      header_.flags |= MSG_CTRUNC;
      return kOk;
    }
    if (room_ < CMSG_LEN(data.size())) {
      header_.flags |= MSG_CTRUNC;
      data = data.substr(0, room_ - sizeof(Header));
    }
    TRY(WriteOne({CMSG_LEN(data.size()), level, type}, data));
    return kOk;
  }

  // Installs as many files as there is room for, in the buffer and in the table.
  Status PutRights(FileRights& rights, bool close_on_exec) {
    const size_t fit = room_ < sizeof(Header) ? 0 : (room_ - sizeof(Header)) / sizeof(int);
    const size_t count = std::min(fit, rights.files().size());
    std::string numbers;
    for (size_t i = 0; i < count; ++i) {
      const Result<Fd> fd = task_.AddFd(rights.files()[i], close_on_exec);
      if (!fd.ok()) break;
      const int number = static_cast<int>(*fd);
      numbers.append(reinterpret_cast<const char*>(&number), sizeof(number));
    }
    if (numbers.size() / sizeof(int) < rights.files().size()) header_.flags |= MSG_CTRUNC;
    if (numbers.empty()) return kOk;
    return WriteOne({CMSG_LEN(numbers.size()), SOL_SOCKET, SCM_RIGHTS}, numbers);
  }

  uint64_t used() const { return at_ - header_.control; }

 private:
  Status WriteOne(const Header& header, std::string_view data) {
    TRY(task_.mem().Write(UserPtr<Header>{UserAddr{at_}}, header));
    TRY(task_.mem().WriteBytes(UserAddr{at_ + sizeof(header)},
                               std::as_bytes(std::span(data.data(), data.size()))));
    const uint64_t space = std::min<uint64_t>(CMSG_SPACE(data.size()), room_);
    at_ += space;
    room_ -= space;
    return kOk;
  }

  Task& task_;
  abi::MessageHeader& header_;
  uint64_t at_, room_;
};

template <typename T>
std::string_view Bytes(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

}  // namespace

Result<ControlData> ReadControl(Task& task, const sentry::Socket& socket,
                                const abi::MessageHeader& header) {
  ControlData control;
  if (header.control == 0 || header.control_length == 0) return control;
  if (header.control_length > kMaxControl) return Errno(ENOBUFS);
  std::string bytes(header.control_length, '\0');
  TRY(task.mem().ReadBytes(UserAddr{header.control},
                           std::as_writable_bytes(std::span(bytes.data(), bytes.size()))));
  const bool scm = socket.what().domain == AF_UNIX || socket.what().domain == AF_NETLINK;
  std::vector<Ref<File>> files;
  size_t at = 0;
  while (bytes.size() - at >= sizeof(Header)) {
    Header one;
    memcpy(&one, bytes.data() + at, sizeof(one));
    if (one.length < sizeof(one) || one.length > bytes.size() - at) return Errno(EINVAL);
    const std::string_view data(bytes.data() + at + sizeof(one), one.length - sizeof(one));
    if (scm) {
      TRY(AddScm(task, socket, one, data, files, control));
    } else {
      control.others.push_back(ControlMessage{one.level, one.type, std::string(data)});
    }
    at = std::min(bytes.size(), at + CMSG_ALIGN(one.length));
  }
  if (!files.empty()) control.rights = FileRights(std::move(files));
  return control;
}

Status WriteControl(Task& task, ControlData& control, bool close_on_exec,
                    abi::MessageHeader& header) {
  Writer writer(task, header);
  const bool nowhere = header.control == 0;
  if (nowhere) header.control_length = 0;
  const bool something = control.credentials || !control.rights.empty() || !control.others.empty();
  if (nowhere) {
    if (something) header.flags |= MSG_CTRUNC;
    return kOk;
  }
  for (const ControlMessage& other : control.others) {
    TRY(writer.Put(other.level, other.type, other.data));
  }
  const bool seen = control.credentials && sentry::IsSeenBy(task, *control.credentials);
  if (control.credentials && control.pass_credentials) {
    const ucred who{.pid = seen ? control.credentials->pid : 0,
                    .uid = control.credentials->uid,
                    .gid = control.credentials->gid};
    TRY(writer.Put(SOL_SOCKET, SCM_CREDENTIALS, Bytes(who)));
  }
  if (!control.rights.empty()) TRY(writer.PutRights(control.rights, close_on_exec));
  if (control.pidfd && control.credentials) {
    int number = -ESRCH;
    if (control.credentials->process && seen) {
      const auto file = sentry::CreatePidFd(control.credentials->process, 0);
      if (file.ok()) {
        // pidfd_prepare() of Linux: whatever recvmsg(2) asks for.
        const auto fd = task.AddFd(*file, true);
        number = fd.ok() ? static_cast<int>(*fd) : -fd.error().code();
      } else {
        number = -file.error().code();
      }
    }
    TRY(writer.Put(SOL_SOCKET, kScmPidfd, Bytes(number)));
  }
  header.control_length = writer.used();
  return kOk;
}

}  // namespace syscalls
