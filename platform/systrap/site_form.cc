#include "platform/systrap/site_form.h"

#include <sys/syscall.h>

#include <algorithm>
#include <cstring>

#include "platform/systrap/carried.h"
#include "platform/systrap/instruction.h"

namespace platform::systrap {

using native::StubAddress;

namespace {

using Text = std::span<const uint8_t>;

// Decoding from anywhere falls into step with the instructions as they are executed after a few of
// them: it starts so many bytes in front of the call, at each of so many addresses. No instruction
// is longer than that, so one of the starts is right, and if all agree so are they.
constexpr size_t kLeadIn = 48, kStarts = 16;

uint8_t Byte(uint64_t value, int index) { return static_cast<uint8_t>(value >> (8 * index)); }

int32_t Distance(Text text, size_t at, size_t size) {
  if (size == 1) return static_cast<int8_t>(text[at]);
  int32_t distance;
  std::memcpy(&distance, text.data() + at, sizeof(distance));
  return distance;
}

// The text as it falls into instructions.
class Decoded {
 public:
  Decoded(Text text, size_t call) : text_(text), call_(call), at_(text.size()) {
    for (size_t i = 0; i < text.size(); ++i) at_[i] = Decode(text.subspan(i));
  }

  // The size of the instruction in front of the call; 0 if that is uncertain.
  size_t SizeInFront() const {
    if (call_ < kLeadIn + kStarts) return 0;
    std::vector<size_t> last(call_,
                             0);  // Size of what stands before the call, by where one starts.
    for (size_t i = call_; i-- > 0;) {
      const size_t size = at_[i].size;
      if (size == 0 || i + size > call_) continue;
      last[i] = i + size == call_ ? size : last[i + size];
    }
    for (size_t to = call_ - kLeadIn; to >= kStarts; to -= kStarts) {
      const auto starts = std::span(last).subspan(to - kStarts, kStarts);
      size_t found = 0;
      const bool agree = std::all_of(starts.begin(), starts.end(), [&found](size_t size) {
        if (found == 0) found = size;
        return size == 0 || size == found;
      });
      if (found != 0 && agree) return found;
    }
    return 0;
  }

  // Whether an instruction of the text refers to an address between `from` and `to`, exclusive: a
  // jump, or an address that it loads.
  bool IsReferredTo(size_t from, size_t to) const {
    std::vector<bool> reached(text_.size() + 16);
    std::fill_n(reached.begin(), std::min(kStarts, text_.size()), true);
    reached[call_] = true;
    for (size_t i = 0; i < text_.size(); ++i) {
      const Instruction& instruction = at_[i];
      if (!reached[i] || instruction.size == 0) continue;
      const size_t end = i + instruction.size;
      reached[end] = true;
      const size_t distance = instruction.branch != 0 ? instruction.branch : instruction.relative;
      if (distance == 0) continue;
      const size_t size = instruction.size - distance == 1 ? 1 : 4;
      const int64_t target = static_cast<int64_t>(end) + Distance(text_, i + distance, size);
      if (target > static_cast<int64_t>(from) && target < static_cast<int64_t>(to)) return true;
    }
    return false;
  }

  const Instruction& at(size_t i) const { return at_[i]; }

