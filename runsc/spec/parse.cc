#include "runsc/spec/parse.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/unique_fd.h"
#include "runsc/spec/mount_options.h"
#include "runsc/spec/sections.h"

namespace runsc::spec {

namespace {

using nlohmann::json;

constexpr size_t kMaxFile = 16 << 20;
constexpr const char* kForeign[] = {"solaris", "windows", "vm", "zos", "freebsd"};

// Says where the text stops being JSON, without the exceptions that would carry a message.
class Locator : public nlohmann::json_sax<json> {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(size_t) override { return true; }
  bool key(string_t&) override { return true; }
  bool end_object() override { return true; }
  bool start_array(size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(size_t position, const std::string&, const json::exception&) override {
    position_ = position;
    return false;
  }
  size_t position() const { return position_; }

 private:
  size_t position_ = 0;
};

absl::Status NotJson(std::string_view text) {
  Locator locator;
  json::sax_parse(text.begin(), text.end(), &locator);
  size_t line = 1;
  for (const char c : text.substr(0, locator.position())) line += c == '\n' ? 1 : 0;
  return absl::InvalidArgumentError(
      absl::StrCat("not JSON: line ", line, ", byte ", locator.position()));
}

// Parses `text` and hands the whole of it to `read`.
template <typename T, typename ReadOne>
absl::StatusOr<T> ParseAs(std::string_view text, ReadOne read) {
  const json document = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded()) return NotJson(text);
  if (!document.is_object()) return absl::InvalidArgumentError("not a JSON object");
  absl::Status failure;
  T value{};
  read(Reader(&document, "", &failure), value);
  if (!failure.ok()) return failure;
  return value;
}

void ReadVersion(const Reader& in, std::string& version) {
  in.Require(version);
  if (in.failed()) return;
  // 1.x can be read by anyone who reads 1.0.
  if (!version.starts_with("1.")) in.Fail(absl::StrCat(version, " is not version 1"));
}

void ReadRoot(const Reader& in, std::optional<Root>& out) {
  if (!in.present()) return;
  Root root;
  in["path"].Require(root.path);
  if (!in.failed() && root.path.empty()) in["path"].Fail("is empty");
  in["readonly"].Read(root.readonly);
  out = std::move(root);
}

void ReadMount(const Reader& in, Mount& mount) {
  in["destination"].Require(mount.destination);
  if (in.failed()) return;
  // Relative ones were allowed before 1.0 and are meant from the root, as runc takes them.
  if (!mount.destination.starts_with('/')) mount.destination.insert(0, "/");
  in["type"].Read(mount.type);
  in["source"].Read(mount.source);
  std::vector<std::string> options;
  in["options"].Read(options);
  DecodeOptions(options, mount);
  if (mount.type.empty() && (mount.flags & MS_BIND) != 0) mount.type = "bind";
  // runc takes the type alone for a bind, too.
  if (mount.type == "bind") mount.flags |= (mount.flags & MS_BIND) != 0 ? 0 : MS_BIND | MS_REC;
  if (mount.type == "rbind") {
    mount.type = "bind";
    mount.flags |= MS_BIND | MS_REC;
  }
  if (in["uidMappings"].present() || in["gidMappings"].present()) mount.idmapped = true;
  if (in.failed()) return;
  if (mount.type.empty()) return in["type"].Fail("is missing");
  if (mount.IsBind() && mount.source.empty()) in["source"].Fail("is missing, and this is a bind");
}

void ReadHook(const Reader& in, Hook& hook) {
  RequireAbsolute(in["path"], hook.path);
  in["args"].Read(hook.args);
  in["env"].Read(hook.env);
  in["timeout"].Read(hook.timeout);
  if (hook.timeout && *hook.timeout <= 0) in["timeout"].Fail("is not above 0");
}

void ReadHooks(const Reader& in, Hooks& hooks) {
  ReadEach(in["prestart"], hooks.prestart, ReadHook);
  ReadEach(in["createRuntime"], hooks.create_runtime, ReadHook);
  ReadEach(in["createContainer"], hooks.create_container, ReadHook);
  ReadEach(in["startContainer"], hooks.start_container, ReadHook);
  ReadEach(in["poststart"], hooks.poststart, ReadHook);
  ReadEach(in["poststop"], hooks.poststop, ReadHook);
}

void ReadSpec(const Reader& in, Spec& spec) {
  ReadVersion(in["ociVersion"], spec.oci_version);
  if (in["process"].present()) ReadProcess(in["process"], spec.process.emplace());
  ReadRoot(in["root"], spec.root);
  ReadEach(in["mounts"], spec.mounts, ReadMount);
  in["hostname"].Read(spec.hostname);
  in["domainname"].Read(spec.domainname);
  if (spec.hostname.size() > 64) in["hostname"].Fail("has more than 64 bytes");
  if (spec.domainname.size() > 64) in["domainname"].Fail("has more than 64 bytes");
  ReadHooks(in["hooks"], spec.hooks);
  in["annotations"].Read(spec.annotations);
  ReadLinux(in["linux"], spec.linux_);
  for (const char* name : kForeign) {
    if (in[name].present()) spec.foreign.emplace_back(name);
  }
}

}  // namespace

bool Mount::IsBind() const { return (flags & MS_BIND) != 0; }

const Namespace* Linux::Find(NamespaceType type) const {
  for (const Namespace& one : namespaces) {
    if (one.type == type) return &one;
  }
  return nullptr;
}

std::optional<uint32_t> ReadName(const Reader& in, std::span<const Name> names, const char* what) {
  std::string text;
  in.Read(text);
  if (in.failed() || !in.present()) return std::nullopt;
  const std::optional<uint32_t> value = Lookup(names, text);
  if (!value) in.Fail(absl::StrCat("\"", text, "\" is no ", what));
  return value;
}

void RequireAbsolute(const Reader& in, std::string& path) {
  in.Require(path);
  if (!in.failed() && !path.starts_with('/'))
    in.Fail(absl::StrCat("\"", path, "\" is not absolute"));
}

absl::StatusOr<Spec> Parse(std::string_view text) { return ParseAs<Spec>(text, ReadSpec); }

absl::StatusOr<Process> ParseProcess(std::string_view text) {
  return ParseAs<Process>(text, ReadProcess);
}

absl::StatusOr<Resources> ParseResources(std::string_view text) {
  return ParseAs<Resources>(text, ReadResources);
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) {
    return absl::ErrnoToStatus(errno, path);
  }
  std::string text;
  char buffer[1 << 14];
  for (;;) {
    const ssize_t got = read(file.get(), buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return absl::ErrnoToStatus(errno, path);
    if (got == 0) return text;
    text.append(buffer, static_cast<size_t>(got));
    if (text.size() > kMaxFile) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": has more than 16 MiB"));
    }
  }
}

absl::StatusOr<Spec> Load(const std::string& bundle) {
  const std::string path = absl::StrCat(bundle, "/config.json");
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return text.status();
  absl::StatusOr<Spec> spec = Parse(*text);
  if (!spec.ok()) {
    return absl::Status(spec.status().code(), absl::StrCat(path, ": ", spec.status().message()));
  }
  return spec;
}

}  // namespace runsc::spec
