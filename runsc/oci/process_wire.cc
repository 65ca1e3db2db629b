#include "runsc/oci/process_wire.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

namespace runsc::oci {

namespace {

constexpr size_t kMaxBytes = 4 << 20;
constexpr uint32_t kMagic = 0x31434f50;

// Both ends of the wire: visits the same fields in the same order.
class Writer {
 public:
  template <typename T>
  void Number(const T& value) {
    const auto wide = static_cast<uint64_t>(value);
    out.append(reinterpret_cast<const char*>(&wide), sizeof(wide));
  }
  void Text(const std::string& text) {
    Number(text.size());
    out += text;
  }
  template <typename T, typename Visit>
  void List(const std::vector<T>& list, Visit visit) {
    Number(list.size());
    for (const T& item : list) visit(item);
  }
  std::string out;
};

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : left_(bytes) {}
  template <typename T>
  void Number(T& value) {
    uint64_t wide = 0;
    if (left_.size() < sizeof(wide)) {
      bad_ = true;
      return;
    }
    memcpy(&wide, left_.data(), sizeof(wide));
    left_ = left_.subspan(sizeof(wide));
    value = static_cast<T>(wide);
  }
  void Text(std::string& text) {
    size_t size = 0;
    Number(size);
    if (bad_ || size > left_.size()) {
      bad_ = true;
      return;
    }
    text.assign(reinterpret_cast<const char*>(left_.data()), size);
    left_ = left_.subspan(size);
  }
  template <typename T, typename Visit>
  void List(std::vector<T>& list, Visit visit) {
    size_t count = 0;
    Number(count);
    // Each item takes eight bytes at least.
    if (bad_ || count > left_.size() / sizeof(uint64_t)) {
      bad_ = true;
      return;
    }
    list.resize(count);
    for (T& item : list) visit(item);
  }
  bool good() const { return !bad_ && left_.empty(); }

 private:
  std::span<const std::byte> left_;
  bool bad_ = false;
};

template <typename Wire, typename Process>
void Visit(Wire& wire, Process& process) {
  const auto text = [&wire](auto& item) { wire.Text(item); };
  const auto number = [&wire](auto& item) { wire.Number(item); };
  wire.List(process.args, text);
  wire.List(process.env, text);
  wire.Text(process.cwd);
  wire.Number(process.terminal);
  wire.Number(process.user.uid);
  wire.Number(process.user.gid);
  wire.List(process.user.additional_gids, number);
  wire.List(process.rlimits, [&wire](auto& limit) {
    wire.Number(limit.resource);
    wire.Number(limit.soft);
    wire.Number(limit.hard);
  });
  wire.Number(process.no_new_privileges);
}

// An optional is a flag and, where it is set, the value.
template <typename Value>
void VisitOptional(Writer& wire, const std::optional<Value>& optional, auto visit) {
  wire.Number(optional.has_value());
  if (optional.has_value()) visit(*optional);
}

template <typename Value>
void VisitOptional(Reader& wire, std::optional<Value>& optional, auto visit) {
  bool present = false;
  wire.Number(present);
  if (present) visit(optional.emplace());
}

template <typename Wire, typename Process>
void VisitOptionals(Wire& wire, Process& process) {
  const auto number = [&wire](auto& item) { wire.Number(item); };
  VisitOptional(wire, process.user.umask, number);
  VisitOptional(wire, process.oom_score_adj, number);
  VisitOptional(wire, process.capabilities, [&wire](auto& sets) {
    wire.Number(sets.bounding);
    wire.Number(sets.effective);
    wire.Number(sets.inheritable);
    wire.Number(sets.permitted);
    wire.Number(sets.ambient);
  });
}

}  // namespace

std::string EncodeProcess(const spec::Process& process) {
  Writer wire;
  wire.Number(kMagic);
  Visit(wire, process);
  VisitOptionals(wire, process);
  return std::move(wire.out);
}

Result<spec::Process> DecodeProcess(std::span<const std::byte> bytes) {
  Reader wire(bytes);
  spec::Process process;
  uint32_t magic = 0;
  wire.Number(magic);
  Visit(wire, process);
  VisitOptionals(wire, process);
  if (!wire.good() || magic != kMagic || process.args.empty()) return Errno(EPROTO);
  return process;
}

Result<UniqueFd> ProcessToMemfd(const spec::Process& process) {
  const std::string text = EncodeProcess(process);
  if (text.size() > kMaxBytes) return Errno(E2BIG);
  UniqueFd fd(memfd_create("process", MFD_CLOEXEC));
  if (!fd.valid()) return Errno::Last();
  const ssize_t written = write(fd.get(), text.data(), text.size());
  if (written < 0) return Errno::Last();
  if (static_cast<size_t>(written) != text.size()) return Errno(ENOSPC);
  return fd;
}

Result<spec::Process> ProcessFromMemfd(int fd) {
  struct stat st {};
  if (fstat(fd, &st) != 0) return Errno::Last();
  const auto size = static_cast<size_t>(st.st_size);
  if (!S_ISREG(st.st_mode) || size > kMaxBytes) return Errno(E2BIG);
  const auto bytes = std::make_unique_for_overwrite<std::byte[]>(size);
  const ssize_t count = pread(fd, bytes.get(), size, 0);
  if (count < 0) return Errno::Last();
  return DecodeProcess({bytes.get(), static_cast<size_t>(count)});
}

}  // namespace runsc::oci