 private:
  const Text text_;
  const size_t call_;
  std::vector<Instruction> at_;
};

// What must be an instruction, since it explains the number that the call was made with.
size_t NumberInFront(Text text, size_t call, uint64_t nr) {
  constexpr uint8_t kMovEax = 0xb8;
  uint32_t immediate;
  if (call >= 5 && text[call - 5] == kMovEax) {
    std::memcpy(&immediate, &text[call - 4], sizeof(immediate));
    if (immediate == nr) return 5;
  }
  // 31 c0 and 33 c0 are both xor %eax,%eax.
  if (nr != 0 || call < 2 || text[call - 1] != 0xc0) return 0;
  return text[call - 2] == 0x31 || text[call - 2] == 0x33 ? 2 : 0;
}

}  // namespace

std::optional<SiteForm> FormOf(Text text, size_t call, uint64_t nr) {
  if (call + kSyscallSize >= text.size() || text[call] != 0x0f || text[call + 1] != 0x05) {
    return std::nullopt;
  }
  const Decoded decoded(text, call);
  SiteForm form;
  size_t size = NumberInFront(text, call, nr);
  form.number_known = size != 0;
  if (size == 0) size = decoded.SizeInFront();
  if (size < 2 || size > kMostDisplaced) return std::nullopt;
  const size_t start = call - size;
  const Instruction& instruction = decoded.at(start);
  if (!instruction.movable || instruction.size != size || decoded.IsReferredTo(start, call)) {
    return std::nullopt;
  }
  form.displaced.assign(text.begin() + static_cast<ptrdiff_t>(start),
                        text.begin() + static_cast<ptrdiff_t>(call));
  form.relative = instruction.relative;
  form.next = text[call + kSyscallSize];
  if (size == 2) {
    form.jump = SiteForm::Jump::kFar;
  } else if (size < 5 || form.relative != 0) {
    form.jump = SiteForm::Jump::kNear;
  }
  return form;
}

StepRange StepsOf(const SiteForm& form, uint64_t after) {
  switch (form.jump) {
    case SiteForm::Jump::kTable:
      return {};
    case SiteForm::Jump::kNear:
      return {.first = after + 0x050f0000, .size = 0x10000};
    case SiteForm::Jump::kFar:
      break;
  }
  const auto distance = static_cast<int32_t>(uint32_t{form.next} << 24 | 0x050f00);
  return {.first = after + 1 + static_cast<uint64_t>(int64_t{distance}), .size = 0x100};
}

std::vector<uint8_t> PatchedCode(const SiteForm& form, uint64_t after, size_t record,
                                 uint64_t step) {
  constexpr uint8_t kPrefix = 0x3e;  // %ds, which has no meaning here.
  const uint64_t address = SITE_TABLE + record * SITE_RECORD_SIZE;
  static_assert(SITE_TABLE >> 16 == 0x050f);  // Whose bytes are those of syscall.
  const uint64_t distance = step - StepsOf(form, after).first;
  std::vector<uint8_t> jump;
  switch (form.jump) {
    case SiteForm::Jump::kTable:
      jump = {0xff, 0x24, 0x25, Byte(address, 0), Byte(address, 1)};
      break;
    case SiteForm::Jump::kNear:
      jump = {0xe9, Byte(distance, 0), Byte(distance, 1)};
      break;
    case SiteForm::Jump::kFar:
      jump = {0xe9, Byte(distance, 0)};
      break;
  }
  jump.insert(jump.begin(), form.displaced.size() - jump.size(), kPrefix);
  return jump;
}

std::vector<uint8_t> StepCode(const SiteForm& form, uint64_t after, size_t record, uint64_t step) {
  std::vector<uint8_t> code = form.displaced;
  if (form.relative != 0) {
    const uint64_t start = after - kSyscallSize - code.size();
    const int64_t moved = Distance(code, form.relative, 4) + static_cast<int64_t>(start - step);
    const auto displacement = static_cast<int32_t>(moved);
    if (displacement != moved) return {};
    std::memcpy(&code[form.relative], &displacement, sizeof(displacement));
  }
  const uint64_t address = SITE_TABLE + record * SITE_RECORD_SIZE;
  code.insert(code.end(), {0xff, 0x24, 0x25, Byte(address, 0), Byte(address, 1), Byte(address, 2),
                           Byte(address, 3)});
  return code;
}

native::SiteRecord MakeRecord(const SiteForm& form, size_t index, uint64_t after, uint64_t nr) {
  const auto address = static_cast<uint32_t>(SITE_TABLE + index * SITE_RECORD_SIZE);
  const auto local = LocalIndex(nr);
  const uint32_t next = SITE_TABLE + (!form.number_known          ? SITE_HEADER_ANY
                                      : local.has_value()         ? SITE_HEADER_LOCAL
                                      : nr == SYS_rt_sigprocmask  ? SITE_HEADER_MASK
                                      : nr == SYS_rt_sigaction    ? SITE_HEADER_ACTION
                                      : nr == SYS_set_robust_list ? SITE_HEADER_ROBUST
                                                                  : SITE_HEADER_CALL);
  std::vector<uint8_t> code;
  if (!form.has_step() && !form.number_known) code = form.displaced;
  code.insert(code.end(), {0x41, 0xbb, Byte(address, 0), Byte(address, 1), Byte(address, 2),
                           Byte(address, 3)});  // mov $address,%r11d
  code.insert(code.end(), {0xff, 0x24, 0x25, Byte(next, 0), Byte(next, 1), Byte(next, 2),
                           Byte(next, 3)});  // jmp *next
  native::SiteRecord record{.entry = address + SITE_CODE,
                            .code = {},
                            .after = after,
                            .tail = after - kSyscallSize,
                            .nr = nr,
                            .local = MAILBOX_LOCAL + 8 * local.value_or(0)};
  static_assert(sizeof(record.code) >= kMostDisplaced + 13);
  std::copy(code.begin(), code.end(), record.code);
  return record;
}

std::array<uint8_t, native::kFirstSite * SITE_RECORD_SIZE> MakeTableHead(
    const DispositionTable& dispositions) {
  std::array<uint8_t, native::kFirstSite * SITE_RECORD_SIZE> head{};
  const uint64_t next[] = {StubAddress(sandbox_stub_fast_call, STUB_CODE),
                           StubAddress(sandbox_stub_fast_local, STUB_CODE),
                           StubAddress(sandbox_stub_fast_any, STUB_CODE),
                           StubAddress(sandbox_stub_fast_mask, STUB_CODE),
                           StubAddress(sandbox_stub_fast_action, STUB_CODE),
                           StubAddress(sandbox_stub_fast_robust, STUB_CODE)};
  static_assert(SITE_HEADER_CALL == 0 && SITE_HEADER_LOCAL == 8 && SITE_HEADER_ANY == 16 &&
                SITE_HEADER_MASK == 24 && SITE_HEADER_ACTION == 32 && SITE_HEADER_ROBUST == 40 &&
                sizeof(next) <= SITE_CALLS);
  std::memcpy(head.data(), next, sizeof(next));
  for (uint64_t nr = 0; nr < kMaxSyscalls; ++nr) {
    if (!IsMailable(dispositions, nr)) continue;
    const auto local = LocalIndex(nr);
    head[SITE_CALLS + nr] = static_cast<uint8_t>(nr == SYS_rt_sigprocmask ? SITE_CALL_MASK
                                                 : nr == SYS_rt_sigaction ? SITE_CALL_ACTION
                                                 : local.has_value()      ? 2 + *local
                                                                          : 1);
  }
  static_assert(SITE_CALLS + kMaxSyscalls == SITE_PATH_FIRST);
  static_assert(SITE_PATH_SECOND + kMaxSyscalls / 8 == SITE_ERRORS_GENERATION &&
                SITE_ERRORS_KEPT + (1 << SITE_ERRORS_BITS) / 8 <= sizeof(head));
  std::ranges::copy(PathCalls(0), head.begin() + SITE_PATH_FIRST);
  std::ranges::copy(PathCalls(1), head.begin() + SITE_PATH_SECOND);
  return head;
}

bool AnswersInPlace(uint64_t nr) {
  return nr == SYS_rt_sigprocmask || nr == SYS_rt_sigaction || LocalIndex(nr).has_value();
}

std::optional<size_t> LocalIndex(uint64_t nr) {
  switch (nr) {
    case SYS_getpid:
      return 0;
    case SYS_gettid:
      return 1;
    case SYS_getuid:
      return 2;
    case SYS_geteuid:
      return 3;
    case SYS_getgid:
      return 4;
    case SYS_getegid:
      return 5;
    case SYS_getppid:
      return 6;
    case SYS_getpgrp:
      return 7;
    default:
      return std::nullopt;
  }
}

}  // namespace platform::systrap
