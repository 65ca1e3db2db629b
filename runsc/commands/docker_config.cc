#include "runsc/commands/docker_config.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/unique_fd.h"
#include "runsc/commands/options.h"
#include "runsc/spec/parse.h"

namespace runsc {

namespace {

using nlohmann::ordered_json;

constexpr OptionName kNames[] = {
    {"runtime", nullptr, true}, {"config_file", nullptr, true}, {"clobber", nullptr, false}};

absl::StatusOr<ordered_json> ParseConfig(const std::string& text) {
  // dockerd starts with an empty file as with none.
  if (text.find_first_not_of(" \t\r\n") == text.npos) return ordered_json::object();
  ordered_json config = ordered_json::parse(text, nullptr, false);
  if (!config.is_object()) return absl::InvalidArgumentError("is not a JSON object");
  if (config.contains("runtimes") && !config["runtimes"].is_object()) {
    return absl::InvalidArgumentError("runtimes is not an object");
  }
  return config;
}

std::string Text(const ordered_json& config) { return config.dump(4) + "\n"; }

// By way of a file beside it, so that dockerd never reads half of one. Keeps mode and owner.
absl::Status Replace(const std::string& path, const std::string& text) {
  const std::string beside = absl::StrCat(path, ".", getpid());
  struct stat old = {};
  const bool existed = stat(path.c_str(), &old) == 0;
  UniqueFd file(open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!file.valid()) return absl::ErrnoToStatus(errno, beside);
  const bool written =
      write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
      (!existed || (fchmod(file.get(), old.st_mode & 07777) == 0 &&
                    fchown(file.get(), old.st_uid, old.st_gid) == 0)) &&
      fsync(file.get()) == 0 && rename(beside.c_str(), path.c_str()) == 0;
  if (written) return absl::OkStatus();
  const absl::Status status = absl::ErrnoToStatus(errno, path);
  unlink(beside.c_str());
  return status;
}

absl::StatusOr<std::string> ReadConfig(const std::string& path) {
  absl::StatusOr<std::string> text = spec::ReadFile(path);
  if (absl::IsNotFound(text.status())) return std::string();
  return text;
}

// Follows symlinks: rename(2) would replace one.
std::string Resolve(const std::string& path) {
  char resolved[PATH_MAX];
  return realpath(path.c_str(), resolved) == nullptr ? path : resolved;
}

absl::Status At(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
}

}  // namespace

absl::StatusOr<std::string> WithRuntime(const std::string& text, const std::string& name,
                                        const std::string& path,
                                        const std::vector<std::string>& runtime_args) {
  absl::StatusOr<ordered_json> config = ParseConfig(text);
  if (!config.ok()) return config.status();
  ordered_json entry = {{"path", path}};
  if (!runtime_args.empty()) entry["runtimeArgs"] = runtime_args;
  (*config)["runtimes"][name] = entry;
  return Text(*config);
}

absl::StatusOr<std::string> WithoutRuntime(const std::string& text, const std::string& name) {
  absl::StatusOr<ordered_json> config = ParseConfig(text);
  if (!config.ok()) return config.status();
  if (!config->contains("runtimes") || (*config)["runtimes"].erase(name) == 0) return text;
  if ((*config)["runtimes"].empty()) config->erase("runtimes");
  return Text(*config);
}

absl::Status InstallCommand(std::span<char* const> args) {
  const absl::StatusOr<Options> options = ParseOptions("install", kNames, args);
  if (!options.ok()) return options.status();
  const std::string name = options->Get("runtime", "sandbox");
  if (name.empty() || name == "runc") {
    return absl::InvalidArgumentError("install: Docker keeps the name runc for itself");
  }
  const std::string path = Resolve(options->Get("config_file", "/etc/docker/daemon.json"));
  char self[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
  if (length < 0) return absl::ErrnoToStatus(errno, "/proc/self/exe");
  self[length] = '\0';
  const absl::StatusOr<std::string> old = ReadConfig(path);
  if (!old.ok()) return old.status();
  const absl::StatusOr<std::string> text = WithRuntime(*old, name, self, options->others);
  if (!text.ok()) return At(path, text.status());
  if (*text == *old) return absl::OkStatus();
  const absl::StatusOr<std::string> without = WithoutRuntime(*old, name);
  if (without.ok() && *without != *old && !options->Has("clobber")) {
    return absl::AlreadyExistsError(
        absl::StrCat(path, ": has another runtime ", name, "; --clobber replaces it"));
  }
  const std::string folder = path.substr(0, path.rfind('/'));
  if (!folder.empty() && mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) {
    return absl::ErrnoToStatus(errno, folder);
  }
  return Replace(path, *text);
}

absl::Status UninstallCommand(std::span<char* const> args) {
  const absl::StatusOr<Options> options = ParseOptions("uninstall", kNames, args);
  if (!options.ok()) return options.status();
  const std::string path = Resolve(options->Get("config_file", "/etc/docker/daemon.json"));
  const absl::StatusOr<std::string> old = ReadConfig(path);
  if (!old.ok()) return old.status();
  const absl::StatusOr<std::string> text = WithoutRuntime(*old, options->Get("runtime", "sandbox"));
  if (!text.ok()) return At(path, text.status());
  return *text == *old ? absl::OkStatus() : Replace(path, *text);
}

}  // namespace runsc
