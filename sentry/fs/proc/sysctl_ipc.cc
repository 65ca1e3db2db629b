// The limits of IPC in /proc/sys/kernel and /proc/sys/fs/mqueue.
#include <linux/capability.h>

#include <algorithm>
#include <charconv>
#include <climits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sentry/fs/proc/proc_internal.h"
#include "sentry/ipc/namespace.h"
#include "sentry/task/task.h"

namespace sentry::proc {
namespace {

Status CheckWriter() {
  Task* const writer = Task::Current();
  // Nobody: the sandbox is being set up.
  const bool may = writer == nullptr || writer->creds().HasCapability(CAP_SYS_ADMIN);
  return may ? kOk : Status(Errno(EPERM));
}

// A number within bounds: EINVAL otherwise.
Result<uint64_t> ParseWithin(std::string_view text, uint64_t least, uint64_t most) {
  uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || at != end || value < least || value > most) return Errno(EINVAL);
  return value;
}

// A file that shows and sets one member of what `limits()` of the reader's own table returns.
template <typename Table, typename Limits, typename Member>
void PutLimit(Kernel& kernel, Builder& builder, std::string_view directory, std::string_view name,
              const Ref<Table> IpcNamespace::*table, Member Limits::*member, uint64_t least,
              uint64_t most) {
  const auto own = [k = &kernel, table]() -> Table& {
    return *(NamespacesOfReader(*k).ipc().*table);
  };
  builder.Text(
      directory, name,
      [own, member] { return Result<std::string>(absl::StrCat(own().limits().*member, "\n")); },
      0644,
      [=](std::string_view text) -> Status {
        TRY(CheckWriter());
        Limits limits = own().limits();
        limits.*member = static_cast<Member>(TRY(ParseWithin(FirstLine(text), least, most)));
        own().set_limits(limits);
        return kOk;
      });
}

std::string SemText(const Semaphores& table) {
  const Semaphores::Limits limits = table.limits();
  return absl::StrCat(limits.msl, "\t", limits.mns, "\t", limits.opm, "\t", limits.mni, "\n");
}

// Four numbers, of which the last may be missing.
Status StoreSem(Semaphores& table, std::string_view text) {
  TRY(CheckWriter());
  Semaphores::Limits limits = table.limits();
  const std::pair<int*, uint64_t> fields[] = {
      {&limits.msl, 65536}, {&limits.mns, INT_MAX}, {&limits.opm, 65536}, {&limits.mni, 32768}};
  std::string_view rest = FirstLine(text);
  for (const auto& [field, most] : fields) {
    rest.remove_prefix(std::min(rest.find_first_not_of(" \t"), rest.size()));
    if (rest.empty()) break;
    const std::string_view word = rest.substr(0, rest.find_first_of(" \t"));
    *field = static_cast<int>(TRY(ParseWithin(word, 0, most)));
    rest.remove_prefix(word.size());
  }
  table.set_limits(limits);
  return kOk;
}

}  // namespace

void PutIpcSysctls(Kernel& kernel, Builder& builder) {
  std::string_view directory = "sys/kernel";
  const auto put = [&](std::string_view name, auto table, auto member, uint64_t least,
                       uint64_t most) {
    PutLimit(kernel, builder, directory, name, table, member, least, most);
  };
  put("shmmax", &IpcNamespace::shared_memory, &SharedMemory::Limits::max, 0, UINT64_MAX);
  put("shmall", &IpcNamespace::shared_memory, &SharedMemory::Limits::all, 0, UINT64_MAX);
  put("shmmni", &IpcNamespace::shared_memory, &SharedMemory::Limits::mni, 0, 32768);
  put("msgmax", &IpcNamespace::messages, &Messages::Limits::max_text, 0, 1 << 20);
  put("msgmnb", &IpcNamespace::messages, &Messages::Limits::max_bytes, 0, INT_MAX);
  put("msgmni", &IpcNamespace::messages, &Messages::Limits::max_queues, 0, 32768);
  const auto sems = [k = &kernel]() -> Semaphores& {
    return *NamespacesOfReader(*k).ipc().semaphores;
  };
  builder.Text(
      "sys/kernel", "sem", [sems] { return Result<std::string>(SemText(sems())); }, 0644,
      [sems](std::string_view text) { return StoreSem(sems(), text); });
  using Limits = Mqueues::Limits;
  directory = "sys/fs/mqueue";
  const auto queues = &IpcNamespace::mqueues;
  put("queues_max", queues, &Limits::queues_max, 0, INT_MAX);
  put("msg_max", queues, &Limits::msg_max, 1, Mqueues::kHardMessages);
  put("msg_default", queues, &Limits::msg_default, 1, Mqueues::kHardMessages);
  put("msgsize_max", queues, &Limits::msgsize_max, 128, Mqueues::kHardBytes);
  put("msgsize_default", queues, &Limits::msgsize_default, 128, Mqueues::kHardBytes);
}

}  // namespace sentry::proc
