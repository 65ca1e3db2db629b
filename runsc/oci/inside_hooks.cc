// Hooks that run inside: startContainer.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "runsc/hooks/hooks.h"
#include "runsc/oci/inside.h"

namespace runsc::oci {

namespace {

// One hook, as the thread that waits and the one that ends it see it.
struct Waited {
  absl::Mutex mu;  // Leaf.
  bool ended ABSL_GUARDED_BY(mu) = false;
  int status ABSL_GUARDED_BY(mu) = 0;
};

absl::Status Failed(const spec::Hook& hook, const std::string& why) {
  return absl::InternalError(absl::StrCat("startContainer hook ", hook.path, ": ", why));
}

// An unnamed file with `text`, to be read from the start.
UniqueFd FileWith(const std::string& text) {
  UniqueFd fd(memfd_create("hook", MFD_CLOEXEC));
  if (fd.valid() && pwrite(fd.get(), text.data(), text.size(), 0) < 0) fd.reset();
  return fd;
}

std::string WordsIn(int fd) {
  char text[300];
  const ssize_t size = pread(fd, text, sizeof(text), 0);
  std::string_view words(text, size > 0 ? static_cast<size_t>(size) : 0);
  while (words.ends_with('\n')) words.remove_suffix(1);
  if (words.empty()) return {};
  return std::string(": ").append(words);
}

}  // namespace

absl::Status Inside::RunStartHooks() {
  const HookState state{.oci_version = container_.spec.oci_version,
                        .id = container_.id,
                        .status = "created",
                        .pid = 1,
                        .bundle = container_.bundle,
                        .annotations = container_.spec.annotations};
  for (const spec::Hook& hook : container_.spec.hooks.start_container) {
    if (absl::Status s = RunStartHook(hook, ToJson(state)); !s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status Inside::RunStartHook(const spec::Hook& hook, const std::string& state) {
  UniqueFd words = FileWith("");
  std::vector<UniqueFd> fds;
  fds.push_back(FileWith(state));
  for (int i = 0; i < 2; ++i) fds.emplace_back(fcntl(words.get(), F_DUPFD_CLOEXEC, 3));
  for (const UniqueFd& fd : fds) {
    if (!fd.valid()) return Failed(hook, strerror(errno));
  }
  spec::Process process = *container_.spec.process;
  process.terminal = false;
  process.cwd.assign(1, '/');
  process.args = {hook.path};
  process.env = hook.env;
  sentry::Kernel::InitProcess init;
  if (absl::Status s = MakeProcess(process, std::move(fds), init); !s.ok()) {
    return Failed(hook, std::string(s.message()));
  }
  if (!hook.args.empty()) init.argv = hook.args;
  const auto waited = std::make_shared<Waited>();
  init.on_exit = [waited](int wait_status) {
    absl::MutexLock lock(&waited->mu);
    waited->ended = true;
    waited->status = wait_status;
  };
  const Result<Ref<sentry::Task>> task = kernel_.PrepareProcess(init);
  if (!task.ok()) return Failed(hook, strerror(task.error().code()));
  const auto group = Ref<sentry::ThreadGroup>::Share((*task)->group());
  kernel_.StartProcess(**task);

  const absl::Duration patience =
      hook.timeout.has_value() ? absl::Seconds(*hook.timeout) : absl::InfiniteDuration();
  absl::MutexLock lock(&waited->mu);
  if (!waited->mu.AwaitWithTimeout(absl::Condition(&waited->ended), patience)) {
    waited->mu.Unlock();
    kernel_.SendTo(*group, sentry::MakeKernelSignalInfo(SIGKILL));
    waited->mu.Lock();
    waited->mu.Await(absl::Condition(&waited->ended));
    return Failed(hook, absl::StrCat("has not ended after ", *hook.timeout, " s"));
  }
  if (waited->status == 0) return absl::OkStatus();
  const std::string how = WIFSIGNALED(waited->status)
                              ? absl::StrCat("signal ", WTERMSIG(waited->status))
                              : absl::StrCat("exit status ", WEXITSTATUS(waited->status));
  return Failed(hook, absl::StrCat(how, WordsIn(words.get())));
}

}  // namespace runsc::oci
